"""How a stream is carried, with a peer made by hand."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc.aio
import pytest

from avatar_relay.reasons import Fault
from relay_server.service.errors import Context
from relay_server.service.streams import carry


class FakeContext:
    """A peer whose next message is what `reading` is given."""

    def __init__(self) -> None:
        self.reading = asyncio.get_running_loop().create_future()
        self.reads = 0

    async def read(self) -> Any:
        """The next message."""
        self.reads += 1
        return await self.reading


class FakePort:
    """The relay's side, which never says anything."""

    fault: Fault | None = None

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def receive(self) -> Any:
        """Nothing, ever."""
        await asyncio.get_running_loop().create_future()

    def end(self, fault: Fault | None = None) -> None:
        """Noted."""
        self.heard.append(f"end {fault}")

    def close(self) -> None:
        """Noted."""
        self.heard.append("close")


async def test_read_under_way_is_left_to_end_with_its_stream() -> None:
    context, port, taken = FakeContext(), FakePort(), list[bytes]()

    async def take(data: bytes) -> None:
        taken.append(data)

    def say(word: str) -> None:
        port.heard.append(word)

    handler = asyncio.create_task(
        carry(cast(Context, context), port, take=take, encode=bytes, said_all=lambda: say("said all"), failed=lambda fault: say(str(fault)))
    )
    while not context.reads:  # noqa: ASYNC110 - the reader tells nobody
        await asyncio.sleep(0)
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler
    assert not context.reading.cancelled()
    (reader,) = asyncio.all_tasks() - {asyncio.current_task()}
    context.reading.set_result(grpc.aio.EOF)
    await reader
    assert (context.reads, taken, port.heard) == (1, [], ["close"])
