"""docs/questions.md: the section linked by each answer contains the line that answers the question."""

from __future__ import annotations

import re

import pytest

from scripts.prose import slug
from tests.lab.data import PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"
QUESTIONS = re.findall(
    r"^\*\*(.+?)\*\*\n(.+?)\[More\]\(([\w.-]+)(?:#([\w-]+))?\)$", (DOCS / "questions.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)
ANSWERS = {
    "There is no sound": "`doctor` checks card, screen",
    "It works from a terminal": "The client tries the card directly, then shared",
    "The card number changes": "the place where the card is plugged in",
    "I unplug the USB speaker": "within 3 s after the card is back",
    "The sound crackles": '`latency = "safe"` up to 200 ms',
    "My TTS service returns MP3": "Ogg, FLAC, MP3, AAC, MP4, Matroska, WebM | refused",
    "The mouth does not move": "`MOTION_NOT_UNDERSTOOD` once per conversation",
    "I only have raw audio": "the sound moves the mouth",
    "The mouth is ahead": "plays later than its driver reports: calibrate it, or set `output_offset_ms`",
    "Does it drift": "`avatar.skew`",
    "The screen is black": "usually a missing group, or no screen attached at boot",
    "The panel is mounted": "for a panel mounted on its side",
    "Can it be my own character": "glTF 2.0 binary",
    "Do I have to type": "relayctl pair raspberrypi-7f3a-314159",
    "After a power failure": "Reconnects use full jitter: below 0.5 s for the first half minute, then up to 5 s",
    "Do names such as": "Names are resolved as `getent hosts NAME` does",
    "A stream behind nginx": "ping each other at least every 4 s",
    "The relay restarts": "devices and publishers reconnect, and conversations continue",
    "Can I run two relays": "Relays that share a NATS server are one cluster",
    "How do I keep strangers out": "relayctl device create lobby",
    "How many devices": "36 KB for each further device",
    "Where are metrics": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "Will a device work": "of the same MAJOR version work together",
    "May I sell": "## If you pass on an image",
}
"""The beginning of each question, and the words that answer it."""


def section(page: str, anchor: str) -> str:
    """Return a page's text from a heading to the next one of its level; without an anchor the whole page. White space is normalized."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if anchor:
        heading = next(found for found in re.finditer(r"^(#+) (.+)$", text, re.MULTILINE) if slug(found[2]) == anchor)
        text = re.split(rf"^#{{1,{len(heading[1])}}} ", text[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0]
    return " ".join(text.split())


def test_there_are_twenty_questions() -> None:
    """At least twenty, each with an answer that is checked."""
    assert len(QUESTIONS) >= 20
    assert [question for question, *_ in QUESTIONS if sum(question.startswith(start) for start in ANSWERS) != 1] == []
    assert len(ANSWERS) == len(QUESTIONS) == (DOCS / "questions.md").read_text("utf-8").count("\n**")


@pytest.mark.parametrize(("question", "answer", "page", "anchor"), QUESTIONS, ids=[question[:30] for question, *_ in QUESTIONS])
def test_the_section_answers_the_question(question: str, answer: str, page: str, anchor: str) -> None:
    """One click from this page, two from the first."""
    (expected,) = (words for start, words in ANSWERS.items() if question.startswith(start))
    assert expected in section(page, anchor)
    assert len(answer.split()) <= 60, "a short answer"
