"""The report of a checkup, as text and as JSON."""

from __future__ import annotations

import json

from edge_client.checkup.findings import MAX_TEXT, Health, as_json, as_text, exit_status, finding

CARD = finding("card", Health.FAILED, "there is\nno card", "attach one")
CLOCK = finding("clock", Health.WARNING, "not synchronised")


def test_only_a_failed_part_is_a_failure() -> None:
    """A warning is not a failure."""
    assert exit_status([CARD, CLOCK]) == 1
    assert exit_status([CLOCK]) == exit_status([]) == 0


def test_text_has_a_line_for_each_part_and_one_for_what_to_do() -> None:
    """A text of several lines is one line."""
    first, advice, second = as_text([CARD, CLOCK]).splitlines()
    assert first.split() == ["failed", "card", "there", "is", "no", "card"]
    assert advice.split() == ["→", "attach", "one"]
    assert second.startswith("warning  clock")


def test_json_has_the_same() -> None:
    """JSON has the same content, and the subject."""
    report = json.loads(as_json([CARD, CLOCK], {"board": "Raspberry Pi 5"}))
    assert report["board"] == "Raspberry Pi 5"
    assert report["exit_status"] == 1
    assert report["findings"][0] == {"part": "card", "health": "failed", "text": "there is no card", "advice": "attach one"}


def test_a_long_text_is_cut_and_control_characters_are_blanks() -> None:
    """Texts of a library or a relay are untrusted: cut, and without control characters."""
    found = finding("relay", Health.FAILED, "\x1b[2J" + "x" * 10_000)
    assert len(found.text) == MAX_TEXT
    assert found.text.startswith("[2Jxx")
