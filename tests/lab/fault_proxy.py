"""A seeded TCP proxy that degrades a network: latency, jitter, spikes, bandwidth limits, small slices, stalls, half-open links,
cuts, resets and slow closes. Bytes stay in order, as in TCP.

Each direction of each connection has its own queue: a chunk is written when its delay has passed, but never before an
earlier chunk. A late chunk therefore delays all that follow, as a retransmission does in TCP.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

WAYS = ("up", "down")
READ_BYTES = 16 << 10
LINE_CHUNKS = 256
"""Maximum number of chunks in flight in one direction; beyond that the sender waits, as with a full network."""

QUEUED_S = 1.0
"""Queue of a narrow link, in seconds of its bandwidth; beyond that the sender waits."""
SLICES_PER_S = 10
"""Number of pieces per second in which a narrow link delivers data."""

FORGOTTEN_S = 60.0
"""Delay after which an end that is lost in a half-open link is closed."""


@dataclass(frozen=True, slots=True)
class Weather:
    """Conditions for chunks in one direction."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """The delay is uniform between `delay_ms - jitter_ms` and `delay_ms + jitter_ms`."""
    spike_share: float = 0.0
    """Share of chunks that are delayed by `spike_ms` more."""
    spike_ms: float = 0.0
    """Extra delay of these chunks."""
    bytes_per_s: float = 0.0
    """Bandwidth; 0: unlimited."""
    slice_bytes: int = 0
    """Chunks are delivered in slices of this size; 0: unsliced."""

    def delay_s(self, chance: random.Random) -> float:
        """The delay of one chunk."""
        ms = chance.uniform(self.delay_ms - self.jitter_ms, self.delay_ms + self.jitter_ms)
        if chance.random() < self.spike_share:
            ms += self.spike_ms
        return max(0.0, ms) / 1e3

    def slices(self, data: bytes) -> Iterator[bytes]:
        """Split a chunk into the slices that are delivered."""
        size = self.slice_bytes or len(data)
        if self.bytes_per_s:
            size = min(size, max(1, int(self.bytes_per_s / SLICES_PER_S)))
        return (data[start : start + size] for start in range(0, len(data), size))


CALM = Weather()


class FaultProxy:
    """Listens on its own port and forwards to `target` (HOST:PORT) for the duration of the `with` block."""

    def __init__(self, target: str, *, down: Weather = CALM, up: Weather = CALM, seed: int = 1) -> None:
        """`down` is the direction from the target to the clients. Both `down` and `up` may be changed at any time."""
        self.down = down
        self.up = up
        self._host, _, port = target.rpartition(":")
        self._target_port = int(port)
        self._chance = random.Random(seed)
        self.hole = set[str]()
        """The directions (`WAYS`) in which data is dropped without an error, as when a machine loses its network: a half-open link.
        A connection that lost a byte this way stays dead, as with TCP; later connections work."""
        self.dead = 0
        """Number of connections that lost data this way so far, counted for each direction."""
        self.close_after_s = 0.0
        """Seconds for which the other end of a connection is kept open after one end closed it."""
        self.accepted = 0
        """Number of connections accepted so far."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._free = asyncio.Event()
        self._free.set()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut()
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        """Address to connect to."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def open_connections(self) -> int:
        """Number of currently open connections."""
        return len(self._connections)

    async def stall(self, seconds: float) -> None:
        """Hold back all data for `seconds`, then deliver it."""
        self._free.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._free.set()

    async def cut(self) -> None:
        """Close all connections; data in flight is lost."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def reset(self) -> None:
        """Reset all connections (RST), as a killed program or a rebooted machine does."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        await self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.accepted += 1
        try:
            target_reader, target_writer = await asyncio.open_connection(self._host, self._target_port)
            self._writers |= {writer, target_writer}
            with contextlib.closing(target_writer):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._line(reader, target_writer, "up"))
                    group.create_task(self._line(target_reader, writer, "down"))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass  # an end is gone, or `cut`: both ends are closed, which is all that a broken network shows
        finally:
            writer.close()
            self._connections.discard(task)
            self._writers = {kept for kept in self._writers if not kept.is_closing()}

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(LINE_CHUNKS)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver(line, writer, way))
            free_at = 0.0
            while data := await reader.read(READ_BYTES):
                weather = self.up if way == "up" else self.down
                for piece in weather.slices(data):
                    now = asyncio.get_running_loop().time()
                    free_at = max(now, free_at) + (len(piece) / weather.bytes_per_s if weather.bytes_per_s else 0.0)
                    await line.put((free_at + weather.delay_s(self._chance), piece))
                    await asyncio.sleep(max(0.0, free_at - now - QUEUED_S))
            await line.put((asyncio.get_running_loop().time() + self.close_after_s, b""))

    async def _deliver(self, line: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, way: str) -> None:
        loop, is_dead = asyncio.get_running_loop(), False
        while True:
            due, data = await line.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._free.wait()
            if way in self.hole and not is_dead:
                is_dead = True
                self.dead += 1
            if not data:
                await asyncio.sleep(FORGOTTEN_S if is_dead else 0.0)
                if writer.can_write_eof():
                    writer.write_eof()
                return
            if not is_dead:
                writer.write(data)
                await writer.drain()
