"""The proxy behaves as the scenarios assume."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.lab.chaos.faults import drop
from tests.lab.fault_proxy import CALM, FaultProxy, Weather

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
        proxy.hole.add(way)
        writer.write(SENT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)


async def test_a_half_open_link_stays_so_in_any_weather() -> None:
    """Another fault that begins or ends meanwhile does not mend it; nor is data delivered that was under way on a narrow link."""
    async with echo() as (proxy, reader, writer):
        proxy.down = Weather(bytes_per_s=len(SENT))
        writer.write(SENT)
        await reader.readexactly(1)
        await drop(proxy, ("down",), 0.0)
        proxy.down = CALM
        received = len(await reader.read(len(SENT)))
        writer.write(SENT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                received += len(await reader.readexactly(len(SENT)))
        assert (received < len(SENT) // 2, proxy.dead, proxy.hole) == (True, 1, set())


async def test_a_hole_waits_for_something_to_drop() -> None:
    """A connection that lost nothing is not half open: nobody could find it."""
    async with echo() as (proxy, _, writer):
        hole = asyncio.create_task(drop(proxy, ("up",), 0.0))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(hole)
        writer.write(SENT)
        await hole
        assert proxy.dead == 1


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
