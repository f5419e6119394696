from __future__ import annotations

import sys
from collections import Counter
from types import FrameType

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.history import History


@given(lengths=st.lists(st.integers(0, 700), max_size=30), start=st.integers(0, 500), frames=st.integers(0, 2_000))
def test_reads_what_was_added(lengths: list[int], start: int, frames: int) -> None:
    """The capacity is kept, each frame at its index."""
    history, end = History(500), 0
    for length in lengths:
        history.add(np.arange(end, end + length).astype(np.int16))
        end += length
    assert history.end == end
    assert end - history.begin == min(end, 500)
    first = min(history.begin + start, end)
    assert history.read(first, frames).tolist() == list(range(first, min(first + frames, end)))


def test_keeps_a_copy() -> None:
    """Later changes of the caller's samples have no effect."""
    samples = np.ones(4, np.int16)
    history = History(10)
    history.add(samples)
    samples[:] = 9
    assert history.read(0, 4).tolist() == [1, 1, 1, 1]


def test_costs_the_same_however_much_it_keeps() -> None:
    """Content comes in small blocks, and is read with each: no call depends on their number."""
    calls = []
    for blocks in (2, 200):
        history, counts = History(10_000), Counter[str]()
        for _ in range(blocks):
            history.add(np.ones(40, np.int16))

        def count(frame: FrameType, event: str, argument: object, counts: Counter[str] = counts) -> None:
            counts[event] += 1

        sys.setprofile(count)
        history.read(history.end - 40, 40)
        sys.setprofile(None)
        calls.append(counts)
    assert calls[0] == calls[1]
