"""Contender `vendor`: a reimplementation of the architecture of AvatarKit's integration demo (backend mode).

FastAPI on uvicorn with its `standard` extra; each payload is a JSON text with base64 in it; sound goes straight to the client, motion
over a queue of 256 between the SDK's callback and the sender; one lock around every send. Payloads come in as bytes with their
kind before them, as the SDK hands them over within the demo's process. Unlike the demo, nothing is deflated, and a full queue
makes the publisher wait instead of losing a frame.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from scripts.bench.contenders.sockets import SocketClients
from scripts.bench.contract import QUEUE_PAYLOADS, interleaved, listening, port_file

AUDIO, MOTION = b"a", b"m"


class Session:
    """A client's socket, its lock and its queue."""

    def __init__(self, socket: WebSocket) -> None:
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_PAYLOADS)
        self._socket = socket
        self._lock = asyncio.Lock()

    async def send(self, message: dict[str, object]) -> None:
        """Send a message, under the lock."""
        async with self._lock:
            await self._socket.send_text(json.dumps(message, ensure_ascii=False))

    async def take(self, record: bytes) -> None:
        """Process a record: the kind, followed by a payload."""
        if record[:1] == AUDIO:
            await self.send({"type": "avatar_audio", "audio": base64.b64encode(record[1:]).decode("ascii"), "isLast": False})
        else:
            await self._frames.put(record[1:])

    async def pump(self) -> None:
        """Send queued messages to the socket."""
        while True:
            frame = await self._frames.get()
            await self.send({"type": "avatar_frames", "frames": [base64.b64encode(frame).decode("ascii")], "isLast": False})


def build_app() -> FastAPI:
    """The relay."""
    app = FastAPI()
    rooms: dict[int, set[Session]] = defaultdict(set)

    @app.websocket("/attach/{room}")
    async def attach(socket: WebSocket, room: int) -> None:
        await socket.accept()
        session = Session(socket)
        rooms[room].add(session)
        await session.send({"type": "ready"})
        with suppress(WebSocketDisconnect):
            await session.pump()
        rooms[room].discard(session)

    @app.websocket("/publish/{room}")
    async def publish(socket: WebSocket, room: int) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                record = await socket.receive_bytes()
                for session in rooms[room]:
                    await session.take(record)

    return app


class Clients(SocketClients):
    """See `contract.Clients`."""

    def messages(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> Iterable[bytes]:
        """One message per payload, preceded by its kind."""
        del session
        return interleaved([AUDIO + payload for payload in audio], [MOTION + payload for payload in motion])

    def payloads(self, message: str | bytes) -> Iterable[bytes]:
        """The payload in the message."""
        told = json.loads(message)
        return [base64.b64decode(told["audio"] if told["type"] == "avatar_audio" else told["frames"][0])]


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
    with asyncio.Runner(loop_factory=uvicorn.Config(build_app()).get_loop_factory()) as runner:
        runner.run(serve())
