"""Speech of known samples for the source `audio2face`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from avatar_relay.media import AudioFormat, Codec, Pacing
from avatar_relay.mouth.shapes import MOTION_FORMAT
from relay_server.sources.audio2face.settings import Audio2FaceSettings
from relay_server.sources.audio2face.source import Audio2FaceSource
from relay_server.sources.source import (
    AudioChunk,
    Irregularity,
    Item,
    MotionChunk,
    Performance,
    SourceError,
    Speech,
    TextSpeech,
    close_early,
)
from tests.lab.services.audio2face import Audio2FaceService, Trouble, serving
from tests.relay_server.sources.performances import Performed, read_all

HELLO = TextSpeech("hello")
RATE_HZ = 16_000


def noise(seconds: float, rate_hz: int = RATE_HZ) -> bytes:
    """Return samples that all differ."""
    return np.random.default_rng(7).integers(-9_000, 9_000, round(seconds * rate_hz)).astype("<i2").tobytes()


SPEECH = noise(2.5)


class Speaker:
    """A source that yields the given sound, with motion that is ignored.

    `irregular` precedes each sound; `error` ends the speech with an error.
    """

    name = "speaker"

    def __init__(self, pcm: bytes, rate_hz: int = RATE_HZ, error: SourceError | None = None, irregular: Irregularity | None = None) -> None:
        self.audio_format = AudioFormat(Codec.PCM_S16LE, rate_hz)
        self.closed = 0
        self._pcm = pcm
        self._error = error
        self._irregular = irregular

    async def perform(self, speech: Speech) -> Performance:
        """Perform, ignoring the text."""
        return Performance(self.audio_format, MOTION_FORMAT, Pacing.BURST, self._items())

    async def _items(self) -> AsyncIterator[Item]:
        try:
            for start in range(0, len(self._pcm), 3_200):
                yield MotionChunk(b"unused")
                if self._irregular is not None:
                    yield self._irregular
                yield AudioChunk(self._pcm[start : start + 3_200])
            if self._error is not None:
                raise self._error
        finally:
            self.closed += 1


@asynccontextmanager
async def against(service: Audio2FaceService, speaker: Speaker, **settings: Any) -> AsyncIterator[Audio2FaceSource]:
    """A source that combines this speaker and this service."""
    async with serving(service) as target:
        values: dict[str, Any] = {"target": target, "timeout_s": 5.0, **settings}
        source = Audio2FaceSource(Audio2FaceSettings(**values), text=speaker, audio=speaker)
        try:
            yield source
        finally:
            await source.close()


async def performed_against(trouble: Trouble, pcm: bytes) -> tuple[Performance, Performed, Audio2FaceService, Mapping[str, int]]:
    """Perform all of `pcm` against a service with this fault; a silent one is found soon."""
    service = Audio2FaceService(trouble)
    timeout_s = 0.3 if trouble in (Trouble.NEVER_ANSWERS, Trouble.STALLS_MIDWAY) else 5.0
    async with against(service, Speaker(pcm), timeout_s=timeout_s) as source:
        performance = await source.perform(HELLO)
        performed = await read_all(performance)
        await close_early(performance.items)
        return performance, performed, service, dict(source.counters)
