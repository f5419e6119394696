"""Audio and motion in their publishing order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import weights
from relay_server.sources.interleave import Interleaver
from relay_server.sources.source import AudioChunk, MotionChunk

RATE_HZ = 8_000
NAMES = 2


@given(
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 20)), max_size=12),
    st.sampled_from([25.0, 30.0]),
)
def test_nothing_is_lost_and_motion_comes_first(pushes: list[tuple[int, int]], keyframes_per_second: float) -> None:
    """All samples and rows are returned in order; before the end, sound never precedes motion of the same time."""
    out = Interleaver(RATE_HZ, keyframes_per_second)
    samples = np.arange(sum(push[0] for push in pushes)).astype(np.int16)
    rows = np.arange(NAMES * sum(push[1] for push in pushes), dtype=np.float32).reshape(-1, NAMES)
    items: list[AudioChunk | MotionChunk] = []
    frame = row = 0
    for frames, count in pushes:
        out.push_audio(samples[frame : frame + frames])
        out.push_motion(rows[row : row + count])
        frame, row = frame + frames, row + count
        items += out.take()
    live = len(items)
    items += out.take(ended=True)
    heard_s = shown_s = 0.0
    for index, item in enumerate(items):
        if isinstance(item, AudioChunk):
            heard_s += len(item.data) / 2 / RATE_HZ
            assert index >= live or shown_s >= heard_s - 1e-9
        else:
            shown_s += weights.count_keyframes(item.data, NAMES) / keyframes_per_second
    audio = b"".join(item.data for item in items if isinstance(item, AudioChunk))
    motion = b"".join(item.data for item in items if isinstance(item, MotionChunk))
    assert audio == samples.astype("<i2").tobytes()
    np.testing.assert_array_equal(weights.read(motion, NAMES), rows)
    assert all(item.data for item in items)


def test_sound_waits_for_its_motion() -> None:
    """Sound alone is held until its motion is known or the input has ended."""
    out = Interleaver(RATE_HZ, 30.0)
    out.push_audio(np.zeros(RATE_HZ, np.int16))
    assert out.take() == []
    out.push_motion(np.zeros((4, NAMES), np.float32))
    first, second = out.take()
    assert isinstance(first, MotionChunk)
    assert isinstance(second, AudioChunk)
    assert len(second.data) == 1_600


def test_sound_that_is_due_does_not_wait() -> None:
    """It is returned in pieces as it becomes due, and its motion follows when available."""
    out = Interleaver(RATE_HZ, 30.0)
    out.push_audio(np.zeros(2_000, np.int16))
    due = out.take(due_frames=1_700)
    assert [len(item.data) for item in due if isinstance(item, AudioChunk)] == [1_600, 1_600, 800]
    assert out.frames_out == 2_000
    out.push_motion(np.zeros((2, NAMES), np.float32))
    (late,) = out.take()
    assert isinstance(late, MotionChunk)
