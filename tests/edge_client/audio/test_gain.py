"""Ramped gain: no step in the sound, and no change at gain 1."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.gain import GainRamp, ramp_frames

RATE_HZ = 48_000
LOUD = np.full(4_800, 20_000, np.int16)


def test_gain_one_is_bit_exact() -> None:
    """A gain of 1 leaves every sample unchanged, the extremes too."""
    pcm = np.array([-32_768, -1, 0, 1, 32_767], np.int16)
    out, audible = GainRamp(RATE_HZ).apply(pcm)
    assert out.tolist() == pcm.tolist()
    assert audible == 5


def test_ramp_to_silence_takes_ten_milliseconds_and_ends_in_zero() -> None:
    """A fade lasts 10 ms; the last audible frame is counted."""
    ramp = GainRamp(RATE_HZ)
    ramp.move(0.0)
    out, audible = ramp.apply(LOUD)
    assert ramp_frames(RATE_HZ) == 480
    assert audible == 479
    assert out[478] != 0
    assert not out[479:].any()
    assert ramp.settled


def test_no_step_larger_than_the_slope() -> None:
    """Neighbouring samples of a constant differ by no more than the ramp's slope."""
    ramp = GainRamp(RATE_HZ)
    ramp.move(0.0)
    out, _ = ramp.apply(LOUD)
    assert np.abs(np.diff(out.astype(np.int32))).max() <= 20_000 / 480 + 1


@given(st.lists(st.integers(0, 700), min_size=1, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_cutting_into_blocks_changes_nothing(sizes: list[int], before: float, after: float) -> None:
    """The samples do not depend on the sizes of the blocks, except for one unit of rounding."""
    whole, parts = GainRamp(RATE_HZ, before), GainRamp(RATE_HZ, before)
    whole.move(after)
    parts.move(after)
    pcm = LOUD[: min(sum(sizes), len(LOUD))]
    expected, _ = whole.apply(pcm)
    got, position = [], 0
    for size in sizes:
        got.append(parts.apply(pcm[position : position + size])[0])
        position += size
    assert np.abs(np.concatenate(got).astype(np.int32) - expected.astype(np.int32)).max(initial=0) <= 1
