"""Correction of drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.drift import DEAD_BAND_US, MAX_PPM, PATIENCE_US, SLEW_PPM_PER_S, DriftControl, Steered
from edge_client.audio.playout_queue import Chunk
from edge_client.audio.sink import Pcm

RATE_HZ = 48_000


def _sine(frames: int, hz: float = 997.0) -> Pcm:
    samples: Pcm = np.rint(16_000 * np.sin(2 * np.pi * hz * np.arange(frames) / RATE_HZ)).astype(np.int16)
    return samples


def _chunks(pcm: Pcm, sizes: list[int]) -> list[Chunk]:
    chunks: list[Chunk] = []
    at = 0
    while at < len(pcm):
        size = min(sizes[len(chunks) % len(sizes)], len(pcm) - at)
        chunks.append(Chunk("a", at, size, pcm[at : at + size]))
        at += size
    return chunks


def test_small_errors_are_left_alone() -> None:
    """Sound that needs no correction is unchanged bit for bit."""
    control = DriftControl()
    assert {control.step(error, step * 10_000) for step in range(1_000) for error in (DEAD_BAND_US, -DEAD_BAND_US)} == {0.0}


def test_a_short_error_is_left_alone_and_a_long_one_is_not() -> None:
    """The error has to last; then the rate moves slowly to the value for the error, within the clamp."""
    control = DriftControl()
    before = [control.step(1_000_000, now_us) for now_us in range(0, PATIENCE_US, 10_000)]
    assert set(before) == {0.0}
    rates = [control.step(1_000_000, now_us) for now_us in range(PATIENCE_US, PATIENCE_US + 20_000_000, 10_000)]
    assert np.diff(rates).max() <= SLEW_PPM_PER_S / 100 + 1e-9
    assert rates[-1] == MAX_PPM
    assert control.step(-1_000_000, PATIENCE_US + 20_010_000) < MAX_PPM


def test_rest_counts_for_nothing() -> None:
    """A pause of a minute does not change the rate."""
    control = DriftControl()
    for now_us in range(0, 5_000_000, 10_000):
        control.step(1_000_000, now_us)
    before = control.ppm
    control.rest()
    assert control.step(1_000_000, 65_000_000) == before


def test_never_steered_is_never_touched() -> None:
    """Chunks are returned unchanged."""
    steered, chunks = Steered(RATE_HZ), _chunks(_sine(9_600), [960])
    assert steered.process(chunks, 0.0) == chunks
    assert steered.flush() == []
    assert steered.held_frames == 0


@given(
    st.lists(st.integers(1, 2_000), min_size=1, max_size=8), st.lists(st.floats(-MAX_PPM, MAX_PPM), min_size=1, max_size=8), st.booleans()
)
def test_every_sample_comes_out_at_its_rate(sizes: list[int], rates: list[float], begins_late: bool) -> None:
    """For any chunks and rates: the PTS of the output have neither hole nor overlap and the same length as the input,
    the number of frames matches the rates, and there is no step, not even when the correction starts."""
    steered, out = Steered(RATE_HZ), []
    pcm = _sine(RATE_HZ)
    for index, chunk in enumerate(_chunks(pcm, sizes)):
        ppm = 0.0 if begins_late and index < 3 else rates[index % len(rates)]
        out += steered.process([chunk], ppm)
    out += steered.flush()
    assert steered.held_frames == 0
    at = 0
    for chunk in out:
        assert chunk.pts_frame == at
        at += chunk.pts_frames
    assert at == len(pcm)
    heard = np.concatenate([chunk.pcm for chunk in out])
    assert abs(len(heard) - len(pcm)) <= RATE_HZ * MAX_PPM * 1e-6 + 2
    own = 16_000 * 2 * np.pi * 997 / RATE_HZ
    assert np.abs(np.diff(heard.astype(int))).max() <= own + 100


@pytest.mark.parametrize("ppm", [500.0, -500.0, 137.0])
def test_pitch_moves_by_the_rate(ppm: float) -> None:
    """A sine remains a sine, at a slightly different pitch; its SNR is as good as 16 bits."""
    steered = Steered(RATE_HZ)
    out = [chunk for part in _chunks(_sine(4 * RATE_HZ), [960]) for chunk in steered.process([part], ppm)]
    heard = np.concatenate([chunk.pcm for chunk in out])[RATE_HZ : 3 * RATE_HZ].astype(float)
    phase = 2 * np.pi * 997 * (1 + ppm * 1e-6) * np.arange(len(heard)) / RATE_HZ
    basis = np.stack((np.sin(phase), np.cos(phase)), axis=1)
    rest = heard - basis @ np.linalg.lstsq(basis, heard, rcond=None)[0]
    assert 10 * np.log10(np.mean(heard**2) / np.mean(rest**2)) > 80


def test_filler_has_no_length_on_the_line() -> None:
    """During correction too, the PTS does not advance with filler."""
    steered = Steered(RATE_HZ)
    pcm = _sine(2_880)
    chunks = [Chunk("a", 0, 960, pcm[:960]), Chunk("a", 960, 0, pcm[960:1_920]), Chunk("a", 960, 960, pcm[1_920:])]
    out = [*steered.process(chunks, 100.0), *steered.flush()]
    filler = sum(len(chunk.pcm) for chunk in out if chunk.pts_frames == 0)
    assert filler == pytest.approx(960, abs=3)
    assert sum(chunk.pts_frames for chunk in out) == 1_920
