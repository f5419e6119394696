from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.media import AudioFormat, Codec
from edge_client.audio.decoders import make_decoder
from edge_client.audio.resampler import Resampler
from edge_client.audio.sink import Pcm


def _sine(frames: int, rate_hz: int, frequency_hz: float = 997.0) -> Pcm:
    samples: Pcm = np.rint(16_000 * np.sin(2 * np.pi * frequency_hz * np.arange(frames) / rate_hz)).astype(np.int16)
    return samples


def _snr_db(heard: Pcm, wanted: Pcm) -> float:
    noise = heard.astype(float) - wanted
    return float(10 * np.log10(np.mean(wanted.astype(float) ** 2) / np.mean(noise**2)))


_PAIRS = [(low, high) for low in PCM_RATES_HZ for high in (44_100, 48_000) if low != high]


@pytest.mark.parametrize(("input_rate_hz", "output_rate_hz"), _PAIRS)
def test_quality(input_rate_hz: int, output_rate_hz: int) -> None:
    """A tone keeps its position, with at least 60 dB between it and the error, except at its ends."""
    decoder = make_decoder(AudioFormat(Codec.PCM_S16LE, input_rate_hz), output_rate_hz)
    data = _sine(2 * input_rate_hz, input_rate_hz).tobytes()
    pieces = [decoder.decode(data[start : start + 1_501]) for start in range(0, len(data), 1_501)]
    heard = np.concatenate([*pieces, decoder.finish()])
    wanted = _sine(2 * output_rate_hz, output_rate_hz)
    assert decoder.rate_hz == output_rate_hz
    assert len(heard) == len(wanted)
    edge = output_rate_hz // 20
    assert _snr_db(heard[edge:-edge], wanted[edge:-edge]) >= 60


@given(
    rate_hz=st.sampled_from([rate for rate in PCM_RATES_HZ if rate != 48_000]),
    lengths=st.lists(st.integers(0, 700), max_size=12),
)
def test_count_is_exact(rate_hz: int, lengths: list[int]) -> None:
    """The output has the input's length to half a sample, and the samples pending before the flush are reported."""
    resampler = Resampler(rate_hz, 48_000)
    count = sum(len(resampler.process(_sine(length, rate_hz))) for length in lengths)
    owed = resampler.owed_frames
    assert len(resampler.flush()) == owed
    assert abs(count + owed - sum(lengths) * 48_000 / rate_hz) <= 0.5


def test_begins_anew_after_a_flush() -> None:
    """A second stream through the same resampler is resampled like the first."""
    resampler = Resampler(16_000, 48_000)
    samples = _sine(4_000, 16_000)
    first = np.concatenate([resampler.process(samples), resampler.flush()])
    second = np.concatenate([resampler.process(samples), resampler.flush()])
    assert np.array_equal(first, second)
    assert not len(resampler.flush())


def test_loud_input_is_clipped_and_never_wraps() -> None:
    """Overshoot at full scale is clipped."""
    square = np.where(np.arange(8_000) // 20 % 2, 32_767, -32_768).astype(np.int16)
    resampler = Resampler(16_000, 48_000)
    heard = np.concatenate([resampler.process(square), resampler.flush()])
    steps = np.repeat(square, 3)
    assert np.corrcoef(heard, steps)[0, 1] > 0.95


@settings(max_examples=30, deadline=None)
@given(gap=st.integers(0, 6_000), before=st.integers(1, 3_000), after=st.integers(1, 3_000))
def test_concealment_keeps_every_sample_in_its_place(gap: int, before: int, after: int) -> None:
    """A concealed gap has exactly the requested length, and samples held in the resampler are neither lost nor moved.

    The sound that follows is the same as without the gap, except for its very beginning, where the filter runs in."""
    decoder = make_decoder(AudioFormat(Codec.PCM_S16LE, 24_000), 48_000)
    first, second = _sine(before, 24_000), _sine(after, 24_000)
    head = decoder.decode(first.tobytes())
    concealed = decoder.conceal(gap)
    tail = [decoder.decode(second.tobytes()), decoder.finish()]
    assert len(concealed) == gap
    assert len(head) + gap + sum(map(len, tail)) == 2 * before + gap + 2 * after
    alone = Resampler(24_000, 48_000)
    wanted = np.concatenate([alone.process(second), alone.flush()])
    heard = np.concatenate([head, concealed, *tail])[2 * before + gap :]
    apart = np.abs(heard.astype(int) - wanted)
    assert apart.max() <= 1_000
    assert apart[960:].max(initial=0) <= 1
