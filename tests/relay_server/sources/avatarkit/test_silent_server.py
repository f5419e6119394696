"""A Motion Server that accepts and never answers, in real time: the sound ends on time, and the next conversation follows directly."""

from __future__ import annotations

import asyncio

import pytest

from avatar_relay.media import OnPlaying
from avatar_relay.reasons import Reason
from relay_server.sources.source import AudioChunk, AudioEnded, AudioSpeech, MotionChunk, MotionLost
from tests.relay_server.sources.avatarkit.motion_server import Mode, MotionServer
from tests.relay_server.sources.avatarkit.rig import PCM_16K, chunked, rig, sound

SECONDS = 2.34
LATE_US = 300_000


SLOW = [pytest.param(mode, marks=pytest.mark.slow) for mode in (Mode.NO_CONFIRM, Mode.STOPS)]


@pytest.mark.parametrize("mode", [Mode.NOTHING, *SLOW], ids=lambda mode: mode.name)
async def test_sound_ends_with_its_last_sample(mode: Mode) -> None:
    """Reported once, with a reason; a queued conversation begins at once."""
    async with rig("spatius", MotionServer(mode, stop_after=1), speed=1, max_sessions=1) as house:
        first = await house.begin(sound(SECONDS))
        finishing = asyncio.create_task(first.finish())
        await house.device.until(house.device.now_us + 200_000)
        second = await house.begin(sound(0.5), OnPlaying.QUEUE)
        following = asyncio.create_task(second.finish())
        seen = await house.until_finished(first.conversation_id)
        follower = await house.until_finished(second.conversation_id)
        await asyncio.gather(finishing, following)
        assert [finished.reason for finished in seen.finished] == ["completed"]
        assert abs(seen.finished[0].position_us - SECONDS * 1e6) <= 20_000
        late_us = seen.finished_us - seen.started_us - round(SECONDS * 1e6)
        gap_us = follower.started_us - seen.started_us - round(SECONDS * 1e6)
        assert late_us <= LATE_US
        assert abs(gap_us) <= 20_000
        assert house.reports[first.conversation_id].reason is Reason.SOURCE_SILENT


async def test_items_end_soon_after_the_sound() -> None:
    """Holds also for a reader that does not know when the sound is audible."""
    async with rig("spatius", MotionServer(Mode.NOTHING), speed=1) as house:
        performance = await house.source().perform(AudioSpeech(PCM_16K, chunked(sound(0.3))))
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        items = [item async for item in performance.items]
        assert 0.3 <= loop.time() - began_s <= 2.3
    *sounds, ended, lost = items
    assert all(isinstance(item, AudioChunk) for item in sounds)
    assert isinstance(ended, AudioEnded)
    assert isinstance(lost, MotionLost)
    assert lost.fault.reason is Reason.SOURCE_SILENT
    assert not any(isinstance(item, MotionChunk) for item in items)
