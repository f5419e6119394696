"""The fenced code blocks of the pages: where they are, what they are, and the commands in them.

How a page is written so that its blocks can be run (`tests/page_session.py` runs them):

- ```` ```sh ````: commands, as they are typed or pasted. The block must succeed. A command that is meant to fail says so:
  `… || echo "exit status $?"`.
- ```` ```text ```` or ```` ```json ```` directly below such a block: what it prints. `…` stands for any text, white space does not count.
- ```` ```console ````: `$ ` before each command, `> ` before its further lines, and below it what it prints.
- A line that only starts `relay-server` or `edge-client` runs on, as in a terminal of its own.
- ```` ```toml ```` below a line that ends with its name and a colon (`` `relay.toml`: ``) becomes that file.
- ```` ```python ````: a module; it is executed where it stands.
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
    """Nothing but blank lines stands between this block and the one before."""

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        """Its first line, without the prompt of a console."""
        return self.text.split("\n", 1)[0].removeprefix("$ ").strip()

    @property
    def runs(self) -> bool:
        """Whether it holds something to run."""
        return self.language in (*SHELL, "python")

    @property
    def file_name(self) -> str | None:
        """The file that it shows, where the line above names one."""
        named = _FILE_NAME.search(self.above)
        return named and named[1]


@dataclass(frozen=True, slots=True)
class Command:
    """Lines for a shell. `program` is set where they start a program that runs on; `shown` is the output that the page shows."""

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
    """Whether a block shows what the one before it prints."""
    return before is not None and before.language == "sh" and block.language in OUTPUT and block.follows_block


def commands(block: Block, output: Block | None = None) -> Iterator[Command]:
    """What to run for a block of shell commands, and the output that belongs to it."""
    if block.language == "console":
        yield from _console(block)
        return
    parts = _parts(block)
    for number, (text, program) in enumerate(parts, 1):
        shown = output.text if output is not None and number == len(parts) else None
        yield Command(block.place, text, shown, program)


def _parts(block: Block) -> list[tuple[str, str | None]]:
    """The block's text, cut where a program is started that runs on."""
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
    """Whether a program said what a page shows: `…` stands for any text, white space does not count."""
    pattern = ".*".join(re.escape("".join(part.split())) for part in shown.split("…"))
    return re.fullmatch(pattern, "".join(said.split()), re.DOTALL) is not None
