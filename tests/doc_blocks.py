"""The fenced code blocks of the pages: their positions, their kinds, and the commands in them.

How to write a page so that its blocks can be run (`tests/page_session.py` runs them):

- ```` ```sh ````: commands, as typed or pasted. The block must succeed. A command that is meant to fail shows it:
  `… || echo "exit status $?"`.
- ```` ```text ```` or ```` ```json ```` directly below such a block: its output. `…` matches any text, white space is ignored.
- ```` ```console ````: `$ ` before each command, `> ` before its continuation lines, and its output below it.
- A line that only starts `relay-server` or `edge-client` keeps running, as in its own terminal.
- ```` ```toml ```` below a line that ends with its name and a colon (`` `relay.toml`: ``) becomes that file.
- ```` ```python ````: a module; it is executed at its position.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from tests.lab.data import PROJECT_ROOT

SHELL = ("sh", "console")
OUTPUT = ("text", "json")
PROGRAMS = ("relay-server", "edge-client")
"""Programs that run until they are stopped."""
SKIPPED_FOLDERS = frozenset({"node_modules", "build", "dist"})

_FENCE = re.compile(r"( *)```(.*)")
_FILE_NAME = re.compile(r"`([\w./-]+)`[^`]*:$")
_RUNS_ON = re.compile(rf"(?:\w+=\S* )*(?:\S*/)?({'|'.join(PROGRAMS)})(?! devices)(?!.* --(?:help|version)\b)[^|&;<>]*")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `line` is its first line of text, counted from 1; `above` is the last line of text before it."""

    page: str
    line: int
    language: str
    text: str
    above: str
    follows_block: bool
    """True if only blank lines separate this block from the one before."""

    @property
    def place(self) -> str:
        """The position, for messages."""
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        """The first line, without a console prompt."""
        return self.text.split("\n", 1)[0].removeprefix("$ ").strip()

    @property
    def runs(self) -> bool:
        """Whether it contains something to run."""
        return self.language in (*SHELL, "python")

    @property
    def file_name(self) -> str | None:
        """The file it shows, if the line above names one."""
        named = _FILE_NAME.search(self.above)
        return named and named[1]


@dataclass(frozen=True, slots=True)
class Command:
    """Lines for a shell. `program` is set if they start a program that keeps running; `shown` is the output shown on the page."""

    place: str
    text: str
    shown: str | None = None
    program: str | None = None


def pages() -> list[str]:
    """All Markdown files of the project, relative to its root."""
    found = []
    for path in sorted(PROJECT_ROOT.rglob("*.md")):
        parts = path.relative_to(PROJECT_ROOT).parts
        if not any(part.startswith(".") or part in SKIPPED_FOLDERS for part in parts):
            found.append("/".join(parts))
    return found


def read_blocks(page: str) -> list[Block]:
    """The blocks of a page of the project, in order."""
    return parse(page, (PROJECT_ROOT / page).read_text(encoding="utf-8"))


def parse(page: str, text: str) -> list[Block]:
    """The blocks of a text. Raises `ValueError` for a block without an end."""
    found: list[Block] = []
    fence: re.Match[str] | None = None
    first, above, since_block = 0, "", False
    for number, line in enumerate(text.splitlines(), 1):
        mark = _FENCE.fullmatch(line)
        if fence is None and mark is not None:
            fence, first, lines = mark, number + 1, list[str]()
        elif fence is not None and mark is not None and mark[1] == fence[1]:
            content = "".join(f"{line}\n" for line in lines)
            found.append(Block(page, first, fence[2].strip(), textwrap.dedent(content), above, since_block))
            fence, since_block = None, True
        elif fence is not None:
            lines.append(line)
        elif line.strip():
            above, since_block = line.strip(), False
    if fence is not None:
        raise ValueError(f"{page}:{first - 1}: this block has no end")
    return found


def is_output(block: Block, before: Block | None) -> bool:
    """Whether a block shows the output of the one before it."""
    return before is not None and before.language == "sh" and block.language in OUTPUT and block.follows_block


def commands(block: Block, output: Block | None = None) -> Iterator[Command]:
    """Return the commands of a shell block with their expected output."""
    if block.language == "console":
        yield from _console(block)
        return
    parts = _parts(block)
    for number, (text, program) in enumerate(parts, 1):
        shown = output.text if output is not None and number == len(parts) else None
        yield Command(block.place, text, shown, program)


def _parts(block: Block) -> list[tuple[str, str | None]]:
    """Split the block's text before and after each program that keeps running."""
    parts: list[tuple[str, str | None]] = []
    for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
        starts = _RUNS_ON.fullmatch(re.sub(r"\s+#.*", "", line))
        if starts is not None:
            parts.append((line, starts[1]))
        elif parts and parts[-1][1] is None:
            parts[-1] = (f"{parts[-1][0]}\n{line}", None)
        else:
            parts.append((line, None))
    return [(text, program) for text, program in parts if text.strip()]


def _console(block: Block) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        first, *rest = part.splitlines()
        more = [line for line in rest if line.startswith("> ")]
        shown = "\n".join(line for line in rest if not line.startswith("> "))
        command = "\n".join([first, *(line.removeprefix("> ") for line in more)])
        starts = _RUNS_ON.fullmatch(re.sub(r"\s+#.*", "", command))
        yield Command(block.place, command, shown or None, starts and starts[1])


def matches(shown: str, said: str) -> bool:
    """Whether a program's output matches the page: `…` matches any text, white space is ignored."""
    pattern = ".*".join(re.escape("".join(part.split())) for part in shown.split("…"))
    return re.fullmatch(pattern, "".join(said.split()), re.DOTALL) is not None
