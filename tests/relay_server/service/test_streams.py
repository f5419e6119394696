"""How a stream is carried, with a peer made by hand."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc.aio
import pytest

from avatar_relay import wire
from avatar_relay.reasons import Fault
from avatar_relay.v1 import device_service_pb2 as device_pb
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.ports import Port
from relay_server.connections.relay import Relay
from relay_server.rpc_errors import Context
from relay_server.service.device import DeviceService
from relay_server.service.streams import carry
from relay_server.service.write_watch import WriteWatch
from tests.relay_server.service.wired import hello


class FakeContext:
    """A peer that said something; its next message is what `reading` is given."""

    def __init__(self, *said: bytes) -> None:
        self.said = list(said)
        self.reading = asyncio.get_running_loop().create_future()
        self.reads = 0

    async def read(self) -> Any:
        """The next message."""
        self.reads += 1
        return self.said.pop(0) if self.said else await self.reading


class FakePort(Port[Any]):
    """The relay's side, which never says anything."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def next(self) -> None:
        """Nothing, ever."""

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
        carry(
            cast(Context, context),
            port,
            WriteWatch(),
            take=take,
            encode=bytes,
            said_all=lambda: say("said all"),
            failed=lambda fault: say(str(fault)),
        )
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


async def test_device_that_is_gone_as_it_comes_takes_nothing_over() -> None:
    context = FakeContext(device_pb.AttachRequest(hello=hello()).SerializeToString())
    relay = Relay(RelayConfig(), Clocks(lambda: 1, lambda: 1), random_bytes=bytes, encode=wire.encode_payload)
    handler = asyncio.create_task(DeviceService(relay).attach(cast(Context, context)))
    while not context.reads:  # noqa: ASYNC110 - the reader tells nobody
        await asyncio.sleep(0)
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
    assert (context.reads, relay.sessions()) == (1, ())
