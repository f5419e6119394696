"""Contender `websockets`: a binary relay on the `websockets` library; `joining` carries many payloads in a message, as our relay does.

A record is a payload with what any relay of media must know: kind, sequence, PTS and size. The plain relay passes each
message on as it came, without looking into it. The joining one reads the records, queues them, and joins what waits.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections import defaultdict, deque
from collections.abc import Sequence

import websockets.asyncio.client as client
import websockets.asyncio.server as server
from websockets.exceptions import ConnectionClosed

from scripts.bench.contract import MAX_JOINED_BYTES, QUEUE_PAYLOADS, Received, interleaved, listening, port_file

RECORD = struct.Struct("<BIQI")
"""kind, seq, pts_us, size."""


def split(message: bytes) -> list[bytes]:
    """Records of a joined message."""
    records, start = [], 0
    while start < len(message):
        _, _, _, size = RECORD.unpack_from(message, start)
        end = start + RECORD.size + size
        records.append(message[start:end])
        start = end
    return records


def join(records: deque[bytes]) -> bytes:
    """As many records as fit into a message; at least one."""
    joined, size = [records.popleft()], 0
    size = len(joined[0])
    while records and size + len(records[0]) <= MAX_JOINED_BYTES:
        size += len(records[0])
        joined.append(records.popleft())
    return b"".join(joined)


class Device:
    """What waits for one device of the joining relay."""

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.filled = asyncio.Event()
        self.room = asyncio.Event()


class PlainRelay:
    """Passes each message on to all devices of the room, one after the other."""

    def __init__(self) -> None:
        self._rooms: dict[str, set[server.ServerConnection]] = defaultdict(set)

    async def serve(self, peer: server.ServerConnection) -> None:
        """One connection: /attach/ROOM or /publish/ROOM."""
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
    """Reads records, queues them for each device, and sends what waits in one message."""

    def __init__(self) -> None:
        self._rooms: dict[str, set[Device]] = defaultdict(set)

    async def serve(self, peer: server.ServerConnection) -> None:
        """One connection: /attach/ROOM or /publish/ROOM."""
        assert peer.request is not None
        _, verb, name = peer.request.path.split("/")
        room = self._rooms[name]
        if verb == "attach":
            device = Device()
            room.add(device)
            try:
                await peer.send("welcome")
                await self._write(peer, device)
            finally:
                room.discard(device)
            return
        async for message in peer:
            assert isinstance(message, bytes)
            records = split(message)
            for device in room:
                device.waiting.extend(records)
                device.filled.set()
                while len(device.waiting) > QUEUE_PAYLOADS:
                    device.room.clear()
                    await device.room.wait()

    async def _write(self, peer: server.ServerConnection, device: Device) -> None:
        while True:
            while device.waiting:
                message = join(device.waiting)
                device.room.set()
                await peer.send(message)
            device.filled.clear()
            await device.filled.wait()


class Clients:
    """See `contract.Clients`. With `joining`, payloads handed over together travel together."""

    joining = False

    def __init__(self, address: str, received: Received) -> None:
        self._address = address
        self._received = received
        self._publishers: dict[int, client.ClientConnection] = {}
        self._devices: list[client.ClientConnection] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._seq: dict[int, int] = defaultdict(int)

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
        try:
            async for message in peer:
                assert isinstance(message, bytes)
                for record in split(message):
                    self._received(record[RECORD.size :])
        except ConnectionClosed:
            pass

    async def publish(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> None:
        """See `contract.Clients`."""
        peer = self._publishers.get(session)
        if peer is None:
            peer = self._publishers[session] = await self._connect(f"publish/{session}")
        records: deque[bytes] = deque()
        for payload in interleaved(audio, motion):
            self._seq[session] += 1
            records.append(RECORD.pack(0, self._seq[session], 20_000 * self._seq[session], len(payload)) + payload)
        while records:
            await peer.send(join(records) if self.joining else records.popleft())

    async def close(self) -> None:
        """See `contract.Clients`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in (*self._publishers.values(), *self._devices):
            await peer.close()


class JoiningClients(Clients):
    """Clients of the joining relay."""

    joining = True


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
