"""The sound played equals the sound published: through real programs, into a file and behind ALSA.

A backend publishes one conversation of each codec; the edge client plays them in sequence. With the virtual sink
`played.wav` is compared, with PyAudio the samples from the (paced) ALSA device.
"""

from __future__ import annotations

import random
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.publisher import Publisher
from edge_client.audio.sink import Pcm
from tests.avatar_relay.sound.ogg_muxing import split_pages
from tests.edge_client.audio.decoders.clips import encode, need_opus_tools, reference, tones
from tests.lab.programs import python, running
from tests.lab.sound_card.paced_card import PacedDevice, deep_paced_device, paced_library

__all__ = ["deep_paced_device", "paced_library"]

RELAY = [*python("relay_server"), "--listen", "127.0.0.1:0"]
TONE_HZ, TONE_S = 997.0, 0.6
PRE_SKIP = 312
"""Samples before the sound, which bare Opus packets cannot mark as padding (opusenc's 6.5 ms)."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One conversation: the input, and the expected sound, from the first to the last audible sample."""

    name: str
    audio_format: AudioFormat
    chunks: tuple[bytes, ...]
    wanted: Pcm
    tolerance: int = 0


def cut_anywhere(data: bytes, seed: int) -> tuple[bytes, ...]:
    """Pieces of 1 to 4,000 bytes."""
    cuts, pieces = random.Random(seed), []
    while data:
        size = cuts.randint(1, 4_000)
        pieces.append(data[:size])
        data = data[size:]
    return tuple(pieces)


def noise(seconds: float) -> Pcm:
    """Samples that are never silent, so that the first and the last count."""
    samples = np.random.default_rng(5).integers(1, 12_000, round(48_000 * seconds)).astype(np.int16)
    return samples


def packets_of(stream: bytes) -> Iterator[bytes]:
    """Return the Opus packets of a stream with packets below 255 bytes."""
    for page in split_pages(stream)[2:]:
        start = 27 + page[26]
        for size in page[27:start]:
            yield page[start : start + size]
            start += size


def conversations(folder: Path) -> list[Spoken]:
    """One of each codec."""
    need_opus_tools()
    plain = noise(0.8)
    stream = encode(folder, tones(0.8), "--hard-cbr", "--bitrate", "64")
    decoded = reference(folder, stream)
    return [
        Spoken("pcm at the device's rate", AudioFormat(Codec.PCM_S16LE, 48_000), cut_anywhere(plain.tobytes(), 1), plain),
        Spoken("ogg opus cut anywhere", AudioFormat(Codec.OGG_OPUS), cut_anywhere(stream, 2), decoded, tolerance=1),
        Spoken("bare opus packets", AudioFormat(Codec.OPUS), tuple(packets_of(stream)), decoded, tolerance=1),
    ]


async def publish(address: str, spoken: Sequence[Spoken]) -> None:
    """Publish the conversations in sequence."""
    async with Publisher.connect(address) as publisher:
        for one in spoken:
            avatar = publisher.avatar("lobby", audio_format=one.audio_format)
            for chunk in one.chunks:
                conversation_id = await avatar.yield_audio_data(chunk)
            await avatar.yield_frames_data([], conversation_id)
            await avatar.yield_audio_data(b"", end=True)
            assert (await avatar.finished(conversation_id)).reason == "completed", one.name


async def play(folder: Path, spoken: Sequence[Spoken], *options: str) -> None:
    """Run the pair until everything has played."""
    async with running("relay-server", RELAY, folder / "relay.log", {}) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", 20))[1]
        command = [*python("edge_client"), "--relay", address, "--device-id", "lobby", "--renderer", "none", "--log-level", "info"]
        command += ["--exit-after-finished", str(len(spoken)), "--record", str(folder / "record"), *options]
        async with running("edge-client", command, folder / "edge.log", {}) as device:
            await device.wait_for("attached to", 20)
            await publish(address, spoken)
            await device.wait(20)


def sounds(samples: Pcm, count: int) -> list[Pcm]:
    """Return the `count` stretches of sound between the longest silences, each from its first to its last sample."""
    sounding = np.flatnonzero(samples)
    silences = np.diff(sounding)
    cuts = np.sort(np.argsort(silences)[-(count - 1) :]) if count > 1 else np.zeros(0, int)
    starts, ends = [0, *(cuts + 1)], [*cuts, len(sounding) - 1]
    return [samples[sounding[start] : sounding[end] + 1] for start, end in zip(starts, ends, strict=True)]


def assert_heard(samples: Pcm, spoken: Sequence[Spoken]) -> None:
    """Check that each conversation was played, identical to the sample."""
    for one, heard in zip(spoken, sounds(samples, len(spoken)), strict=True):
        (wanted,) = sounds(one.wanted, 1)
        if one.audio_format.codec is Codec.OPUS:
            start = min(range(2 * PRE_SKIP), key=lambda at: distance(heard[at:], wanted))
            heard = heard[start:]
            assert distance(heard, wanted) <= one.tolerance, one.name
        else:
            assert abs(len(heard) - len(wanted)) <= one.tolerance * 2, one.name
            assert distance(heard, wanted) <= one.tolerance, one.name


def distance(heard: Pcm, wanted: Pcm) -> int:
    """Return the largest difference over the common length."""
    size = min(len(heard), len(wanted))
    return int(np.abs(heard[:size].astype(int) - wanted[:size]).max(initial=0))


def read_wav(path: Path) -> Pcm:
    """All samples of a file."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (48_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


async def test_played_wav_is_what_was_published(tmp_path: Path) -> None:
    """The recording of the virtual sink contains every sample of every conversation, and silence around them."""
    spoken = conversations(tmp_path)
    await play(tmp_path, spoken, "--audio-sink", "virtual")
    assert_heard(read_wav(tmp_path / "record" / "played.wav"), spoken)


@pytest.mark.slow
async def test_heard_behind_alsa_is_what_was_published(tmp_path: Path, deep_paced_device: PacedDevice) -> None:
    """Through real PyAudio on real ALSA no sample is lost at the start or the end, and none is changed."""
    spoken = conversations(tmp_path)
    await play(tmp_path, spoken, "--audio-sink", "pyaudio", "--audio-device", "paced")
    assert_heard(deep_paced_device.samples(), spoken)
    assert [event for event in deep_paced_device.events() if event.kind == "xrun"] == []


async def test_resampled_sound_keeps_60_db(tmp_path: Path) -> None:
    """A tone at a rate other than the device's keeps its pitch, with noise and distortion 60 dB below it, end to end."""
    tones_at = {rate_hz: tone(rate_hz) for rate_hz in (8_000, 16_000, 22_050, 24_000, 32_000, 44_100)}
    spoken = [
        Spoken(f"{rate_hz} Hz", AudioFormat(Codec.PCM_S16LE, rate_hz), cut_anywhere(samples.tobytes(), rate_hz), samples)
        for rate_hz, samples in tones_at.items()
    ]
    await play(tmp_path, spoken, "--audio-sink", "virtual")
    for one, heard in zip(spoken, sounds(read_wav(tmp_path / "record" / "played.wav"), len(spoken)), strict=True):
        assert len(heard) == pytest.approx(48_000 * TONE_S, abs=64), one.name
        assert tone_to_rest_db(heard) >= 60, one.name


def tone(rate_hz: int) -> Pcm:
    """A sine wave."""
    time_s = np.arange(round(rate_hz * TONE_S)) / rate_hz
    samples: Pcm = np.rint(20_000 * np.sin(2 * np.pi * TONE_HZ * time_s)).astype(np.int16)
    return samples


def tone_to_rest_db(heard: Pcm) -> float:
    """Level of the tone relative to the rest, without its edges: the residual of a least-squares fit."""
    middle = heard[4_800:-4_800].astype(float)
    phase = 2 * np.pi * TONE_HZ * np.arange(len(middle)) / 48_000
    basis = np.column_stack([np.sin(phase), np.cos(phase)])
    rest = middle - basis @ np.linalg.lstsq(basis, middle, rcond=None)[0]
    return float(10 * np.log10(np.mean(middle**2) / np.mean(rest**2)))
