"""A relay that follows a script, a player that records, and a device link between them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from grpc_status import rpc_status  # type: ignore[import-untyped]

from avatar_relay import messages as m
from avatar_relay.backoff import BackoffPolicy
from avatar_relay.device_state import DeviceSettings
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Credit, Cursor
from avatar_relay.reasons import Fault
from avatar_relay.v1 import device_service_pb2_grpc as stubs
from avatar_relay.wire import attach_request_from_wire, attach_response_to_wire, fault_to_status
from edge_client.link.attach_call import Endpoint
from edge_client.link.device_link import DeviceLink, DeviceProfile, LinkClocks
from edge_client.link.retry import StreamEnd

LIMITS = m.Limits(1 << 21, 1 << 22, 1 << 14, 30_000, 1_000)
OPEN = ConversationOpen("c-1", AudioFormat(Codec.PCM_S16LE, 16_000))
FINISHED = m.Finished(20_000, False, "completed")
AHEAD_US, UNIX_US = 7_000_000, 1_000_000_000
"""The relay's monotonic and wall clock, relative to ours."""
CLOCKS = LinkClocks(lambda: time.monotonic_ns() // 1_000, lambda: time.time_ns() // 1_000)


class Stream:
    """The relay's side of one attach stream."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.heard: list[m.ToRelayFromDevice] = []

    async def hear(self) -> m.ToRelayFromDevice | None:
        """The next message other than a ping (pings are answered); None at the end of the stream."""
        while (request := await self.context.read()) is not grpc.aio.EOF:
            message = attach_request_from_wire(request)
            assert message is not None
            self.heard.append(message)
            if not isinstance(message, m.Ping):
                return message
            now_us = CLOCKS.monotonic_us()
            await self.say(m.Pong(message.ping_id, message.sent_time_us, now_us + AHEAD_US, now_us + AHEAD_US, now_us + UNIX_US))
        return None

    async def say(self, message: m.ToDevice) -> None:
        await self.context.write(attach_response_to_wire(message))

    async def welcome(self, token: str = "token-1", limits: m.Limits = LIMITS, *, takes_joined: bool = False) -> m.Hello:
        hello = await self.hear()
        assert isinstance(hello, m.Hello)
        now_us = CLOCKS.monotonic_us()
        await self.say(m.Welcome(token, limits, now_us + AHEAD_US, now_us + UNIX_US, takes_joined=takes_joined))
        return hello

    async def refuse(self, fault: Fault) -> None:
        await self.context.abort_with_status(rpc_status.to_status(fault_to_status(fault)))


Script = Callable[[Stream], Awaitable[None]]


class Relay(stubs.DeviceServiceServicer):
    """Follows one script for each stream, the last one for all later streams."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.streams: list[Stream] = []

    async def Attach(self, request_iterator: Any, context: Any) -> None:
        stream = Stream(context)
        self.streams.append(stream)
        await self.scripts[min(len(self.streams), len(self.scripts)) - 1](stream)


class Player:
    """Accepts everything, and has a fixed capacity."""

    settings: DeviceSettings | None = None

    def __init__(self) -> None:
        self.handled: list[m.ToDevice] = []
        self.held: tuple[Cursor, ...] = (Cursor("c-0", 7, 3),)

    def handle(self, message: m.ToDevice, now_us: int) -> None:
        self.handled.append(message)
        if isinstance(message, ConversationOpen):
            self.held = (Cursor(message.conversation_id),)

    def buffer_credit(self) -> Credit:
        return Credit(1_000_000, 500_000)

    def cursors(self) -> tuple[Cursor, ...]:
        return self.held

    volume = m.Volume(0.5, True, 3)


@contextlib.asynccontextmanager
async def serving(relay: Relay, port: int = 0) -> AsyncIterator[tuple[grpc.aio.Server, int]]:
    """A real server on loopback."""
    server = grpc.aio.server()
    stubs.add_DeviceServiceServicer_to_server(relay, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop(None)


class Running:
    """A running link and its player."""

    def __init__(self, port: int) -> None:
        self.player = Player()
        self.stop = asyncio.Event()
        self.link = DeviceLink(
            endpoint=Endpoint(f"127.0.0.1:{port}"),
            profile=DeviceProfile("kitchen", "edge-client test", 48_000),
            player=self.player,
            clocks=CLOCKS,
            uniform=lambda: 0.5,
            policy=BackoffPolicy(0.02, 0.2),
        )
        self.task = asyncio.create_task(self.link.run(self.stop))

    async def leave(self) -> StreamEnd:
        self.stop.set()
        return await self.task


@contextlib.asynccontextmanager
async def attached(*scripts: Script) -> AsyncIterator[tuple[Relay, Running]]:
    """A relay with its scripts and a link to it, which is stopped at the end."""
    relay = Relay(*scripts)
    async with serving(relay) as (_, port):
        running = Running(port)
        try:
            yield relay, running
        finally:
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another object's hands
            await asyncio.sleep(0.005)


async def stay(stream: Stream) -> None:
    """Send `welcome`, acknowledge events, and stay to the end."""
    await stream.welcome()
    while (message := await stream.hear()) is not None:
        if isinstance(message, m.PlayerEvent):
            await stream.say(m.EventAck(message.event_id))


async def stay_on(stream: Stream) -> None:
    while await stream.hear() is not None:
        pass
