"""How a stream is carried, with a hand-made peer."""

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
    """A peer that has sent a message; its next message is the result of `reading`. Writes complete as the `answers` resolve."""

    def __init__(self, *said: bytes) -> None:
        self.said = list(said)
        self.reading = asyncio.get_running_loop().create_future()
        self.reads = 0
        self.written: list[bytes] = []
        self.answers: list[asyncio.Future[None]] = []

    async def read(self) -> Any:
        """Return the next message."""
        self.reads += 1
        return self.said.pop(0) if self.said else await self.reading

    async def write(self, data: bytes) -> None:
        """Send; completes with the next of the `answers`."""
        self.written.append(data)
        self.answers.append(asyncio.get_running_loop().create_future())
        await self.answers[-1]


class FakePort(Port[Any]):
    """The relay's side: the messages to send, and those received."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self.says: list[bytes] = []

    def say(self, *messages: bytes) -> None:
        """Queue messages and wake the sender."""
        self.says += messages
        self.wake()

    def next(self) -> bytes | None:
        """Return the next queued message."""
        return self.says.pop(0) if self.says else None

    def end(self, fault: Fault | None = None) -> None:
        """Record the call."""
        self.heard.append(f"end {fault}")
        super().end(fault)

    def close(self) -> None:
        """Record the call."""
        self.heard.append("close")


def carried(context: FakeContext, port: FakePort) -> asyncio.Task[None]:
    """Carry a stream between the two."""

    async def take(data: bytes) -> None:
        raise AssertionError(data)

    return asyncio.create_task(
        carry(
            cast(Context, context),
            port,
            WriteWatch(),
            take=take,
            encode=bytes,
            said_all=lambda: None,
            failed=lambda fault: port.heard.append(fault.text),
        )
    )


async def test_a_write_begins_within_the_call_that_wakes_the_port() -> None:
    """No turn of the event loop is spent on it; later messages wait for the peer."""
    context, port = FakeContext(), FakePort()
    handler = carried(context, port)
    await asyncio.sleep(0)
    port.say(b"one")
    assert context.written == [b"one"]
    port.say(b"two", b"three")
    assert context.written == [b"one"]
    for answer in range(2):
        context.answers[answer].set_result(None)
        await asyncio.sleep(0)
    assert context.written == [b"one", b"two", b"three"]
    port.end()
    assert not handler.done()
    context.answers[2].set_result(None)
    await handler


async def test_what_waited_before_the_stream_is_written() -> None:
    """A stream that is ended still sends its queued messages."""
    context, port = FakeContext(), FakePort()
    port.say(b"one")
    port.end()
    handler = carried(context, port)
    await asyncio.sleep(0)
    context.answers[0].set_result(None)
    await handler
    assert context.written == [b"one"]


async def test_a_write_that_fails_ends_its_own_stream_only() -> None:
    """The waker of the port, mostly another stream's reader, is not affected."""
    context, port = FakeContext(), FakePort()
    handler = carried(context, port)
    await asyncio.sleep(0)
    port.say(b"one", b"two")
    context.answers[0].set_exception(RuntimeError("the stream broke"))
    with pytest.raises(RuntimeError, match="the stream broke"):
        await handler
    port.wake()
    assert (context.written, port.heard) == ([b"one"], ["close"])


async def test_message_that_cannot_be_encoded_ends_its_own_stream_only() -> None:
    context, port = FakeContext(), FakePort()
    handler = carried(context, port)
    await asyncio.sleep(0)
    port.say(cast(bytes, -1))
    with pytest.raises(ValueError, match="negative count"):
        await handler


async def test_write_under_way_is_left_to_end_with_its_stream() -> None:
    """gRPC completes a write of an ended stream later, perhaps with an error, which is then ignored."""
    context, port = FakeContext(), FakePort()
    handler = carried(context, port)
    await asyncio.sleep(0)
    port.say(b"one", b"two")
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler
    assert not context.answers[0].cancelled()
    context.answers[0].set_exception(RuntimeError("the stream is gone"))
    await asyncio.sleep(0)
    assert context.written == [b"one"]


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
