"""Motion yields to sound on a narrow link."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.media import Kind
from avatar_relay.messages import Paused, Resumed, Stalled, Started
from relay_server.core.narrow_link import Playhead, drop_motion
from relay_server.core.payload_batch import PayloadBatch

STEP_US = 40_000


def run(first: int, last: int, pieces: int = 1) -> PayloadBatch:
    """Return payloads of motion, each in the given number of pieces."""
    seqs = [seq for seq in range(first, last + 1) for _ in range(pieces)]
    return PayloadBatch(Kind.MOTION, seqs, [(seq - 1) * STEP_US for seq in seqs], [10] * len(seqs), 0, 10 * len(seqs), [b""] * len(seqs))


def seqs(runs: list[PayloadBatch] | deque[PayloadBatch]) -> list[int]:
    """Return the sequence numbers of the payloads."""
    return [seq for one in runs for seq in one.seqs]


def test_late_goes_and_soon_is_thinned() -> None:
    """Late motion is dropped, and every second payload that is due soon; the rest is kept."""
    waiting = deque([run(1, 4), run(5, 12)])
    dropped = drop_motion(waiting, sent_seq=0, late_before_us=3 * STEP_US, thin_before_us=8 * STEP_US)
    assert seqs(dropped) == [1, 2, 3, 4, 6, 8]
    assert seqs(waiting) == [5, 7, 9, 10, 11, 12]


def test_what_has_begun_to_leave_stays_whole() -> None:
    """Its remaining pieces are still sent."""
    waiting = deque([run(2, 3, pieces=3)])
    dropped = drop_motion(waiting, sent_seq=2, late_before_us=10**9, thin_before_us=10**9)
    assert seqs(dropped) == [3, 3, 3]
    assert seqs(waiting) == [2, 2, 2]


@given(st.lists(st.integers(1, 6), max_size=6), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_nothing_is_lost_in_between(lengths: list[int], sent: int, late: int, soon: int) -> None:
    """Dropped and kept payloads add up to the input, each in order; a second pass drops nothing more."""
    waiting: deque[PayloadBatch] = deque()
    for length in lengths:
        first = seqs(waiting)[-1] + 1 if waiting else 1
        waiting.append(run(first, first + length - 1, pieces=2))
    before = seqs(waiting)
    late_us, soon_us = late * STEP_US, (late + soon) * STEP_US
    dropped = drop_motion(waiting, sent_seq=sent, late_before_us=late_us, thin_before_us=soon_us)
    assert sorted(seqs(dropped) + seqs(waiting)) == before
    assert seqs(waiting) == sorted(seqs(waiting))
    assert all(one.size_bytes == sum(one.sizes) for one in (*dropped, *waiting))
    assert drop_motion(waiting, sent_seq=sent, late_before_us=late_us, thin_before_us=soon_us) == []


def test_the_playhead_follows_what_the_device_tells() -> None:
    """The playhead is stopped before the start, while sound stalls and while paused."""
    playhead = Playhead()
    assert playhead.at(500) == 0
    playhead.tell(Started(), 1_000)
    playhead.tell(Started(), 1_500)
    assert playhead.at(3_000) == 2_000
    playhead.tell(Stalled(True, Kind.MOTION), 3_000)
    playhead.tell(Stalled(True, Kind.AUDIO), 3_000)
    assert playhead.at(9_000) == 2_000
    playhead.tell(Stalled(False, Kind.AUDIO), 9_000)
    assert playhead.at(9_500) == 2_500
    playhead.tell(Paused(2_600), 9_700)
    assert playhead.at(20_000) == 2_600
    playhead.tell(Resumed(2_600), 20_000)
    assert playhead.at(20_100) == 2_700
