from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from edge_client.audio.speaker.memory import SpeakerControl, SpeakerMemory, SpeakerStatus, create_memory, ring_frames
from edge_client.audio.speaker.played_timeline import PlayedSegment, Snapshot

_RATE_HZ = 48_000


@pytest.fixture
def sides() -> Iterator[tuple[SpeakerMemory, SpeakerMemory]]:
    """The parent's and the child's view of one memory."""
    descriptor = create_memory(_RATE_HZ)
    parent, child = SpeakerMemory(descriptor, _RATE_HZ), SpeakerMemory(descriptor, _RATE_HZ)
    yield parent, child
    parent.close()
    child.close()
    os.close(descriptor)


def test_ring_holds_two_of_the_longest_periods() -> None:
    """The ring's length is a fixed time, at any rate."""
    assert ring_frames(48_000) == 60_000
    assert ring_frames(16_000) == 20_000


def test_samples_cross_and_wrap(sides: tuple[SpeakerMemory, SpeakerMemory]) -> None:
    """The reader gets what the writer wrote, over many turns of the ring."""
    parent, child = sides
    chance = np.random.default_rng(5)
    sent = chance.integers(-32768, 32768, 100_000).astype(np.int16)
    heard = []
    while (consumed := child[SpeakerStatus.CONSUMED]) < len(sent):
        written = parent[SpeakerControl.WRITTEN]
        parent.write(sent[written : written + min(parent.free_frames, int(chance.integers(0, 9_000)))])
        frames = min(child[SpeakerControl.WRITTEN] - consumed, int(chance.integers(0, 5_000)))
        heard.append(child.read(consumed, frames))
        child[SpeakerStatus.CONSUMED] = consumed + frames
        assert 0 <= parent.depth_frames <= parent.capacity_frames
    assert np.array_equal(np.concatenate(heard), sent)


def test_begins_at_a_frame(sides: tuple[SpeakerMemory, SpeakerMemory]) -> None:
    """A new child continues at the last one's frame."""
    parent, child = sides
    parent.begin(777_777, gain=3, paused=True)
    parent.write(np.array([1, 2, 3], np.int16))
    assert child.read(child[SpeakerStatus.CONSUMED], 3).tolist() == [1, 2, 3]
    assert (child[SpeakerControl.GAIN], child[SpeakerControl.PAUSED], child[SpeakerStatus.AUDIBLE_END]) == (3, 1, 777_777)


def test_no_anchor_at_first(sides: tuple[SpeakerMemory, SpeakerMemory]) -> None:
    """There is none before the first callback."""
    assert sides[0].snapshot() is None


def test_anchor_is_the_newest_and_never_torn(sides: tuple[SpeakerMemory, SpeakerMemory]) -> None:
    """A reader in another thread sees whole anchors only, each at least as new as the one before."""
    parent, child = sides
    done = threading.Event()

    def write() -> None:
        for index in range(1, 4_001):
            child.publish(Snapshot(index, index * 2.0, (PlayedSegment(index, index, index),) * (index % 9)))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    while not done.is_set():
        if (snapshot := parent.snapshot()) is not None:
            assert snapshot.device_frame == snapshot.time_us * 2.0
            assert all(segment.frames == snapshot.time_us for segment in snapshot.segments)
            assert snapshot.time_us >= seen
            seen = snapshot.time_us
    writer.join()
    last = parent.snapshot()
    assert last is not None
    assert last.time_us == 4_000
