"""Contender `websockets`: a binary relay on the `websockets` library; `joining` carries many payloads in a message, as our relay does.

A record is a payload with what any relay of media must know: session, kind, sequence, PTS and size. The plain relay passes each
message of a session's own connection on as it came, without looking into it. The joining one has a single publisher
for all sessions, as ours has: it splits each message into its records, queues each for the devices of the session that it
names, and joins its queue.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

import websockets.asyncio.server as server

from scripts.bench.contenders.sockets import SocketClients
from scripts.bench.contenders.waiting import Queue, join
from scripts.bench.contract import Received, interleaved, listening, port_file

RECORD = struct.Struct("<IBIQI")
"""session, kind, seq, pts_us, size."""


def split(message: bytes) -> Iterable[tuple[int, bytes]]:
    """Sessions and records of a joined message."""
    start = 0
    while start < len(message):
        session, _, _, _, size = RECORD.unpack_from(message, start)
        end = start + RECORD.size + size
        yield session, message[start:end]
        start = end


class PlainRelay:
    """Forwards each message to all devices of the room, one after another."""

    def __init__(self) -> None:
        self._rooms: dict[str, set[server.ServerConnection]] = defaultdict(set)

    async def serve(self, peer: server.ServerConnection) -> None:
        """One connection: /attach/SESSION or /publish/SESSION."""
        assert peer.request is not None
        _, verb, name = peer.request.path.split("/")
        room = self._rooms[name]
        if verb == "attach":
            room.add(peer)
            await peer.send("welcome")
            await peer.wait_closed()
            room.discard(peer)
            return
        async for message in peer:
            for device in room:
                await device.send(message)


class JoiningRelay:
    """Reads records, queues them for each device, and sends queued records in one message."""

    def __init__(self) -> None:
        self._rooms: dict[int, set[Queue]] = defaultdict(set)

    async def serve(self, peer: server.ServerConnection) -> None:
        """One connection: /attach/SESSION, or /publish."""
        assert peer.request is not None
        _, verb, *names = peer.request.path.split("/")
        if verb == "attach":
            device, room = Queue(), self._rooms[int(names[0])]
            room.add(device)
            try:
                await peer.send("welcome")
                await self._write(peer, device)
            finally:
                room.discard(device)
            return
        async for message in peer:
            assert isinstance(message, bytes)
            for device in self._queue(message):
                await device.until_room()

    def _queue(self, message: bytes) -> set[Queue]:
        """Queue the records of a message; returns the queues that now have data."""
        filled = set()
        for session, record in split(message):
            for device in self._rooms[session]:
                device.waiting.append(record)
                filled.add(device)
        for device in filled:
            device.filled.set()
        return filled

    async def _write(self, peer: server.ServerConnection, device: Queue) -> None:
        while True:
            while device.waiting:
                await peer.send(device.take())
            device.filled.clear()
            await device.filled.wait()


class Clients(SocketClients):
    """See `contract.Clients`."""

    def __init__(self, address: str, received: Received) -> None:
        super().__init__(address, received)
        self._seq: dict[int, int] = defaultdict(int)

    def records(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> Iterable[bytes]:
        """The payloads as records."""
        for payload in interleaved(audio, motion):
            self._seq[session] += 1
            yield RECORD.pack(session, 0, self._seq[session], 20_000 * self._seq[session], len(payload)) + payload

    def messages(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> Iterable[bytes]:
        """One message per payload."""
        return self.records(session, audio, motion)

    def payloads(self, message: str | bytes) -> Iterable[bytes]:
        """All of its records' payloads."""
        assert isinstance(message, bytes)
        return [record[RECORD.size :] for _, record in split(message)]


class JoiningClients(Clients):
    """Clients of the joining relay: one publisher for all sessions; payloads published together are sent together."""

    def publisher_path(self, session: int) -> str:
        """One path for all sessions."""
        del session
        return "publish"

    def messages(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> Iterable[bytes]:
        """As few messages as possible."""
        records = deque(self.records(session, audio, motion))
        while records:
            yield join(records)


async def serve(relay: PlainRelay | JoiningRelay) -> None:
    """Serve until killed."""
    path = port_file()
    async with server.serve(relay.serve, "127.0.0.1", 0, compression=None, max_size=None) as listener:
        listening(path, next(iter(listener.sockets)).getsockname()[1])
        await listener.serve_forever()


if __name__ == "__main__":
    joining = "--joining" in sys.argv
    if joining:
        sys.argv.remove("--joining")
    asyncio.run(serve(JoiningRelay() if joining else PlainRelay()))
