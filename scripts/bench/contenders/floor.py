"""Contender `floor`: the cost of `grpc.aio` alone for a relay that sends each device its own messages.

Its messages are as many and as large as ours, but it only copies bytes: no protobuf, no inspection of payloads, no sequence numbers,
credit or reports. A publisher's message contains pieces, each with its session and size; a piece contains payloads, each preceded by
its size. The server splits messages into pieces and forwards each as one message; pieces queued for a device are joined, up to 64 KB.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from scripts.bench.contenders.grpc_server import close, serve
from scripts.bench.contenders.relay_device import open_channel
from scripts.bench.contenders.waiting import Queue
from scripts.bench.contract import MAX_JOINED_BYTES, Received, interleaved
from tests.lab.stamp import now_us

SERVICE, ATTACH, PUBLISH = "bench.Floor", "Attach", "Publish"
SESSION, PIECE, PAYLOAD = struct.Struct("<H"), struct.Struct("<HI"), struct.Struct("<I")
"""A device's first message (session); the header of a piece (session, size); the header of a payload (size)."""


class Relay:
    """Splits and forwards messages. One device per session."""

    def __init__(self) -> None:
        self._devices: dict[int, Queue] = {}

    async def attach(self, _unused: object, context: Any) -> None:
        """One device, and its writer."""
        (session,) = SESSION.unpack(await context.read())
        device = self._devices[session] = Queue()
        await context.write(b"")
        while True:
            while device.waiting:
                await context.write(device.take())
            device.filled.clear()
            await device.filled.wait()

    async def publish(self, _unused: object, context: Any) -> None:
        """The publisher of all sessions."""
        while (message := await context.read()) is not grpc.aio.EOF:
            end = 0
            while end < len(message):
                session, size = PIECE.unpack_from(message, end)
                end += PIECE.size + size
                device = self._devices[session]
                device.waiting.append(message[end - size : end])
                device.filled.set()
                await device.until_room()


class Clients:
    """See `contract.Clients`. One publisher carries all sessions; queued payloads are joined, as in ours."""

    tick_us = 0

    def __init__(self, address: str, received: Received) -> None:
        self._address = address
        self._received = received
        self._channels: list[Any] = []
        self._sessions: dict[int, Queue] = {}
        self._work = asyncio.Event()
        self._tasks = [asyncio.create_task(self._write(self._open(PUBLISH)))]

    def _open(self, method: str) -> Any:
        channel = open_channel(self._address)
        self._channels.append(channel)
        return channel.stream_stream(f"/{SERVICE}/{method}")()

    async def attach(self, session: int, device: int) -> None:
        """See `contract.Clients`."""
        del device
        call = self._open(ATTACH)
        await call.write(SESSION.pack(session))
        await call.read()
        self._sessions[session] = Queue()
        self._tasks.append(asyncio.create_task(self._read(call)))

    async def _read(self, call: Any) -> None:
        while (message := await call.read()) is not grpc.aio.EOF:
            end = 0
            while end < len(message):
                (size,) = PAYLOAD.unpack_from(message, end)
                end += PAYLOAD.size + size
                self._received(message[end - size : end])

    async def publish(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> None:
        """See `contract.Clients`."""
        queue = self._sessions[session]
        queue.waiting.extend([PAYLOAD.pack(len(payload)) + payload for payload in interleaved(audio, motion)])
        self._work.set()
        await queue.until_room()

    async def _write(self, call: Any) -> None:
        while True:
            await self._work.wait()
            if self.tick_us:
                await asyncio.sleep((self.tick_us - now_us() % self.tick_us) / 1e6)
            self._work.clear()
            while message := self._gather():
                await call.write(message)

    def _gather(self) -> bytes:
        """Join the queued payloads of all sessions up to 64 KB or slightly more, as ours does."""
        parts: list[bytes] = []
        size = 0
        for session, queue in self._sessions.items():
            while queue.waiting and size < MAX_JOINED_BYTES:
                piece = queue.take()
                parts += (PIECE.pack(session, len(piece)), piece)
                size += len(piece)
        return b"".join(parts)

    async def close(self) -> None:
        """See `contract.Clients`."""
        await close(self._tasks, self._channels)


class TickingClients(Clients):
    """The publisher waits for a tick, as ours does if configured."""

    tick_us = 10_000


def register(server: Any) -> None:
    """Register both methods, with bytes in and out."""
    relay = Relay()
    methods = ((ATTACH, relay.attach), (PUBLISH, relay.publish))
    handlers: dict[str, Any] = {name: grpc.stream_stream_rpc_method_handler(behaviour) for name, behaviour in methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


if __name__ == "__main__":
    asyncio.run(serve(register))
