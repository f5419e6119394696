"""Contender `vendor`: the shape of AvatarKit's integration demo (backend mode), written anew.

FastAPI on uvicorn; each payload is a JSON text with base64 in it; a queue of 256 between the SDK's callback and the
sender; one lock around every send to a client. Payloads come in as bytes, as the SDK hands them over.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress

import uvicorn
import websockets.asyncio.client as client
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed

from scripts.bench.contract import QUEUE_PAYLOADS, Received, interleaved, listening, port_file


class Session:
    """A client's socket, its lock and its queue."""

    def __init__(self, socket: WebSocket) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_PAYLOADS)
        self._socket = socket
        self._lock = asyncio.Lock()

    async def send(self, message: dict[str, object]) -> None:
        """The one way out."""
        async with self._lock:
            await self._socket.send_text(json.dumps(message))

    async def pump(self) -> None:
        """Queue to socket."""
        number = 0
        while True:
            payload = await self.queue.get()
            number += 1
            await self.send({"type": "frame", "seq": number, "data": base64.b64encode(payload).decode("ascii")})


def build_app() -> FastAPI:
    """The relay."""
    app = FastAPI()
    rooms: dict[int, set[Session]] = defaultdict(set)

    @app.websocket("/attach/{room}")
    async def attach(socket: WebSocket, room: int) -> None:
        await socket.accept()
        session = Session(socket)
        rooms[room].add(session)
        await session.send({"type": "welcome"})
        with suppress(WebSocketDisconnect):
            await session.pump()
        rooms[room].discard(session)

    @app.websocket("/publish/{room}")
    async def publish(socket: WebSocket, room: int) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                payload = await socket.receive_bytes()
                for session in rooms[room]:
                    await session.queue.put(payload)  # the demo's put_nowait would lose what does not fit

    return app


class Clients:
    """See `contract.Clients`."""

    def __init__(self, address: str, received: Received) -> None:
        self._address = address
        self._received = received
        self._publishers: dict[int, client.ClientConnection] = {}
        self._devices: list[client.ClientConnection] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def _connect(self, path: str) -> client.ClientConnection:
        return await client.connect(f"ws://{self._address}/{path}", compression=None, max_size=None)

    async def attach(self, session: int, device: int) -> None:
        """See `contract.Clients`."""
        del device
        peer = await self._connect(f"attach/{session}")
        await peer.recv()
        self._devices.append(peer)
        self._tasks.append(asyncio.create_task(self._read(peer)))

    async def _read(self, peer: client.ClientConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in peer:
                self._received(base64.b64decode(json.loads(message)["data"]))

    async def publish(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> None:
        """See `contract.Clients`."""
        peer = self._publishers.get(session)
        if peer is None:
            peer = self._publishers[session] = await self._connect(f"publish/{session}")
        for payload in interleaved(audio, motion):
            await peer.send(payload)

    async def close(self) -> None:
        """See `contract.Clients`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in (*self._publishers.values(), *self._devices):
            await peer.close()


async def serve() -> None:
    """Serve until killed."""
    path = port_file()
    config = uvicorn.Config(build_app(), host="127.0.0.1", port=0, log_level="error", ws_per_message_deflate=False, ws_max_size=8 << 20)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn offers no event
        await asyncio.sleep(0.01)
    listening(path, server.servers[0].sockets[0].getsockname()[1])
    await serving


if __name__ == "__main__":
    asyncio.run(serve())
