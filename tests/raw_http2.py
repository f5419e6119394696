"""A hand-written HTTP/2 client: it sends what no gRPC library would, such as half a message on each of many streams."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.lab.attack.http2 import (
    ACK,
    CHUNK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    header_block,
)


class RawConnection:
    """A connection. `settings` are those announced by the relay; `ended` the streams that it ended or reset."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.settings: dict[int, int] = {}
        self.ended: set[int] = set()
        self._window, self._windows, self._initial = 65_535, dict[int, int](), 65_535
        self._news = asyncio.Condition()
        self._is_closed = False

    def half_sent(self, count: int, method: str, size: int) -> dict[int, int]:
        """Start calls, each with a message without its last byte; return what is left to send of each."""
        left: dict[int, int] = {}
        for stream in range(1, 2 * count, 2):
            self._writer.write(frame(HEADERS, END_HEADERS, stream, header_block(method)))
            self._send(stream, b"\0" + struct.pack(">I", size))
            left[stream] = size - 1
        return left

    async def push(self, left: dict[int, int]) -> None:
        """Send as much as the windows allow, until all is sent or the relay has ended all of these streams, or the connection."""
        while not self._is_closed and (left := {stream: count for stream, count in left.items() if count and stream not in self.ended}):
            sent = 0
            for stream in left:
                count = min(CHUNK, left[stream], self._window, self._windows[stream])
                if count > 0:
                    self._send(stream, bytes(count))
                    left[stream] -= count
                    sent += count
            try:
                await self._writer.drain()
            except ConnectionError:
                return
            if not sent:
                async with self._news:
                    if not self._is_closed:
                        await self._news.wait()
            else:
                await asyncio.sleep(0)

    async def until_ended(self, count: int) -> None:
        """Wait until the relay has ended the given number of streams, or the connection."""
        async with self._news:
            await self._news.wait_for(lambda: self._is_closed or len(self.ended) >= count)

    def _send(self, stream: int, data: bytes) -> None:
        self._windows.setdefault(stream, self._initial)
        self._windows[stream] -= len(data)
        self._window -= len(data)
        self._writer.write(frame(DATA, 0, stream, data))

    async def listen(self) -> None:
        """Process what the relay sends, until it closes."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                async with self._news:
                    self._take(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
                    self._news.notify_all()
        async with self._news:
            self._is_closed = True
            self._news.notify_all()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self.ended.add(stream)
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += int.from_bytes(payload, "big")
        elif kind == WINDOW_UPDATE:
            self._windows[stream] = self._windows.get(stream, self._initial) + int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            self.settings |= dict(struct.iter_unpack(">HI", payload))
            change = self.settings.get(INITIAL_WINDOW, self._initial) - self._initial
            self._initial += change
            self._windows = {number: window + change for number, window in self._windows.items()}
            self._writer.write(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._writer.write(frame(PING, ACK, 0, payload))


@asynccontextmanager
async def raw_connection(address: str) -> AsyncIterator[RawConnection]:
    """A connection to HOST:PORT that has processed the relay's settings."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + frame(SETTINGS, 0, 0))
    connection = RawConnection(reader, writer)
    listening = asyncio.create_task(connection.listen())
    try:
        async with connection._news:
            await connection._news.wait_for(lambda: bool(connection.settings))
        yield connection
    finally:
        listening.cancel()
        writer.close()
        await asyncio.gather(listening, return_exceptions=True)
