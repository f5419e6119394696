"""A TCP proxy that makes a network worse, by seed: latency, jitter, spikes, bandwidth, small slices, stalls, links that are
half open, cuts, resets and slow closes. Bytes stay in order, as TCP keeps them.

Each direction of each connection has a line of its own: what was read is written when its delay is over, but never before what
was read earlier. So a late packet holds up all behind it, as a lost and repeated one does in TCP.
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

READ_BYTES = 16 << 10
LINE_CHUNKS = 256
"""Chunks on their way in one direction; the sender waits for more room, as with a full network."""

QUEUED_S = 1.0
"""So much waits in front of a narrow link; then the sender is held up …"""
SLICES_PER_S = 10
"""… and what gets through comes in this many pieces a second."""

FORGOTTEN_S = 60.0
"""An end that is lost in a half-open link is told so late."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What a chunk meets on its way, one direction."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """The delay is even between `delay_ms - jitter_ms` and `delay_ms + jitter_ms`."""
    spike_share: float = 0.0
    """This share of chunks …"""
    spike_ms: float = 0.0
    """… takes so much longer."""
    bytes_per_s: float = 0.0
    """No more than this gets through; 0: all of it."""
    slice_bytes: int = 0
    """What is read together arrives in slices of this size; 0: as it came."""
    hole: bool = False
    """Nothing gets through and nothing is told, as with a machine that lost its network: a half-open link. A connection
    that lost a byte this way stays dead, as with TCP; those made after it live."""

    def delay_s(self, chance: random.Random) -> float:
        """The delay of one chunk."""
        ms = chance.uniform(self.delay_ms - self.jitter_ms, self.delay_ms + self.jitter_ms)
        if chance.random() < self.spike_share:
            ms += self.spike_ms
        return max(0.0, ms) / 1e3

    def slices(self, data: bytes) -> Iterator[bytes]:
        """What was read together, as it gets through."""
        size = self.slice_bytes or len(data)
        if self.bytes_per_s:
            size = min(size, max(1, int(self.bytes_per_s / SLICES_PER_S)))
        return (data[start : start + size] for start in range(0, len(data), size))


CALM = Weather()


class FaultProxy:
    """Listens on a port of its own and passes on to `target` (HOST:PORT), as long as the block lasts."""

    def __init__(self, target: str, *, down: Weather = CALM, up: Weather = CALM, seed: int = 1) -> None:
        """`down` is from the target to those who connect here; it may be changed at any time, like `up`."""
        self.down = down
        self.up = up
        self._host, _, port = target.rpartition(":")
        self._target_port = int(port)
        self._chance = random.Random(seed)
        self.close_after_s = 0.0
        """How long the other end of a connection is kept open after one end closed it."""
        self.accepted = 0
        """Connections so far."""
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
        """Where to connect."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def open_connections(self) -> int:
        """How many stand now."""
        return len(self._connections)

    async def stall(self, seconds: float) -> None:
        """Let nothing through for so long; all of it comes afterwards."""
        self._free.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._free.set()

    async def cut(self) -> None:
        """Break all connections; what was on its way is lost."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def reset(self) -> None:
        """Break all connections by RST, as a program that was killed, or a machine that was switched off and on again."""
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
                    group.create_task(self._line(reader, target_writer, upwards=True))
                    group.create_task(self._line(target_reader, writer, upwards=False))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass  # either end is gone, or `cut`: both ends are closed, which is all that a broken network tells
        finally:
            writer.close()
            self._connections.discard(task)
            self._writers = {kept for kept in self._writers if not kept.is_closing()}

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upwards: bool) -> None:
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(LINE_CHUNKS)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver(line, writer))
            free_at, is_dead = 0.0, False
            while data := await reader.read(READ_BYTES):
                weather = self.up if upwards else self.down
                is_dead = is_dead or weather.hole
                if is_dead:
                    continue
                for piece in weather.slices(data):
                    now = asyncio.get_running_loop().time()
                    free_at = max(now, free_at) + (len(piece) / weather.bytes_per_s if weather.bytes_per_s else 0.0)
                    await line.put((free_at + weather.delay_s(self._chance), piece))
                    await asyncio.sleep(max(0.0, free_at - now - QUEUED_S))
            if is_dead or (self.up if upwards else self.down).hole:
                await asyncio.sleep(FORGOTTEN_S)
            await line.put((asyncio.get_running_loop().time() + self.close_after_s, b""))

    async def _deliver(self, line: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await line.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._free.wait()
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
