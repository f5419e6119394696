"""The proxy behaves as the scenarios assume."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.lab.fault_proxy import FaultProxy, Weather

SENT = bytes(range(256)) * 64


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[FaultProxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through a proxy to an echo server."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with FaultProxy("{}:{}".format(*server.sockets[0].getsockname())) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.address.rpartition(":")[2]))
        yield proxy, reader, writer
        writer.close()
    server.close()


@pytest.mark.parametrize("weather", [Weather(), Weather(5, 5, 0.2, 20), Weather(slice_bytes=700)])
async def test_bytes_stay_whole_and_in_order(weather: Weather) -> None:
    """Holds under any fault."""
    async with echo() as (proxy, reader, writer):
        proxy.up = proxy.down = weather
        writer.write(SENT)
        assert await reader.readexactly(len(SENT)) == SENT


async def test_bandwidth_is_bounded() -> None:
    """16 KiB at 64 KiB/s take a quarter of a second."""
    async with echo() as (proxy, reader, writer):
        proxy.down = Weather(bytes_per_s=64 << 10)
        began = time.monotonic()
        writer.write(SENT)
        await reader.readexactly(len(SENT))
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_half_open_link_tells_nothing(way: str) -> None:
    """Neither data nor an end arrives."""
    async with echo() as (proxy, reader, writer):
        setattr(proxy, way, Weather(hole=True))
        writer.write(SENT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)


async def test_a_reset_is_told_at_once() -> None:
    """As an error, not as an end."""
    async with echo() as (proxy, reader, writer):
        writer.write(SENT)
        await reader.readexactly(len(SENT))
        await proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_a_slow_close_comes_late() -> None:
    """The other end stays open for that time."""
    async with echo() as (proxy, reader, writer):
        proxy.close_after_s = 0.05
        writer.write_eof()
        began = time.monotonic()
        assert await reader.read(1) == b""
        assert time.monotonic() - began >= 0.05
