"""Speech that can be located sample by sample: a recording at the device's rate, with a unique noise floor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from avatar_relay import avatarkit
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat, Pacing
from relay_server.sources.local.source import LocalSource
from relay_server.sources.recording import RecordingSource
from relay_server.sources.source import AudioChunk, FileSpeech, MotionChunk, Performance
from tests.lab.ground_truth.heard import Pcm

RATE_HZ = 48_000
CHUNK_FRAMES = RATE_HZ // 50
"""20 ms: the chunk size of a live backend."""
_FLOOR = 14
"""RMS of the noise: -67 dBFS. It is below 6 kHz, so that a resampler passes it."""


@dataclass(frozen=True, slots=True)
class Material:
    """A recording: its sound, and its motion payloads with the number of keyframes in each."""

    name: str
    sound: Pcm
    motion_format: MotionFormat
    motion: tuple[tuple[bytes, int], ...]

    @property
    def frames(self) -> int:
        """Length in frames: that of the motion, so that both stay aligned when repeated."""
        keyframes = sum(count for _, count in self.motion)
        return round(keyframes * RATE_HZ / self.motion_format.keyframes_per_second)


async def load_material(path: Path) -> Material:
    """A recorded AvatarKit conversation (JSON), or a file of speech whose motion is made from the sound. Raises `SourceError`."""
    source = RecordingSource() if path.suffix == ".json" else LocalSource()
    performance = await source.perform(FileSpeech(path))
    assert performance.motion_format is not None
    sound, motion = bytearray(), []
    async for item in performance.items:
        match item:
            case AudioChunk(data):
                sound += data
            case MotionChunk(data):
                motion.append((data, _keyframes(data, performance.motion_format)))
    samples = np.frombuffer(bytes(sound), "<i2").astype(np.float32)
    at_rate = soxr.resample(samples, performance.audio_format.sample_rate_hz, RATE_HZ)
    return Material(path.name, np.rint(np.clip(at_rate, -30_000, 30_000)).astype(np.int16), performance.motion_format, tuple(motion))


def _keyframes(data: bytes, motion_format: MotionFormat) -> int:
    if motion_format.encoding is MotionEncoding.AVATARKIT_V2:
        return avatarkit.count_keyframes(data)
    return len(data) // 4 // len(motion_format.blendshape_names)


def findable(material: Material, seconds: float, seed: int) -> Pcm:
    """`seconds` of the material, repeated if it is shorter, with a noise floor (by `seed`) and without zeros."""
    frames = round(seconds * RATE_HZ)
    one = np.resize(np.concatenate([material.sound, np.zeros(max(0, material.frames - len(material.sound)), np.int16)]), material.frames)
    noise = np.convolve(np.random.default_rng(seed).normal(0, _FLOOR, frames + 7), np.ones(8) / 8**0.5, "valid")
    sound = np.resize(one, frames).astype(np.int32) + np.rint(noise).astype(np.int32)
    found: Pcm = np.where(sound == 0, 1, sound).astype(np.int16)
    return found


def perform(material: Material, sound: Pcm, pacing: Pacing, speed: float = 0.0) -> Performance:
    """A conversation of `sound` with the material's motion, repeated. It yields 20 ms chunks at `speed` times real time: 1 if `LIVE`, and 0
    means at once.
    """
    items = _items(material, sound, 1.0 if pacing is Pacing.LIVE else speed)
    return Performance(AudioFormat(Codec.PCM_S16LE, RATE_HZ), material.motion_format, pacing, items)


async def _items(material: Material, sound: Pcm, speed: float) -> AsyncIterator[AudioChunk | MotionChunk]:
    """Yield motion before the sound of the same time."""
    began = time.monotonic()
    per_keyframe = RATE_HZ / material.motion_format.keyframes_per_second
    covered = 0.0
    number = 0
    for start in range(0, len(sound), CHUNK_FRAMES):
        if speed:
            await asyncio.sleep(max(0.0, began + start / RATE_HZ / speed - time.monotonic()))
        while covered < start + CHUNK_FRAMES:
            data, keyframes = material.motion[number % len(material.motion)]
            covered += keyframes * per_keyframe
            number += 1
            yield MotionChunk(data)
        yield AudioChunk(sound[start : start + CHUNK_FRAMES].tobytes())
