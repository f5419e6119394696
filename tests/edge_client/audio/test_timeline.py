"""Content frames to PTS, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.timeline import Position, Timeline

RATE_HZ = 48_000


def test_seam_between_two_conversations() -> None:
    """The last frame of one and the first of the next are neighbours."""
    line = Timeline(RATE_HZ)
    line.append(0, 48_000, "a", 0)
    line.append(48_000, 48_000, "b", 0)
    assert line.at(47_999) == Position("a", 999_979)
    assert line.at(48_000) == Position("b", 0)
    assert line.span("a") == (0, 48_000)
    assert line.span("b") == (48_000, 96_000)
    assert line.span("c") is None


def test_position_stands_behind_the_last_frame() -> None:
    """The PTS stops where playout stops; before the first frame there is none."""
    line = Timeline(RATE_HZ)
    line.append(100, 4_800, "a", 0)
    assert line.at(99) is None
    assert line.at(1e9) == Position("a", 100_000)
    assert Timeline(RATE_HZ).at(0) is None


def test_neighbours_are_joined_and_jumps_are_kept() -> None:
    """Contiguous samples are one segment; a skip begins another."""
    line = Timeline(RATE_HZ)
    for start in range(0, 4_800, 480):
        line.append(start, 480, "a", start)
    assert len(line) == 1
    line.append(4_800, 480, "a", 9_600)
    assert len(line) == 2
    assert line.at(4_800) == Position("a", 200_000)


def test_truncated_frames_are_forgotten_and_may_be_followed_by_others() -> None:
    """After a clear the position stays at the last frame heard, until there is content again."""
    line = Timeline(RATE_HZ)
    line.append(0, 4_800, "a", 0)
    line.truncate(2_400)
    line.append(4_800, 480, "b", 0)
    assert line.at(3_000) == Position("a", 50_000)
    assert line.at(4_800) == Position("b", 0)


def test_pruning_keeps_the_last_segment() -> None:
    """The PTS of the last frame heard remains available."""
    line = Timeline(RATE_HZ)
    line.append(0, 480, "a", 0)
    line.append(480, 480, "b", 0)
    line.prune(5_000)
    assert len(line) == 1
    assert line.at(5_000) == Position("b", 10_000)


def test_going_back_is_an_error() -> None:
    """Each frame is counted once."""
    line = Timeline(RATE_HZ)
    line.append(0, 480, "a", 0)
    with pytest.raises(ValueError, match="before the end"):
        line.append(479, 480, "b", 0)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 5_000), st.booleans()), min_size=1, max_size=30), st.data())
def test_each_frame_has_its_position(parts: list[tuple[int, int, bool]], data: st.DataObject) -> None:
    """For any gaps and conversations, a played frame maps to its own sample, to within a microsecond."""
    line = Timeline(RATE_HZ)
    expected: dict[int, tuple[str, int]] = {}
    start, pts, number = 0, 0, 0
    for gap, length, next_conversation in parts:
        start += gap
        number, pts = (number + 1, 0) if next_conversation else (number, pts + gap)
        line.append(start, length, str(number), pts)
        expected |= {start: (str(number), pts), start + length - 1: (str(number), pts + length - 1)}
        start, pts = start + length, pts + length
    frame = data.draw(st.sampled_from(sorted(expected)))
    conversation_id, pts_frame = expected[frame]
    assert line.at(frame) == Position(conversation_id, round(pts_frame * 1e6 / RATE_HZ))
