"""Links over real sockets: what they carry, how they end, and what strangers can do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from avatar_relay.errors import ConfigError
from relay_server.backplane.backplane import BackplaneError, NobodyError
from relay_server.links import socket_link, socket_links
from relay_server.links.beats import SILENCE_US
from relay_server.links.links import Link
from relay_server.links.proof import MAGIC
from relay_server.links.socket_links import LinkSettings, SocketLinks
from tests.lab.attack.tls import make_certificate

SECRET = b"s" * 32


class FakeEnd:
    """A tunnel's end. Records what it hears, once it is free to, and why it was cut."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.cuts: list[str] = []
        self.changed = asyncio.Event()
        self.asked = asyncio.Event()
        self.free: asyncio.Event | None = None

    def hear(self, message: bytes) -> Awaitable[None] | None:
        """See `TunnelEnd`."""
        self.asked.set()
        if self.free is not None:
            return self._hear_later(message)
        self._note(message)
        return None

    async def _hear_later(self, message: bytes) -> None:
        assert self.free is not None
        await self.free.wait()
        self._note(message)

    def _note(self, message: bytes) -> None:
        self.heard.append(message)
        self.changed.set()

    def cut(self, why: str) -> None:
        """See `TunnelEnd`."""
        self.cuts.append(why)
        self.changed.set()

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until `done`, with a deadline."""
        async with asyncio.timeout(10):
            while not done():
                self.changed.clear()
                await self.changed.wait()


class Clock:
    """The time of the test, in µs."""

    now_us = 0

    def __call__(self) -> int:
        return self.now_us


@asynccontextmanager
async def relay(name: str, clock: Clock | None = None, *, secret: bytes = SECRET, **where: Any) -> AsyncIterator[SocketLinks]:
    """The links of a relay; without `where` at a free port."""
    settings = LinkSettings(secret, name, **(where or {"address": ("127.0.0.1", 0)}))
    links = SocketLinks(settings, os.urandom, clock or Clock())
    await links.start()
    try:
        yield links
    finally:
        await links.stop()


async def opened(door: SocketLinks, home: SocketLinks, name: str = "home") -> tuple[Link, Link]:
    """Both ends of a link from one relay to the other, which is named `name`."""

    async def ask() -> bytes:
        return home.offer("door")

    link = await door.to(name, ask)
    assert link is not None
    other = home.accepted(link.link_id)
    assert other is not None
    return link, other


async def no_link(door: SocketLinks, ask: Callable[[], Awaitable[bytes]]) -> bool:
    """Whether no link can be opened to relay `home`."""
    return await door.to("home", ask) is None


def wherever(name: str, folder: Path) -> dict[str, Any]:
    """The ways on which a relay can accept links."""
    match name:
        case "tcp":
            return {"address": ("127.0.0.1", 0)}
        case "tls":
            return {"address": ("127.0.0.1", 0), "certificate": make_certificate(folder)}
        case _:
            return {"socket": folder / "link", "siblings": "d"}


@pytest.mark.parametrize("way", ["tcp", "tls", "unix"])
async def test_messages_of_tunnels_keep_their_order(tmp_path: Path, way: str) -> None:
    """In both directions, of any size, each to its tunnel; unknown tunnels are ignored. A second tunnel uses the same link."""
    sent = [b"%d" % number * (number % 7) for number in range(500)] + [b"x" * (300 << 10), b"", b"last"]
    async with relay("home", **wherever(way, tmp_path)) as home, relay("door") as door:
        link, other = await opened(door, home)
        ends = {(side, tunnel): FakeEnd() for side in (link, other) for tunnel in ("one", "two")}
        for (side, tunnel), end in ends.items():
            side.listen(tunnel, end)
        for data in sent:
            link.send("one", [data, data])
            other.send("two", [data])
            link.send("unknown", [data])
        await ends[other, "one"].until(lambda: len(ends[other, "one"].heard) == 2 * len(sent))
        await ends[link, "two"].until(lambda: len(ends[link, "two"].heard) == len(sent))
        assert ends[other, "one"].heard == [data for data in sent for _ in range(2)]
        assert ends[link, "two"].heard == sent
        assert ends[link, "one"].heard == ends[other, "two"].heard == []
        assert (await opened(door, home))[0] is link


async def test_a_message_that_waits_holds_back_those_behind_it() -> None:
    """Of all tunnels, in their order; meanwhile no more is read than what has arrived."""
    async with relay("home") as home, relay("door") as door:
        link, other = await opened(door, home)
        slow, quick = FakeEnd(), FakeEnd()
        slow.free = asyncio.Event()
        other.listen("slow", slow)
        other.listen("quick", quick)
        link.send("slow", [b"1"])
        link.send("quick", [b"2"])
        link.send("slow", [b"3"])
        await slow.asked.wait()
        link.send("quick", [b"4"])
        assert slow.heard == quick.heard == []
        slow.free.set()
        await quick.until(lambda: len(quick.heard) == 2)
        assert (slow.heard, quick.heard) == ([b"1", b"3"], [b"2", b"4"])


async def test_a_relay_that_ends_cuts_its_tunnels_at_once() -> None:
    """They need not wait for a silence. What was sent before arrives; the next tunnel has a new link."""
    async with AsyncExitStack() as stack:
        door = await stack.enter_async_context(relay("door"))
        async with relay("home") as home:
            link, other = await opened(door, home)
            end, there = FakeEnd(), FakeEnd()
            link.listen("one", end)
            other.listen("one", there)
            other.send("one", [b"last"])
        await end.until(lambda: bool(end.cuts))
        assert end.heard == [b"last"]
        assert end.cuts == ["the connection with relay home is gone"]
        with pytest.raises(BackplaneError, match="has ended"):
            link.send("one", [b"lost"])
        again = await stack.enter_async_context(relay("home"))
        assert (await opened(door, again))[0] is not link


async def test_a_silent_relay_is_gone() -> None:
    """A link with tunnels has heartbeats, so it is never silent for long; one without may be. A busy relay hears late."""
    clock = Clock()
    async with relay("home") as home, relay("door", clock) as door:
        link, _ = await opened(door, home)
        clock.now_us += 10 * SILENCE_US
        door.tick(0)
        end = FakeEnd()
        link.listen("one", end)
        clock.now_us += SILENCE_US + 1
        door.tick(1)
        assert end.cuts == []
        door.tick(0)
        clock.now_us += 1
        door.tick(0)
        assert end.cuts == [f"relay home said nothing for {SILENCE_US // 1_000} ms"]


async def test_a_link_that_has_ended_accepts_no_tunnel() -> None:
    """The request for one may arrive after it: nothing would ever end that tunnel."""
    async with relay("home") as home, relay("door") as door:
        link, other = await opened(door, home)
        other.end("injected")
        assert home.accepted(link.link_id) is None


async def test_a_link_whose_tunnels_heard_nothing_is_not_used_again() -> None:
    """The tunnels may notice the silence first; a later one must not find the dead link."""
    clock = Clock()
    async with relay("home") as home, relay("door", clock) as door:
        link, _ = await opened(door, home)
        link.listen("one", FakeEnd())
        link.forget("one")
        assert (await opened(door, home))[0] is link
        link.listen("two", FakeEnd())
        clock.now_us += SILENCE_US
        link.forget("two")
        assert (await opened(door, home))[0] is not link


async def test_a_relay_that_reads_too_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded; beyond the bound nothing more is accepted. What was accepted arrives."""
    monkeypatch.setattr(socket_link, "MAX_UNSENT_BYTES", 4 << 20)
    async with relay("home") as home, relay("door") as door:
        link, other = await opened(door, home)
        end = FakeEnd()
        end.free = asyncio.Event()
        other.listen("one", end)
        accepted = 0
        with pytest.raises(BackplaneError, match="relay home reads too slowly"):
            async with asyncio.timeout(10):
                while True:
                    link.send("one", [accepted.to_bytes(4, "little") * (16 << 10)])
                    accepted += 1
                    await asyncio.sleep(0)
        assert 64 <= accepted <= 256
        end.free.set()
        await end.until(lambda: len(end.heard) == accepted)
        assert [int.from_bytes(data[:4], "little") for data in end.heard] == list(range(accepted))


async def test_a_message_that_is_too_large_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not fill the memory."""
    async with relay("home") as home, relay("door") as door:
        link, other = await opened(door, home)
        end = FakeEnd()
        other.listen("one", end)
        monkeypatch.setattr(socket_link, "MAX_PART_BYTES", 1_000)
        link.send("one", [b"x" * 1_001])
        await end.until(lambda: bool(end.cuts))
        assert end.cuts == ["relay door sent a message of 1001 bytes"]


async def test_a_relay_that_hangs_does_not_delay_the_end_of_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has not read is lost."""
    monkeypatch.setattr(socket_links, "CLOSE_S", 0.05)
    async with relay("home") as home, asyncio.timeout(10), relay("door") as door:
        link, other = await opened(door, home)
        end = FakeEnd()
        end.free = asyncio.Event()
        other.listen("one", end)
        for _ in range(2):
            link.send("one", [b"x" * (8 << 20)])


# --- without a link ----------------------------------------------------------------------------------------------------


async def test_without_an_address_the_backplane_carries_the_tunnels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also to a relay that does not answer, or of an earlier version; after a failure none is tried again for a while."""
    asked = 0

    def answering(answer: bytes | Exception) -> Callable[[], Awaitable[bytes]]:
        async def ask() -> bytes:
            nonlocal asked
            asked += 1
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask

    async with relay("home", socket=None) as home, relay("door") as door:
        for answer in (home.offer("door"), NobodyError("an earlier version"), b"{", b"[]", b'{"address": "nowhere"}', b'{"address": 7}'):
            monkeypatch.setattr(door, "_not_before_s", {})
            assert await no_link(door, answering(answer))
        assert asked == 6
        assert await no_link(door, answering(b""))
        assert asked == 6


async def test_workers_offer_a_socket_to_their_siblings_only(tmp_path: Path) -> None:
    """To others their address, if they have one: the socket is in a folder of this machine."""
    async with relay("pc-w1-1", socket=tmp_path / "link", siblings="pc-w") as alone:
        assert b"socket" in alone.offer("pc-w2-1")
        assert alone.offer("other-pc-w2-1") == b""
    async with relay("pc-w1-1", socket=tmp_path / "link-2", siblings="pc-w", address=("127.0.0.1", 0)) as home:
        assert b"address" in home.offer("relay-2")


# --- strangers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["tcp", "tls"])
async def test_a_relay_without_the_secret_is_refused(tmp_path: Path, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither end accepts it; the log of both says so."""
    async with relay("home", **wherever(way, tmp_path)) as home, relay("door", secret=b"t" * 32) as door:

        async def ask() -> bytes:
            return home.offer("door")

        caplog.set_level("INFO")
        assert await no_link(door, ask)
        assert "relay home cannot be reached directly" in caplog.text
        async with asyncio.timeout(10):
            while "of another relay from 127.0.0.1 is refused: it does not know the cluster's secret" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_program_between_two_relays_is_noticed(tmp_path: Path) -> None:
    """It has another certificate, with which neither relay's proof fits."""
    (tmp_path / "home").mkdir()
    (tmp_path / "between").mkdir()
    async with relay("home", **wherever("tls", tmp_path / "home")) as home:
        real = home.offer("door")
        async with relay("home", **wherever("tls", tmp_path / "between")) as between, relay("door") as door:
            # as if it passed the proofs on: it knows the secret, but the certificate that it shows is not the one it proves
            between._digest = home._digest

            async def ask() -> bytes:
                return between.offer("door")

            assert real != between.offer("door")
            assert await no_link(door, ask)


def address_of(links: SocketLinks) -> tuple[str, int]:
    """Where a relay accepts links."""
    host, _, port = str(links._offered["address"]).rpartition(":")
    return host, int(port)


async def test_strangers_disturb_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent ones are closed soon, noisy ones at once, and no more than a few are heard at a time; links go on."""
    monkeypatch.setattr(socket_links, "PROOF_S", 0.3)
    monkeypatch.setattr(socket_links, "MAX_UNPROVED", 4)
    async with relay("home") as home, relay("door") as door, asyncio.timeout(20):
        link, other = await opened(door, home)
        end = FakeEnd()
        other.listen("one", end)
        host, port = address_of(home)
        silent = [await asyncio.open_connection(host, port) for _ in range(4)]
        for reader, _ in silent:
            assert (await reader.readexactly(len(MAGIC))) == MAGIC
        newest, writer = await asyncio.open_connection(host, port)
        assert (await newest.readexactly(len(MAGIC))) == MAGIC
        oldest, silent[0] = silent[0], (newest, writer)
        await oldest[0].read()
        oldest[1].close()
        assert len(home._unproved) == 4
        link.send("one", [b"a"])
        await end.until(lambda: end.heard == [b"a"])
        for reader, writer in silent:
            await reader.read()
            writer.close()
        noisy, writer = await asyncio.open_connection(host, port)
        writer.write(b"\xff" * (1 << 20))
        with pytest.raises(ConnectionError):
            while await noisy.read(1 << 10):
                pass
            raise ConnectionResetError
        writer.close()
        assert len(home._accepted) == 1


async def test_an_address_that_cannot_be_used(tmp_path: Path) -> None:
    """Is told at the start, by the name of its setting."""
    async with relay("home") as home:
        with pytest.raises(ConfigError, match=r"cluster_listen: cannot listen on 127\.0\.0\.1, port \d+: .*in use"):
            async with relay("other", address=address_of(home)):
                pass
    (tmp_path / "wrong.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="tls_cert_file"):
        async with relay("home", address=("127.0.0.1", 0), certificate=(tmp_path / "wrong.pem", tmp_path / "wrong.pem")):
            pass
