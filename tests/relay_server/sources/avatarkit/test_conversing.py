"""A conversation whose own tasks fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from avatar_relay.media import AudioFormat, Codec
from relay_server.sources.avatarkit.pool import Pool
from relay_server.sources.avatarkit.sdk_conversation import Conversing
from relay_server.sources.source import SourceError
from relay_server.sources.source_trace import SourceTracing


class BrokenPool:
    """A pool with a bug."""

    name = "broken"

    def now_us(self) -> int:
        """Return a stopped clock's time."""
        return 0

    async def lease(self, *_: Any) -> Any:
        """Raise the bug."""
        raise ZeroDivisionError


async def minutes() -> AsyncIterator[bytes]:
    """Yield more sound than may wait for motion."""
    for _ in range(200):
        yield bytes(2 * 16_000)


async def test_bug_in_the_motion_task_is_told_and_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    items = Conversing(minutes(), AudioFormat(Codec.PCM_S16LE, 16_000), cast(Pool, BrokenPool()), "lobby", SourceTracing().begin("broken"))
    with pytest.raises(SourceError, match="ZeroDivisionError"):
        async with asyncio.timeout(10):
            async for _ in items:
                pass
    assert [record.message for record in caplog.records] == ["broken: a conversation on lobby broke off"]
