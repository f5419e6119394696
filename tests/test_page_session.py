"""The page runner: parsing of blocks into commands, and detection of pages that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doc_blocks import commands, is_output, matches, parse
from tests.page_session import PageError, PageSession, session

STARTS = "relay-server --listen 127.0.0.1:52000   # runs on\n"


def fenced(*languages_and_texts: str) -> str:
    """A page with blocks, one directly below the other."""
    pairs = zip(languages_and_texts[::2], languages_and_texts[1::2], strict=True)
    return "\n".join(f"```{language}\n{text}```\n" for language, text in pairs)


def read(text: str, reader: PageSession) -> None:
    """Run a page."""
    reader.run(parse("page.md", text))


@pytest.fixture
def reader(tmp_path: Path) -> PageSession:
    """A session in an empty folder. It starts no program here."""
    (tmp_path / "home").mkdir()
    return PageSession(tmp_path / "home", tmp_path / "home", {"relay.example": "localhost"})


def test_blocks_have_their_place_and_what_stands_above() -> None:
    """Holds also for indented blocks, and those that name a file."""
    text = "Write `relay.toml`:\n\n```toml\na = 1\n```\n\n- item\n\n  ```sh\n  one\n    two\n  ```\n"
    toml, sh = parse("page.md", text)
    assert (toml.place, toml.file_name, toml.text) == ("page.md:4", "relay.toml", "a = 1\n")
    assert (sh.place, sh.file_name, sh.text, sh.follows_block) == ("page.md:10", None, "one\n  two\n", False)


def test_block_without_an_end() -> None:
    """The error names its line."""
    with pytest.raises(ValueError, match=r"page\.md:3: this block has no end"):
        parse("page.md", "text\n\n```sh\ntrue\n")


def test_output_belongs_to_the_block_right_above() -> None:
    """With text between, it is a separate block."""
    command, output = parse("page.md", fenced("sh", "true\n", "text", "\n"))
    assert is_output(output, command)
    command, output = parse("page.md", fenced("sh", "true\n") + "It says:\n\n" + fenced("text", "\n"))
    assert not is_output(output, command)


@pytest.mark.parametrize(
    "line", ["relay-server", "A=b edge-client --device-id x", "~/venvs/x/bin/relay-server --config a.toml", STARTS.strip()]
)
def test_programs_run_on(line: str) -> None:
    """They are started separately from the lines around them."""
    (block,) = parse("page.md", fenced("sh", f"true \\\n  one\n{line}\nfalse\n"))
    assert [(command.text, bool(command.program)) for command in commands(block)] == [("true one", False), (line, True), ("false", False)]


@pytest.mark.parametrize("line", ["relay-server --help", "edge-client devices", "relay-server || true", "echo relay-server", "relayctl"])
def test_other_commands_come_to_an_end(line: str) -> None:
    """They run together with the lines around them."""
    (block,) = parse("page.md", fenced("sh", f"true\n{line}\n"))
    assert [command.program for command in commands(block)] == [None]


def test_console_has_commands_with_their_output() -> None:
    """A prompt before each command and before its continuation lines."""
    (block,) = parse("page.md", fenced("console", "$ echo one \\\n> two\none two\n$ true\n$ edge-client\n"))
    found = [(command.text, command.shown, command.program) for command in commands(block)]
    assert found == [("echo one \\\ntwo", "one two", None), ("true", None, None), ("edge-client", None, "edge-client")]


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        ("a b\n", "a  b", True),
        ("a\n…\nd", "a\nb\nc\nd\n", True),
        ('"id": "…"', '"id":"x"', True),
        ("a\n…", "b\na\n", False),
        ("a", "a\nb", False),
        (".", "x", False),
    ],
)
def test_what_counts_as_the_output_shown(shown: str, said: str, same: bool) -> None:
    """An ellipsis matches any text, white space is ignored."""
    assert matches(shown, said) is same


def test_commands_build_on_earlier_ones(reader: PageSession) -> None:
    """Folder, environment and files are kept, and so are Python's names. Addresses and places are this machine's."""
    page = fenced("sh", "mkdir in; cd in; export WORD=one\n", "sh", 'echo "$WORD" >file; basename "$PWD"; cat file\n', "text", "in one\n")
    read(page, reader)
    assert (reader.home / "in" / "file").read_text() == "one\n"
    read(fenced("python", "here = '127.0.0.1:52000'\n", "python", "there = 'relay.example:52000', here\n"), reader)
    port = reader.address.rpartition(":")[2]
    assert port != "52000"
    assert reader.names["there"] == (f"localhost:{port}", reader.address)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (fenced("sh", "true\nfalse\ntrue\n"), "exit status 1"),
        (fenced("sh", "false && true\ntrue\n"), "exit status 1"),
        (fenced("sh", "(true\nexit 3)\ntrue\n"), "exit status 3"),
        (fenced("sh", "echo two\n", "text", "one\n"), "the page shows\none\n\nbut it said\ntwo"),
        (fenced("console", "$ false\n"), "exit status 1"),
        (fenced("console", "$ echo two\none\n"), "but it said\ntwo"),
        (fenced("sh", "relay-server --lisen 127.0.0.1:52000\n"), "did not start, status 2"),
        (fenced("sh", STARTS, "text", "listening\n"), "is not compared"),
    ],
)
def test_page_that_does_not_do_what_it_says(reader: PageSession, page: str, words: str) -> None:
    """The error names the position and the actual result."""
    with pytest.raises(PageError) as raised:
        read(page, reader)
    assert "page.md:" in str(raised.value)
    assert words in str(raised.value)


def test_program_that_ended_badly_is_found_at_the_end(tmp_path: Path) -> None:
    """Holds also if no later command depended on it."""
    with pytest.raises(PageError, match=r"relay-server ended with status -9"), session(tmp_path) as reader:
        read(fenced("sh", STARTS), reader)
        reader.programs[0].kill()
