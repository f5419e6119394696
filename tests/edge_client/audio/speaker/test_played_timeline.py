from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.sink import Anchor
from edge_client.audio.speaker.played_timeline import MAX_SEGMENTS, SNAPSHOT_BYTES, PlayedSegment, PlayedTimeline, Snapshot

_RATE_HZ = 48_000


def _us(frames: int) -> int:
    return frames * 1_000_000 // _RATE_HZ


def test_packs_and_unpacks() -> None:
    """A snapshot is unchanged after the shared memory."""
    snapshot = Snapshot(123_456_789, 1_024.25, (PlayedSegment(0, 0, 480), PlayedSegment(960, 480, 2)))
    packed = snapshot.pack()
    assert len(packed) == SNAPSHOT_BYTES
    assert Snapshot.unpack(packed) == snapshot


def test_no_content_yet() -> None:
    """Silence has no position."""
    timeline = PlayedTimeline()
    timeline.add_silence(4_096)
    assert timeline.snapshot(0, 0.0).anchor_at(10, _RATE_HZ) is None


def test_content_runs_at_the_rate_up_to_what_was_handed_over() -> None:
    """Within a segment the position advances; at its end it stops."""
    timeline = PlayedTimeline()
    timeline.add_content(0, 1_000)
    timeline.add_content(1_000, 920)
    snapshot = timeline.snapshot(1_000_000, 480.0)
    assert snapshot.anchor_at(1_000_000, _RATE_HZ) == Anchor(480.0, 1_000_000, 48_000.0, 1_920)
    assert snapshot.anchor_at(1_010_000, _RATE_HZ) == Anchor(960.0, 1_010_000, 48_000.0, 1_920)
    assert snapshot.anchor_at(1_090_000, _RATE_HZ) == Anchor(1_920.0, 1_090_000, 0.0, 1_920)


def test_stands_through_silence_and_jumps_over_what_was_cleared() -> None:
    """Between two segments the end of the first one is reported, until the second is heard."""
    timeline = PlayedTimeline()
    timeline.add_content(0, 480)
    timeline.add_silence(480)
    timeline.add_content(5_000, 480)
    snapshot = timeline.snapshot(0, 0.0)
    positions = [snapshot.anchor_at(time_us, _RATE_HZ) for time_us in (5_000, 15_000, 20_000, 25_000)]
    assert [(anchor.frame, anchor.rate_hz) for anchor in positions if anchor] == [(240, 48_000), (480, 0), (5_000, 48_000), (5_240, 48_000)]


def test_content_on_its_way_stands_at_its_beginning() -> None:
    """Before the first frame is heard, its position is reported."""
    timeline = PlayedTimeline()
    timeline.add_silence(2_048)
    timeline.add_content(700, 480)
    assert timeline.snapshot(0, 0.0).anchor_at(1_000, _RATE_HZ) == Anchor(700.0, 1_000, 0.0, 700)


@given(runs=st.lists(st.tuples(st.booleans(), st.integers(1, 3_000)), min_size=1, max_size=40), step_us=st.integers(1, 30_000))
def test_position_never_goes_back(runs: list[tuple[bool, int]], step_us: int) -> None:
    """For any stretches of content and silence, the position is monotonic, and a bounded number of segments is kept."""
    timeline, content = PlayedTimeline(), 0
    for is_content, frames in runs:
        if is_content:
            timeline.add_content(content, frames)
            content += frames
        else:
            timeline.add_silence(frames)
    snapshot = timeline.snapshot(0, 0.0)
    assert len(snapshot.segments) <= MAX_SEGMENTS
    anchors = [snapshot.anchor_at(time_us, _RATE_HZ) for time_us in range(0, _us(timeline.device_frame) + 2 * step_us, step_us)]
    frames_heard = [anchor.frame for anchor in anchors if anchor is not None]
    assert frames_heard == sorted(frames_heard)
    if content:
        assert frames_heard[-1] == content
