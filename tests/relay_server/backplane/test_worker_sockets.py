"""Messages between workers take their sockets, all others the backplane within."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay_server.backplane import worker_sockets
from relay_server.backplane.backplane import BackplaneError, BackplaneMessage
from relay_server.backplane.worker_sockets import WorkerSockets, socket_path
from tests.lab.memory_backplane import MemoryBus

PREFIX = "test.joined.pc-w"
OWN = f"{PREFIX}2-1"


class Receiver:
    """Records messages, once it is free to."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.arrived = asyncio.Event()
        self.free = asyncio.Event()
        self.free.set()

    async def take(self, message: BackplaneMessage) -> None:
        """See `Take`."""
        await self.free.wait()
        self.data.append(message.data)
        self.arrived.set()

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until `done`, with a deadline."""
        async with asyncio.timeout(10):
            while not done():
                self.arrived.clear()
                await self.arrived.wait()


@asynccontextmanager
async def worker(bus: MemoryBus, number: int, folder: Path) -> AsyncIterator[WorkerSockets]:
    """A worker's backplane."""
    sockets = WorkerSockets(bus.node(f"w{number}"), PREFIX, folder)
    await sockets.start(lambda: None, lambda: None)
    try:
        yield sockets
    finally:
        await sockets.stop()


async def test_messages_between_workers_take_a_socket(tmp_path: Path) -> None:
    """In order, of any size, and none of them on the backplane; those of other relays still arrive from there."""
    bus, receiver = MemoryBus(), Receiver()
    sent = [b"%d" % number * (number % 7) for number in range(500)] + [b"x" * (300 << 10), b"", b"last"]
    async with worker(bus, 1, tmp_path) as one, worker(bus, 2, tmp_path) as two:
        await two.subscribe(OWN, receiver.take)
        bus.lost_share = 1.0
        for data in sent:
            await one.publish(OWN, data)
        await receiver.until(lambda: len(receiver.data) == len(sent))
        assert receiver.data == sent and bus.vanished == 0
        bus.lost_share = 0.0
        bus.send("w9", BackplaneMessage(OWN, b"from another machine"))
        await receiver.until(lambda: receiver.data[-1] == b"from another machine")


async def test_other_messages_take_the_backplane(tmp_path: Path) -> None:
    """Those for relays that are no workers of this supervisor, and requests."""
    bus, receiver = MemoryBus(), Receiver()
    async with worker(bus, 1, tmp_path) as one, worker(bus, 2, tmp_path) as two:
        await two.subscribe("test.joined.relay-9", receiver.take)
        await one.publish("test.joined.relay-9", b"far")
        await receiver.until(lambda: receiver.data == [b"far"])

        async def answer(message: BackplaneMessage) -> None:
            await two.publish(message.reply, message.data * 2)

        await two.subscribe("test.device.d1", answer)
        assert await one.request("test.device.d1", b"ab", 5) == b"abab"
        assert not socket_path(tmp_path, "2-1").exists()
        assert one.connected
    assert not one.connected


async def test_a_worker_that_ended_is_reported_at_once(tmp_path: Path) -> None:
    """Its tunnels need not wait until it was silent for a while; a later start of it has another subject."""
    bus, receiver = MemoryBus(), Receiver()
    async with worker(bus, 1, tmp_path) as one:
        async with worker(bus, 2, tmp_path) as two:
            await two.subscribe(OWN, receiver.take)
            await one.publish(OWN, b"a")
            await receiver.until(lambda: receiver.data == [b"a"])
        with pytest.raises(BackplaneError, match="the worker has ended"):
            async with asyncio.timeout(10):
                while True:
                    await one.publish(OWN, b"lost")
                    await asyncio.sleep(0)
        with pytest.raises(BackplaneError, match="the worker has ended"):
            await one.publish(f"{PREFIX}3-1", b"it never was")


async def test_what_waits_for_a_worker_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound nothing more is accepted; what was accepted arrives."""
    monkeypatch.setattr(worker_sockets, "MAX_UNSENT_BYTES", 4 << 20)
    bus, receiver = MemoryBus(), Receiver()
    async with worker(bus, 1, tmp_path) as one, worker(bus, 2, tmp_path) as two:
        await two.subscribe(OWN, receiver.take)
        receiver.free.clear()
        accepted = 0
        with pytest.raises(BackplaneError, match="reads too slowly"):
            async with asyncio.timeout(10):
                while True:
                    await one.publish(OWN, accepted.to_bytes(4, "little") * (16 << 10))
                    accepted += 1
                    await asyncio.sleep(0)
        assert 64 <= accepted <= 128
        receiver.free.set()
        await receiver.until(lambda: len(receiver.data) == accepted)
        assert [int.from_bytes(data[:4], "little") for data in receiver.data] == list(range(accepted))


async def test_a_worker_that_hangs_does_not_delay_the_end_of_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has not read is lost."""
    monkeypatch.setattr(worker_sockets, "CLOSE_S", 0.05)
    bus, receiver = MemoryBus(), Receiver()
    receiver.free.clear()
    async with worker(bus, 2, tmp_path) as two:
        await two.subscribe(OWN, receiver.take)
        async with asyncio.timeout(10), worker(bus, 1, tmp_path) as one:
            for _ in range(2):
                await one.publish(OWN, b"x" * (8 << 20))
    assert receiver.data == []
