"""The log notifies a caller that waits for `finished` without having sent the end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from avatar_relay.messages import ConversationEnd
from avatar_relay.publisher import end_hint
from tests.avatar_relay.publisher.fakes import PCM_16K, FakeRelay, completed

PCM_100MS = bytes(3_200)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The hint comes after 50 ms."""
    monkeypatch.setattr(end_hint, "HINT_AFTER_S", 0.05)
    caplog.set_level(logging.WARNING, logger=end_hint.__name__)


def hints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the logged hints."""
    return [record.getMessage() for record in caplog.records if record.name == end_hint.__name__]


async def wait_in_vain(*waiting: asyncio.Task[object], seconds: float = 0.3) -> None:
    """Wait for `finished`, and give up after a while."""
    await asyncio.wait(waiting, timeout=seconds)
    for task in waiting:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_one_hint_names_the_conversation_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """Once, although two callers wait for a long time."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        await wait_in_vain(*[asyncio.create_task(avatar.finished(conversation_id)) for _ in range(2)])
    (hint,) = hints(caplog)
    assert conversation_id in hint
    assert "end=True" in hint


async def test_none_while_sound_comes_or_once_the_end_was_said(caplog: pytest.LogCaptureFixture) -> None:
    """Waiting from the first sound on is correct, and so is waiting for a slow device."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        waiting = asyncio.create_task(avatar.finished(conversation_id))
        for _ in range(10):
            await avatar.yield_audio_data(PCM_100MS)
            await asyncio.sleep(0.02)
        await avatar.yield_audio_data(b"", end=True)
        await relay.link.until_said(ConversationEnd)
        await asyncio.sleep(0.15)
        relay.link.tell(completed(conversation_id))
        await waiting
    assert hints(caplog) == []
