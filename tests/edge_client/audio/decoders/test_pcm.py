from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.media import AudioFormat, Codec
from edge_client.audio.decoders import make_decoder
from edge_client.audio.decoders.pcm_s16le import PcmDecoder
from tests.edge_client.audio.decoders.clips import tones


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=400).filter(lambda data: len(data) % 2 == 0), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    """However PCM is cut, also within a sample, the samples come out bit for bit."""
    decoder = PcmDecoder(AudioFormat(Codec.PCM_S16LE, 16_000))
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [decoder.decode(data[start:end]) for start, end in itertools.pairwise(edges)]
    assert np.concatenate([*pieces, decoder.finish()]).tobytes() == data


@pytest.mark.parametrize("rate_hz", PCM_RATES_HZ)
def test_rate_of_the_sink_is_sample_exact(rate_hz: int) -> None:
    """Where the rates match, nothing is computed on the samples."""
    samples = np.random.default_rng(rate_hz).integers(-32768, 32768, 5_000).astype(np.int16)
    decoder = make_decoder(AudioFormat(Codec.PCM_S16LE, rate_hz), rate_hz)
    assert np.array_equal(decoder.decode(samples.tobytes()), samples)
    assert not len(decoder.finish())


def test_half_a_sample_is_left() -> None:
    """An odd number of bytes in all is told once, and is no error; the whole samples were given."""
    decoder = PcmDecoder(AudioFormat(Codec.PCM_S16LE, 8_000))
    assert decoder.decode(b"\x01\x00\x02").tolist() == [1]
    assert not len(decoder.finish())
    assert ["half a sample" in text for text in decoder.irregularities()] == [True]
    assert not len(decoder.finish())
    assert decoder.irregularities() == []


def test_concealment_sounds_on_and_fades() -> None:
    """A gap begins beside the last sample, is filled for 20 ms, and ends in zeros at 60 ms; what follows is exact again."""
    decoder = PcmDecoder(AudioFormat(Codec.PCM_S16LE, 48_000))
    decoder.decode(tones(0.1).tobytes())
    last = int(tones(0.1)[-1])
    concealed = decoder.conceal(4_000)
    assert len(concealed) == 4_000
    assert abs(int(concealed[0]) - last) < 1_000
    assert np.std(concealed[:960]) == pytest.approx(np.std(tones(0.1)[-960:]), rel=0.2)
    assert np.std(concealed[1_920:2_400]) < 0.5 * np.std(concealed[:960])
    assert not concealed[2_880:].any()
    assert decoder.decode(b"\x05\x00").tolist() == [5]


def test_concealment_of_nothing() -> None:
    """An empty gap is no samples."""
    assert len(PcmDecoder(AudioFormat(Codec.PCM_S16LE, 8_000)).conceal(0)) == 0
