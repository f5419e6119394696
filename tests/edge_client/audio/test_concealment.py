"""Concealment of missing sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.concealment import FADE_BEGINS_US, FADE_ENDS_US, LEAD_IN_US, Concealment, into
from edge_client.audio.sink import Pcm
from tests.edge_client.audio.decoders.clips import tones

RATE_HZ = 48_000
STEP = 328
"""-40 dBFS."""


def _sine(frames: int, hz: float, *, start: int = 0) -> Pcm:
    samples: Pcm = np.rint(16_000 * np.sin(2 * np.pi * hz * np.arange(start, start + frames) / RATE_HZ)).astype(np.int16)
    return samples


@given(hz=st.floats(70, 3_000), frames=st.integers(1_440, 4_000))
def test_goes_on_without_a_step_and_fades(hz: float, frames: int) -> None:
    """Whatever the pitch: no jump that the sound itself does not have, silence from 60 ms on."""
    heard = _sine(frames, hz)
    concealment = Concealment(RATE_HZ)
    concealment.heard(heard)
    filled = concealment.fill(4_800)
    assert not filled[FADE_ENDS_US * RATE_HZ // 1_000_000 :].any()
    own = 16_000 * 2 * np.pi * hz / RATE_HZ
    assert np.abs(np.diff(np.concatenate((heard[-10:], filled)).astype(int))).max() <= own + STEP
    loud = filled[: FADE_BEGINS_US * RATE_HZ // 1_000_000]
    assert np.std(loud) == pytest.approx(np.std(heard), rel=0.25)


def test_pieces_are_the_whole() -> None:
    """The result does not depend on the sizes requested; new sound restarts it."""
    whole, pieces = Concealment(RATE_HZ), Concealment(RATE_HZ)
    whole.heard(tones(0.1))
    for piece in (tones(0.1)[:2_000], tones(0.1)[2_000:]):
        pieces.heard(piece)
    assert np.concatenate([pieces.fill(count) for count in (1, 700, 2_000, 299)]).tolist() == whole.fill(3_000).tolist()
    assert whole.filled_frames == 3_000
    assert not whole.is_audible
    whole.heard(tones(0.01))
    assert whole.filled_frames == 0
    assert whole.is_audible


@pytest.mark.parametrize("frames", [1, 100, 500, 960])
def test_lead_in_ends_beside_what_follows(frames: int) -> None:
    """The lead-in leads from silence to the middle of a wave, however few of its samples are known."""
    following = _sine(frames, 220.0, start=55)
    led = into(np.zeros(960, np.int16), following, RATE_HZ)
    lead = LEAD_IN_US * RATE_HZ // 1_000_000
    assert len(led) == 960
    assert not led[:-lead].any()
    assert np.abs(np.diff(np.concatenate((led, following)).astype(int))).max() <= 16_000 * 2 * np.pi * 220 / RATE_HZ + STEP


def test_nothing_comes_of_nothing() -> None:
    """Before the first sample there is nothing to continue, and no lead-in: a first word is never changed."""
    concealment = Concealment(RATE_HZ)
    assert not concealment.is_audible
    assert not concealment.fill(100).any()
    assert not len(concealment.lead_in(tones(0.02)))
    assert not len(into(np.zeros(0, np.int16), tones(0.02), RATE_HZ))
    assert into(tones(0.02), np.zeros(0, np.int16), RATE_HZ).tolist() == tones(0.02).tolist()


def test_full_scale_is_clipped_and_never_wraps() -> None:
    """A loud square wave continues as one."""
    square = np.where(np.arange(4_800) // 100 % 2, 32_767, -32_768).astype(np.int16)
    concealment = Concealment(RATE_HZ)
    concealment.heard(square)
    filled = concealment.fill(900).astype(int)
    assert np.abs(np.diff(filled)).max() <= 65_535
    assert np.std(filled) == pytest.approx(32_767, rel=0.1)
