"""The level of detail of the drawn head."""

from __future__ import annotations

import pytest

from edge_client.face.detail import MOST_S, TIMED_PICTURES, DetailLevel


@pytest.mark.parametrize(
    ("choice", "software", "level"),
    [("auto", True, "low"), ("auto", False, "high"), ("low", False, "low"), ("high", True, "high")],
)
def test_where_it_begins(choice: str, software: bool, level: str) -> None:
    """A CPU draws coarsely by default; a level set by the user is used."""
    assert DetailLevel(choice, software=software).level == level  # type: ignore[arg-type]


def test_slow_pictures_make_it_fall_once() -> None:
    """A slow driver falls to `low` after enough pictures, and stays there."""
    detail = DetailLevel("auto", software=False)
    fell = [detail.falls(MOST_S * 1.2) for _ in range(3 * TIMED_PICTURES)]
    assert fell.index(True) == TIMED_PICTURES - 1
    assert sum(fell) == 1
    assert detail.level == "low"


def test_a_few_slow_pictures_do_not_count() -> None:
    """A few slow pictures have no effect; nor does a level set by the user fall, however slow it is."""
    detail, chosen = DetailLevel("auto", software=False), DetailLevel("high", software=False)
    assert not any(detail.falls(1.0 if index % 3 == 0 else 0.010) for index in range(300))
    assert not any(chosen.falls(1.0) for _ in range(100))
    assert (detail.level, chosen.level) == ("high", "high")
