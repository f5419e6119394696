"""Speech that a backend sends piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.source import AudioChunk, AudioSpeech, SourceError
from tests.lab.services.audio2face import NAMES, Audio2FaceService
from tests.relay_server.sources.audio2face.speakers import HELLO, RATE_HZ, SPEECH, Speaker, against
from tests.relay_server.sources.performances import assert_motion_is_in_time, read_all


async def test_speech_that_breaks_off() -> None:
    """Spoken sound has its motion; then the reason is the speaker's, not the service's."""
    error = SourceError(Fault(Reason.SPEECH_FILE_INVALID, "damaged"))
    service = Audio2FaceService()
    items = []
    async with against(service, Speaker(SPEECH, error=error)) as source:
        with pytest.raises(SourceError, match="damaged"):
            async for item in (await source.perform(HELLO)).items:
                items += [item]
    assert b"".join(item.data for item in items if isinstance(item, AudioChunk)) == SPEECH
    assert len(service.calls[0].rows) == 75


async def test_speech_of_a_backend() -> None:
    """A backend's own sound, cut at any byte, even within a sample."""
    service = Audio2FaceService()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(SPEECH), 4_567):
            await asyncio.sleep(0)
            yield SPEECH[start : start + 4_567]

    async with against(service, Speaker(b"")) as source:
        performed = await assert_motion_is_in_time(await source.perform(AudioSpeech(AudioFormat(Codec.PCM_S16LE, RATE_HZ), chunks())))
    assert performed.audio == SPEECH
    np.testing.assert_array_equal(performed.rows(len(NAMES)), service.calls[0].rows)


async def test_speech_that_comes_slowly() -> None:
    """The service is silent while it has no input; that is not a fault."""
    service = Audio2FaceService()

    async def chunks() -> AsyncIterator[bytes]:
        yield SPEECH[:32_000]
        await asyncio.sleep(0.6)
        yield SPEECH[32_000:]

    async with against(service, Speaker(b""), timeout_s=0.3) as source:
        performed = await read_all(await source.perform(AudioSpeech(AudioFormat(Codec.PCM_S16LE, RATE_HZ), chunks())))
    assert not performed.losses
    assert performed.audio == SPEECH


async def test_encoded_speech_is_refused() -> None:
    """The service accepts PCM only."""

    async def nothing() -> AsyncIterator[bytes]:
        for _ in ():
            yield b""

    async with against(Audio2FaceService(), Speaker(b"")) as source:
        with pytest.raises(SourceError) as caught:
            await source.perform(AudioSpeech(AudioFormat(Codec.OGG_OPUS), nothing()))
    assert caught.value.fault.reason is Reason.AUDIO_FORMAT_UNSUPPORTED
