"""Common base of the WebSocket contenders' clients: connections, reading, and closing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

import websockets.asyncio.client as client
from websockets.exceptions import ConnectionClosed

from scripts.bench.contract import Received


class SocketClients:
    """See `contract.Clients`. Each device and each publisher has its own connection."""

    def __init__(self, address: str, received: Received) -> None:
        self._address = address
        self._received = received
        self._publishers: dict[str, client.ClientConnection] = {}
        self._devices: list[client.ClientConnection] = []
        self._tasks: list[asyncio.Task[None]] = []

    def publisher_path(self, session: int) -> str:
        """Path on which a session is published; there is one publisher per path."""
        return f"publish/{session}"

    def messages(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> Iterable[bytes]:
        """Messages that a publisher sends for payloads published together."""
        raise NotImplementedError

    def payloads(self, message: str | bytes) -> Iterable[bytes]:
        """Payloads in a device's message."""
        raise NotImplementedError

    async def attach(self, session: int, device: int) -> None:
        """See `contract.Clients`."""
        del device
        peer = await self._connect(f"attach/{session}")
        await peer.recv()
        self._devices.append(peer)
        self._tasks.append(asyncio.create_task(self._read(peer)))

    async def publish(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> None:
        """See `contract.Clients`."""
        path = self.publisher_path(session)
        peer = self._publishers.get(path)
        if peer is None:
            peer = self._publishers[path] = await self._connect(path)
        for message in self.messages(session, audio, motion):
            await peer.send(message)

    async def close(self) -> None:
        """See `contract.Clients`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in (*self._publishers.values(), *self._devices):
            await peer.close()

    async def _connect(self, path: str) -> client.ClientConnection:
        return await client.connect(f"ws://{self._address}/{path}", compression=None, max_size=None)

    async def _read(self, peer: client.ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in peer:
                for payload in self.payloads(message):
                    self._received(payload)
