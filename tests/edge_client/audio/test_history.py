from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.history import History


@given(lengths=st.lists(st.integers(0, 300), max_size=30), start=st.integers(0, 500), frames=st.integers(0, 2_000))
def test_reads_what_was_added(lengths: list[int], start: int, frames: int) -> None:
    """At least the capacity is kept, at most one block more, each frame at its index."""
    history, end = History(500), 0
    for length in lengths:
        history.add(np.arange(end, end + length).astype(np.int16))
        end += length
    assert history.end == end
    assert min(end, 500) <= end - history.begin < 500 + 300
    first = min(history.begin + start, end)
    assert history.read(first, frames).tolist() == list(range(first, min(first + frames, end)))


def test_keeps_a_copy() -> None:
    """Later changes of the caller's samples have no effect."""
    samples = np.ones(4, np.int16)
    history = History(10)
    history.add(samples)
    samples[:] = 9
    assert history.read(0, 4).tolist() == [1, 1, 1, 1]
