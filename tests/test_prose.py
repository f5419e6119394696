"""The check of words and links in `scripts/lint`: what it finds, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.prose import bad_links, phrases_in, slug


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It can not be read.", "can not"),
        ("It waits for ever.", "for ever"),
        ("Raises `ValueError` where it is empty.", "Raises `ValueError` where"),
        ('"""Who calls: the caller."""', '"""Who calls'),
        ("Injected by who puts it together.", "by who"),
        ("The id; None where there is none.", "None where"),
        ("these bytes are no Attach", "these bytes are no"),
        ("A device made of nothing.", "made of nothing"),
    ],
)
def test_finds_the_phrase(text: str, words: str) -> None:
    """By line, with the plain one."""
    ((line, found, instead),) = phrases_in(f"first line\n{text}\n")
    assert (line, found) == (2, words)
    assert instead


def test_leaves_plain_english_alone() -> None:
    """Relative clauses and places are no conditions."""
    text = (
        "A caller who waits cannot write. It can not only read. Raises `ConfigError`, which says where it stands. The folder where it lies."
    )
    assert [*phrases_in(text)] == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("What it costs", "what-it-costs"),
        ("`BURST` and `LIVE`", "burst-and-live"),
        ("A [link](a.md)", "a-link"),
        ("Choose: a card", "choose-a-card"),
    ],
)
def test_anchor_of_a_heading(heading: str, anchor: str) -> None:
    """As GitHub and mkdocs make it."""
    assert slug(heading) == anchor


def test_finds_bad_links(tmp_path: Path) -> None:
    """A file or an anchor that does not exist; not what is in a fenced block, nor addresses of the web."""
    text = "# One\n[a](b.md) [b](b.md#two) [c](b.md#no) [d](no.md) [e](#one) [f](#no) [g](https://example.org/x)\n```sh\n[h](no.md)\n```\n"
    pages = {Path("a.md"): text, Path("b.md"): "## Two\n"}
    for path, content in pages.items():
        (tmp_path / path).write_text(content)
    assert [*bad_links(tmp_path, pages)] == ["a.md: no anchor #no in b.md", "a.md: no file no.md", "a.md: no anchor #no in a.md"]
