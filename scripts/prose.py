"""Checks the words of the project: phrases that it does not use, and the links and anchors of its pages. Run by `scripts/lint`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TEXT = (".md", ".py", ".proto", ".sh", ".toml", ".service", ".yaml", ".yml", ".js", "")
"""Suffixes of the checked files; commands have none."""
SKIPPED = ("proto/google/", "scripts/prose.py", "tests/test_prose.py")
"""Third-party texts, and files that quote the phrases."""


class Phrase(NamedTuple):
    """A phrase that a native engineer would not write, and the plain one."""

    pattern: str
    instead: str


PHRASES = (
    Phrase(r"\bcan not\b(?! only)", "cannot"),
    Phrase(r"\bfor ever\b", "forever"),
    Phrase(r"\b(?:by|for|from|to|of|than|with|as) who\b(?!'| in \()", '"by the caller", "for those that …"; not "who" as a noun'),
    Phrase(
        r"(?:^|[.:;] |\"\"\")Who (?:calls|reads|puts|waits|has|is let|types|steals)\b", 'name the person or program; not "who" as a noun'
    ),
    Phrase(r"\bwho (?:puts the|runs the) relay\b", "the operator of the relay"),
    Phrase(r"\bRaises? [^.]*?(?<!says) where\b", '"Raises … if"'),
    Phrase(r"\b(?:None|True|False|empty|0) where\b", '"None if"'),
    Phrase(r"\bmade of nothing\b", "virtual"),
    Phrase(r"\bmay do has changed\b", '"permissions of … changed"'),
    Phrase(r"\bthese bytes are no\b", '"cannot parse as …"'),
    Phrase(r"\bare no whole\b", '"is not a multiple of …"'),
    Phrase(r"\bcan(?:not)? be had\b", '"is available"; not "can be had"'),
    Phrase(r"\b(?:tell|tells) the version\b", "print the version"),
    Phrase(r"\band their kin\b|\band its like\b", '"and similar"'),
)

_FENCED = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def tracked(root: Path) -> list[Path]:
    """The text files of the project, relative to its root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split("\0") if name and not name.startswith(SKIPPED)]
    return [Path(name) for name in names if Path(name).suffix in TEXT and (root / name).is_file()]


def phrases_in(text: str) -> Iterator[tuple[int, str, str]]:
    """Each phrase found: the line, counted from 1, the words, and what to write instead."""
    for pattern, instead in PHRASES:
        for found in re.finditer(pattern, text, re.MULTILINE):
            yield text.count("\n", 0, found.start()) + 1, " ".join(found[0].split()), instead


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and mkdocs make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def bad_links(root: Path, pages: Mapping[Path, str]) -> Iterator[str]:
    """Links within the project whose file or anchor does not exist. `pages`: the text of each Markdown file, by path."""
    prose = {page: _FENCED.sub("", text) for page, text in pages.items()}
    anchors = {(root / page).resolve(): {slug(heading) for heading in _HEADING.findall(text)} for page, text in prose.items()}
    for page, text in prose.items():
        for target, anchor in _LINK.findall(text):
            if "://" in target or target.startswith("mailto:"):
                continue
            place = (root / page.parent / target).resolve() if target else (root / page).resolve()
            if not place.exists():
                yield f"{page}: no file {target}"
            elif anchor and anchor not in anchors.get(place, set()):
                yield f"{page}: no anchor #{anchor} in {target or page}"


def main() -> int:
    """Print one line per fault; the exit status is 1 if there is any."""
    texts = {path: (ROOT / path).read_text(encoding="utf-8", errors="replace") for path in tracked(ROOT)}
    wrong = [f"{path}:{line}: {words!r}: write {instead}" for path, text in texts.items() for line, words, instead in phrases_in(text)]
    wrong += bad_links(ROOT, {path: text for path, text in texts.items() if path.suffix == ".md"})
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
