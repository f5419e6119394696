"""A conversation whose motion is not consumed fails at its bound, with a reason, and no other one fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from avatar_relay.avatarkit import count_keyframes
from avatar_relay.reasons import Reason
from relay_server.sources.avatarkit import performance_buffer as outbox
from relay_server.sources.source import AudioChunk, AudioSpeech, Item, MotionChunk, MotionLost
from tests.relay_server.sources.avatarkit.motion_server import MotionServer
from tests.relay_server.sources.avatarkit.rig import PCM_16K, Rig, chunked, rig, sound

SECONDS = 9.0
KEYFRAMES = 225


async def begin(house: Rig, device: str) -> AsyncIterator[Item]:
    """Return the items of a conversation on a device; its first sound has been read."""
    performance = await house.source(device).perform(AudioSpeech(PCM_16K, chunked(sound(SECONDS))))
    assert isinstance(await anext(performance.items), AudioChunk)
    return performance.items


async def rest(items: AsyncIterator[Item]) -> tuple[int, int, list[Reason]]:
    """Return the bytes of sound, the keyframes, and the reasons for lost motion."""
    told = [item async for item in items]
    audio = sum(len(item.data) for item in told if isinstance(item, AudioChunk))
    keyframes = sum(count_keyframes(item.data) for item in told if isinstance(item, MotionChunk))
    return audio, keyframes, [item.fault.reason for item in told if isinstance(item, MotionLost)]


async def test_a_full_conversation_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its sound and the motion received so far; the other one is complete."""
    monkeypatch.setattr(outbox, "MAX_AUDIO_BYTES", 1 << 20)  # so that sound does not hold it back before
    monkeypatch.setattr(outbox, "MAX_MOTION_BYTES", 60_000)  # one window of four seconds, or one of two
    server = MotionServer()
    async with rig("spatius", server, max_sessions=2) as house:
        unread, other = await begin(house, "lobby"), await begin(house, "hall")
        audio, keyframes, lost = await rest(other)
        assert (keyframes, lost) == (KEYFRAMES, [])
        async with asyncio.timeout(10):
            while Reason.LIMIT_REACHED not in house.watched.failures:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await rest(unread) == (audio, 50, [Reason.LIMIT_REACHED])
        assert house.watched.failures == [Reason.LIMIT_REACHED]
