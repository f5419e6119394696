from __future__ import annotations

import itertools
import wave
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.errors import SoundError
from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.media import AudioFormat, Codec
from edge_client.audio.decoders import make_decoder
from edge_client.audio.decoders.pcm_doubts import DOUBT_BYTES, doubt
from edge_client.audio.decoders.pcm_s16le import PcmDecoder
from tests.avatar_relay.sound.streams import TAG, mpeg, pcm, wav
from tests.edge_client.audio.decoders.clips import tones
from tests.lab.data import alsa_sample

PCM_16K = AudioFormat(Codec.PCM_S16LE, 16_000)
SAMPLES = pcm()


@given(data=st.binary(max_size=400).filter(lambda data: len(data) % 2 == 0), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    """However PCM is split, even within a sample, the samples are decoded bit for bit."""
    decoder = PcmDecoder(AudioFormat(Codec.PCM_S16LE, 16_000))
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [decoder.decode(data[start:end]) for start, end in itertools.pairwise(edges)]
    assert np.concatenate([*pieces, decoder.finish()]).tobytes() == data


@pytest.mark.parametrize("rate_hz", PCM_RATES_HZ)
def test_rate_of_the_sink_is_sample_exact(rate_hz: int) -> None:
    """If the rates match, samples are not resampled."""
    samples = np.random.default_rng(rate_hz).integers(-32768, 32768, 5_000).astype(np.int16)
    decoder = make_decoder(AudioFormat(Codec.PCM_S16LE, rate_hz), rate_hz)
    assert np.array_equal(decoder.decode(samples.tobytes()), samples)
    assert not len(decoder.finish())


def test_half_a_sample_is_left() -> None:
    """An odd total number of bytes is reported once, not as an error; all whole samples are returned."""
    decoder = PcmDecoder(AudioFormat(Codec.PCM_S16LE, 8_000))
    assert decoder.decode(b"\x01\x00\x02").tolist() == [1]
    assert not len(decoder.finish())
    assert ["half a sample" in text for text in decoder.irregularities()] == [True]
    assert not len(decoder.finish())
    assert decoder.irregularities() == []


def test_concealment_sounds_on_and_fades() -> None:
    """Concealment begins at the last sample's level, lasts 20 ms, and is zero by 60 ms; what follows is exact again."""
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
    """An empty gap has no samples."""
    assert len(PcmDecoder(AudioFormat(Codec.PCM_S16LE, 8_000)).conceal(0)) == 0


def test_what_begins_like_a_container_is_refused_to_its_end() -> None:
    """Not only the first payload: the middle of an MP3 would be noise."""
    decoder = PcmDecoder(PCM_16K)
    for _ in range(3):
        with pytest.raises(SoundError, match="MPEG audio"):
            decoder.decode(mpeg())
    assert not len(decoder.finish())


def test_each_payload_a_wav() -> None:
    """Exactly the samples within, also at a rate other than the device's."""
    decoder = PcmDecoder(PCM_16K)
    heard = [decoder.decode(wav(SAMPLES[at : at + 3_200], after=TAG)) for at in range(0, len(SAMPLES), 3_200)]
    assert np.concatenate([*heard, decoder.finish()]).tobytes() == SAMPLES
    assert decoder.irregularities() == []


def test_a_lost_payload_within_a_wav() -> None:
    """Its size field is ignored from then on: later samples are not parsed as a chunk."""
    decoder = PcmDecoder(PCM_16K)
    decoder.decode(wav(b"", data_size=len(SAMPLES)) + SAMPLES[:3_200])
    decoder.conceal(1_600)
    rest = SAMPLES[6_400:] + b"LIST\4\0\0\0abcd"
    assert decoder.decode(rest).tobytes() == rest


def float32(samples: np.ndarray) -> bytes:
    """32-bit float with full scale 1."""
    return (samples / 32_768).astype("<f4").tobytes()


def mulaw(samples: np.ndarray) -> bytes:
    """G.711, by its definition: the sign, the segment, and four bits within it."""
    sizes = np.minimum(np.abs(samples.astype(int)), 32_635) + 132
    segments = np.floor(np.log2(sizes)).astype(int) - 7
    codes = (samples < 0) * 128 | segments << 4 | sizes >> segments + 3 & 15
    return bytes((~codes & 255).astype(np.uint8).tobytes())


@pytest.mark.parametrize(("encode", "name"), [(float32, "32-bit float"), (mulaw, "µ-law")])
@pytest.mark.parametrize("piece", [100, 1 << 20])
def test_samples_of_another_encoding_are_told_and_played(encode: Callable[[np.ndarray], bytes], name: str, piece: int) -> None:
    """Reported once; nothing is refused because of a guess."""
    data = encode(tones(0.6, rate_hz=8_000))
    decoder = PcmDecoder(PCM_16K)
    told: list[str] = []
    for at in range(0, len(data), piece):
        decoder.decode(data[at : at + piece])
        told += decoder.irregularities()
    decoder.finish()
    (text,) = [*told, *decoder.irregularities()]
    assert f"look like {name}" in text


def test_pcm_is_not_doubted() -> None:
    """Voices, noise, clipped tones, silence, and the installed recordings; in every window."""
    chance = np.random.default_rng(2)
    kinds: list[np.ndarray] = [
        tones(2.0, rate_hz=16_000),
        np.zeros(32_000),
        chance.uniform(-32_768, 32_767, 32_000),
        32_767 * np.sign(tones(1.0)),
    ]
    kinds += [np.repeat(tones(1.0, rate_hz=8_000), 2), tones(2.0, amplitude=90_000.0), tones(1.0) // 256 * 256]
    for samples in kinds:
        data = samples.astype("<i2").tobytes()
        for at in range(0, len(data) - DOUBT_BYTES, DOUBT_BYTES // 4):
            assert doubt(data[at : at + DOUBT_BYTES]) == ""


@pytest.mark.parametrize("name", ["Front_Center.wav", "Rear_Left.wav"])
def test_recorded_speech_is_not_doubted(name: str) -> None:
    """A human voice at 48 kHz, at each gain."""
    with wave.open(str(alsa_sample(name))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    for gain in (0.2, 1.0, 4.0):
        data = np.clip(samples * gain, -32_768, 32_767).astype("<i2").tobytes()
        for at in range(0, len(data) - DOUBT_BYTES, DOUBT_BYTES):
            assert doubt(data[at : at + DOUBT_BYTES]) == ""
