"""The queue of samples for the sink."""

import itertools

import numpy as np

from edge_client.audio.playout_queue import Chunk, PlayoutQueue
from edge_client.audio.timeline import Position
from tests.edge_client.playback_bench import RATE_HZ, tone


def _queue() -> PlayoutQueue:
    queue = PlayoutQueue(RATE_HZ)
    queue.push(Chunk("a", 0, 1_000, tone(1_000)))
    queue.push(Chunk("b", 0, 1_000, tone(1_000, start=5_000)))
    return queue


def test_pull_gives_each_sample_once_and_less_where_there_is_less() -> None:
    """Across chunks and conversations, never more than is available."""
    queue = _queue()
    pulled = [queue.pull(700) for _ in range(4)]
    assert [len(pcm) for pcm in pulled] == [700, 700, 600, 0]
    assert np.concatenate(pulled).tolist() == [*tone(1_000).tolist(), *tone(1_000, start=5_000).tolist()]
    assert queue.timeline.at(1_000) == Position("b", 0)


def test_rewind_gives_back_what_was_not_heard() -> None:
    """A clear within a chunk: the rest of it is queued again, from the next sample on, with no duplicates."""
    queue = _queue()
    queue.pull(1_500)
    assert queue.withdraw(frozenset({"b"}))
    queue.rewind(400, frozenset({"b"}))
    assert queue.queued_frames == 600
    assert queue.pull(1_000).tolist() == tone(1_000)[400:].tolist()
    assert queue.timeline.at(1_500) == Position("a", round(400e6 / RATE_HZ))
    assert not queue.holds("b")


def test_rewind_within_the_next_conversation() -> None:
    """The part that was heard is not queued again."""
    queue = _queue()
    queue.pull(1_500)
    queue.withdraw(frozenset({"a"}))
    queue.rewind(1_200, frozenset({"a"}))
    assert queue.pull(5_000).tolist() == tone(800, start=5_200).tolist()


def test_withdrawing_what_was_heard_or_never_pulled_needs_no_clear() -> None:
    """Only samples in the sink need a clear."""
    queue = _queue()
    queue.pull(800)
    assert not queue.withdraw(frozenset({"b"}))
    assert queue.queued_frames == 200
    queue.pull(200)
    queue.heard_to(1_000)
    assert not queue.withdraw(frozenset({"a"}))


def test_a_split_of_steered_sound_keeps_the_line_whole() -> None:
    """1,000 frames that represent 1,001 samples, pulled in pieces: the PTS have no hole and no overlap, and filler has no length."""
    queue = PlayoutQueue(RATE_HZ)
    queue.push(Chunk("a", 0, 1_001, tone(1_000)))
    queue.push(Chunk("a", 1_001, 0, tone(500)))
    queue.push(Chunk("a", 1_001, 480, tone(480)))
    for _ in range(30):
        queue.pull(70)
    positions = [queue.timeline.at(frame) for frame in range(1_980)]
    pts = [position.pts_us for position in positions if position is not None]
    assert pts == sorted(pts)
    assert {pts[frame] for frame in range(1_000, 1_501)} == {round(1_001e6 / RATE_HZ)}
    assert max(after - before for before, after in itertools.pairwise(pts)) <= 42
    assert pts[-1] == round(1_480e6 / RATE_HZ)
