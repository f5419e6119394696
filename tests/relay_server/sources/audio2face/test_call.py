"""A service call whose own tasks fail."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import grpc
import pytest

from avatar_relay.reasons import Reason
from relay_server.sources.audio2face.call import ServiceCall
from relay_server.sources.audio2face.faults import ServiceError
from relay_server.sources.audio2face.settings import Audio2FaceSettings
from relay_server.sources.audio2face.sound import ClipSound


class BrokenCall:
    """A call that cannot be written to and never answers."""

    def __init__(self) -> None:
        self.answer = asyncio.get_running_loop().create_future()

    def add_done_callback(self, callback: Any) -> None:
        """Do nothing: the call never completes by itself."""

    async def write(self, data: bytes) -> None:
        """Raise the bug."""
        raise ZeroDivisionError

    async def read(self) -> Any:
        """Wait until cancelled."""
        return await self.answer

    def cancel(self) -> None:
        """Behave as in grpc.aio."""
        self.answer.cancel()


class BrokenChannel:
    """Returns broken calls."""

    def stream_stream(self, _method: str) -> Any:
        """Return a method that makes a broken call."""
        return lambda metadata: BrokenCall()


async def test_bug_while_sending_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    settings = Audio2FaceSettings(target="127.0.0.1:1", timeout_s=10.0)
    call = ServiceCall(cast(grpc.aio.Channel, BrokenChannel()), settings, ClipSound(16_000, 32_000), (), Counter())
    with pytest.raises(ServiceError) as caught:
        async with asyncio.timeout(5):
            await call.header()
    assert caught.value.fault.reason is Reason.SOURCE_FAILED
    assert [record.message for record in caplog.records] == ["sending speech to Audio2Face-3D failed"]
    await call.close()
