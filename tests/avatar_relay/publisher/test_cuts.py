"""Real connection losses: a TCP proxy between the library and the relay."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from avatar_relay.media import Kind
from avatar_relay.messages import ConversationEnd, ConversationError, Dropped, Finished, PlayerEvent, PublisherHello, ToPublisher
from avatar_relay.publisher import ConnectionLostError, Publisher, RelayLink
from avatar_relay.publisher.in_process import InProcessLink
from avatar_relay.publisher.published_conversation import Phase
from relay_server.connections.relay import Relay
from tests.avatar_relay.publisher.fakes import PCM_16K, FakeLink
from tests.avatar_relay.publisher.test_with_relay import pair


class Proxy:
    """Forwards bytes while `flowing` is set; can cut all its connections."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._writers: set[asyncio.StreamWriter] = set()
        self.flowing = asyncio.Event()
        self.flowing.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.flowing.wait()
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer), return_exceptions=True)

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self.flowing.wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def proxied(address: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to an address, and its own."""
    proxy = Proxy(address)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    try:
        yield proxy, "{}:{}".format(*server.sockets[0].getsockname())
    finally:
        proxy.cut()
        server.close()


async def until_closed(publisher: Publisher) -> None:
    """Wait until the publisher has noticed the cut."""
    while publisher.is_connected:  # noqa: ASYNC110 - the library tells nobody
        await asyncio.sleep(0)


class BreakableLink(InProcessLink):
    """An in-process link that a test can break."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self._broken = asyncio.Event()

    def cut(self) -> None:
        """Break it."""
        self._broken.set()

    async def receive(self) -> ToPublisher | None:
        reading, breaking = asyncio.ensure_future(super().receive()), asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait((reading, breaking), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            raise ConnectionLostError("cut by the test")
        finally:
            reading.cancel()
            breaking.cancel()


class Breakable:
    """Connects to a relay by breakable links; `gate` delays new ones."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.links: list[BreakableLink] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def connect(self) -> BreakableLink:
        await self.gate.wait()
        self.links.append(BreakableLink(self._relay))
        return self.links[-1]


async def test_what_was_cut_goes_on_over_another_connection() -> None:
    """Sound before, during and after the cut is complete on the device."""
    async with (
        pair("over grpc") as (_, device, _, address),
        proxied(address) as (proxy, through),
        Publisher.connect(through) as publisher,
    ):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        sound = random.Random(1).randbytes(32_000)
        conversation_id = await avatar.yield_audio_data(sound[:3_200])
        await device.until_media()
        proxy.cut()
        await avatar.yield_audio_data(sound[3_200:16_000])
        await until_closed(publisher)
        await avatar.yield_audio_data(sound[16_000:], end=True)
        assert (await avatar.finished(conversation_id)).reason == "completed"
    assert [message for message in device.said if isinstance(message, ConversationEnd)] == [ConversationEnd(conversation_id, 10, 0)]
    assert device.bytes[conversation_id, Kind.AUDIO] == sound


async def test_it_goes_on_under_the_same_session() -> None:
    """The relay neither opens nor ends it again."""
    async with pair("in process") as (_, device, relay, _):
        line = Breakable(relay)
        async with Publisher(line.connect) as publisher:
            avatar = publisher.avatar("lobby", audio_format=PCM_16K)
            conversation_id = await avatar.yield_audio_data(bytes(3_200))
            await device.until_media()
            line.links[0].cut()
            await avatar.yield_audio_data(bytes(3_200), end=True)
            await avatar.finished(conversation_id)
    assert [opened.conversation_id for opened in device.opened] == [conversation_id]
    assert device.bytes[conversation_id, Kind.AUDIO] == bytes(6_400)


async def test_finished_survives_a_cut() -> None:
    """The relay keeps the device's events during the publisher's lease."""
    async with pair("in process", hold_finished=True) as (_, device, relay, _):
        line = Breakable(relay)
        async with Publisher(line.connect) as publisher:
            avatar = publisher.avatar("lobby", audio_format=PCM_16K)
            conversation_id = await avatar.yield_audio_data(bytes(3_200), end=True)
            await device.until_ended()
            line.gate.clear()
            line.links[0].cut()
            await until_closed(publisher)
            await device.release()
            line.gate.set()
            finished = await avatar.finished(conversation_id)
            await device.until_acknowledged(2)
    assert (finished.position_us, finished.reason) == (100_000, "completed")


@pytest.mark.parametrize("end_is_sent", [False, True])
async def test_what_a_relay_ended_for_an_absent_publisher_is_not_completed(end_is_sent: bool) -> None:
    """It plays out what arrived before the cut, whether the rest was sent before it or waits; its reason tells that this was not all."""
    async with (
        pair("over grpc", hold_finished=True, publisher_lease_us=200_000) as (_, device, _, address),
        proxied(address) as (proxy, through),
        Publisher.connect(through) as publisher,
    ):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(bytes(3_200))
        await device.until_media()
        proxy.flowing.clear()
        await avatar.yield_audio_data(bytes(32_000), end=end_is_sent)
        record = publisher.session.record(conversation_id)
        assert record is not None
        while end_is_sent and record.conversation.phase is not Phase.ENDED:  # noqa: ASYNC110 - the library tells nobody
            await asyncio.sleep(0)
        proxy.cut()
        await until_closed(publisher)
        if not end_is_sent:
            await avatar.yield_audio_data(bytes(3_200), end=True)
        await device.until_ended()
        proxy.flowing.set()
        while not publisher.is_connected:  # noqa: ASYNC110 - the library tells nobody
            await asyncio.sleep(0)
        events = avatar.events()
        await device.release()
        outcome = await avatar.finished(conversation_id)
        events.close()
        seen = [event async for event in events]
    assert (outcome.reason, outcome.interrupted, outcome.position_us) == ("publisher_lost", False, 100_000)
    bodies = [event.body for event in seen if isinstance(event, PlayerEvent)]
    assert [body for body in bodies if isinstance(body, Finished)] == [outcome.by_device["lobby"]]
    assert any(isinstance(body, Dropped) for body in bodies)
    assert device.bytes[conversation_id, Kind.AUDIO] == bytes(3_200)


async def test_what_was_handed_over_whole_is_completed_though_its_publisher_was_away_for_long() -> None:
    """The relay has forgotten the publisher, and still reports the end of what plays to it."""
    async with (
        pair("over grpc", hold_finished=True, publisher_lease_us=200_000) as (_, device, relay, address),
        proxied(address) as (proxy, through),
        Publisher.connect(through, publisher_id="backend") as publisher,
    ):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(bytes(32_000), end=True)
        await device.until_ended()
        proxy.flowing.clear()
        proxy.cut()
        await until_closed(publisher)
        while any(known.key == "backend" for known in relay.publishers.known()):  # noqa: ASYNC110 - the relay tells nobody
            await asyncio.sleep(0.05)
        events = avatar.events()
        proxy.flowing.set()
        while not publisher.is_connected:  # noqa: ASYNC110 - the library tells nobody
            await asyncio.sleep(0)
        await device.release()
        outcome = await avatar.finished(conversation_id)
        events.close()
        seen = [event async for event in events]
    assert outcome.reason == "completed"
    assert not [event for event in seen if isinstance(event, ConversationError)]
    assert not [event for event in seen if isinstance(event, PlayerEvent) and isinstance(event.body, Dropped)]


async def test_a_line_that_swallows_everything_is_left_for_another() -> None:
    """Also if hello gets no answer, after an established stream: attempts continue (in Python 3.11 they once ended here)."""
    async with pair("in process") as (_, _, relay, _):
        line = Breakable(relay)
        dead = FakeLink(lambda _: [])
        links = iter([line.connect, None, line.connect])

        async def connect() -> RelayLink:
            make = next(links)
            return dead if make is None else await make()

        async with Publisher(connect) as publisher:
            line.links[0].cut()
            await dead.until_said(PublisherHello)
            while len(line.links) < 2:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)
            await publisher.flush()
