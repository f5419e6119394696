"""A publisher's door, with relays that answer when the test decides."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from avatar_relay import wire
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Cursor
from avatar_relay.messages import (
    AtRelay,
    ConversationError,
    Finished,
    Interrupt,
    Opened,
    Ping,
    PlayerEvent,
    Pong,
    PublisherHello,
    PublisherWelcome,
    PublishOpen,
    Taken,
)
from avatar_relay.reasons import Fault, Reason
from relay_server.cluster import openings, waiting_opens
from relay_server.cluster.door import DoorPort
from relay_server.cluster.ways import PassageUser
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay


class FakePassage:
    """Records what is said. Relay `b` answers pings, and opens conversations, except on the devices in `SlowWays.moved`."""

    def __init__(self, home: str, ways: SlowWays, port: PassageUser) -> None:
        self.said: list[AtRelay] = []
        self.forwarded: list[bytes] = []
        self._home, self._ways, self._port = home, ways, port

    def say(self, message: AtRelay, data: bytes) -> None:
        """See `Passage`."""
        self.said.append(message)
        if isinstance(message, Ping):
            self._port.hear(self._home, Pong(message.ping_id, 0, 0, 0, 0))
        if isinstance(message, PublishOpen):
            conversation_id = message.open.conversation_id
            if self._ways.moved.get(message.targets[0], self._home) != self._home:
                self._port.hear(self._home, ConversationError(conversation_id, Fault(Reason.DEVICE_UNKNOWN, "moved")))
            else:
                self._port.hear(self._home, Opened(conversation_id, message.targets))

    def forward(self, data: bytes) -> None:
        """See `Passage`."""
        self.forwarded.append(data)

    def flush(self) -> None:
        """See `Passage`."""

    def say_all(self) -> None:
        """See `Passage`."""

    def close(self) -> None:
        """See `Passage`."""


class SlowWays:
    """All devices are at relay `b` at the first look, those in `moved` then at another one. Tunnels are accepted once `answers` is set."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.passages: dict[str, FakePassage] = {}
        self.moved: dict[str, str] = {}
        self.looks = Counter[str]()

    async def home_of(self, device_id: str) -> str | None:
        """See `Ways`."""
        self.looks[device_id] += 1
        return "b" if self.looks[device_id] == 1 else self.moved.get(device_id, "b")

    def is_here(self, device_id: str) -> bool:
        """See `Ways`."""
        del device_id
        return False

    def expects(self, device_id: str, *, among_others: bool) -> bool:
        """See `Ways`."""
        del device_id, among_others
        return False

    def give_up(self, device_id: str, *, among_others: bool) -> None:
        """See `Ways`."""

    def all_told(self, within_s: float) -> bool:
        """See `Ways`."""
        del within_s
        return True

    def check_all_told(self) -> None:
        """See `Ways`."""

    async def homes_of_publisher(self, key: str) -> tuple[str, ...]:
        """See `Ways`."""
        del key
        return ()

    async def open_passage(self, home: str, port: PassageUser, hello: PublisherHello | None) -> tuple[FakePassage, tuple[Taken, ...]]:
        """See `Ways`."""
        del hello
        assert home not in self.passages, "of two passages to one home, the second replaces the first"
        self.passages[home] = FakePassage(home, self, port)
        await self.answers.wait()
        return self.passages[home], ()

    def members_of(self, target: str) -> tuple[str, ...]:
        """See `Ways`."""
        return (target,)

    def opened_at(self, home: str) -> list[str]:
        """The conversations that a home was asked to open."""
        return [said.open.conversation_id for said in self.passages[home].said if isinstance(said, PublishOpen)]


def new_relay() -> Relay:
    """The door's own relay."""
    return Relay(RelayConfig(), Clocks(lambda: 0, lambda: 0), random_bytes=lambda count: b"r" * count, encode=wire.encode_payload)


async def greeted(ways: SlowWays) -> DoorPort:
    """A door whose publisher has said hello."""
    door = DoorPort(new_relay().publishers, "", ways)
    await door.send(PublisherHello("backend", 1, "test"))
    assert isinstance(await door.receive(), PublisherWelcome)
    return door


def opening(conversation_id: str, device_id: str) -> PublishOpen:
    """A new conversation."""
    return PublishOpen(ConversationOpen(conversation_id, AudioFormat(Codec.OPUS)), (device_id,))


async def test_conversations_that_begin_together_share_one_passage() -> None:
    """Several waited for the backplane: a second hello at the same home would end the first passage, and the publisher with it."""
    ways = SlowWays()
    async with asyncio.timeout(30):
        door = await greeted(ways)
        for number in range(3):
            await door.send(opening(f"c{number}", f"d{number}"))
        await asyncio.sleep(0)
        ways.answers.set()
        opened = [await door.receive() for _ in range(3)]
    assert opened == [Opened(f"c{number}", (f"d{number}",)) for number in range(3)]
    assert ways.opened_at("b") == ["c0", "c1", "c2"]


def ways_to_a_moved_device() -> SlowWays:
    """The device `lobby` has moved to relay `c` since it was looked up; relays answer at once."""
    ways = SlowWays()
    ways.moved["lobby"] = "c"
    ways.answers.set()
    return ways


async def test_a_device_that_moves_before_the_opening_is_looked_for_again() -> None:
    """Its first home does not have it any more: the conversation, and what followed, go to the next one, in the order of the publisher."""
    ways = ways_to_a_moved_device()
    async with asyncio.timeout(30):
        door = await greeted(ways)
        await door.send(opening("c0", "lobby"))
        await door.send(Interrupt("c0"))
        await door.send(opening("c1", "lobby"))
        assert [await door.receive() for _ in range(2)] == [Opened("c0", ("lobby",)), Opened("c1", ("lobby",))]
        await door.send(Interrupt("c1"))
    assert ways.opened_at("b") == ["c0"]
    assert [said for said in ways.passages["c"].said if not isinstance(said, Ping)] == [
        opening("c0", "lobby"),
        Interrupt("c0"),
        opening("c1", "lobby"),
        Interrupt("c1"),
    ]


class EndingWays(SlowWays):
    """Relay `b` has the publisher, tells of a conversation, and ends the tunnel with `fault` before this relay has welcomed it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault

    async def homes_of_publisher(self, key: str) -> tuple[str, ...]:
        """See `Ways`."""
        del key
        return ("b",)

    async def open_passage(self, home: str, port: PassageUser, hello: PublisherHello | None) -> tuple[FakePassage, tuple[Taken, ...]]:
        """See `Ways`."""
        self.answers.set()
        opened = await super().open_passage(home, port, hello)
        port.hear(home, Opened("c0", ("d0",)))
        port.passage_ended(home, self._fault)
        return opened


@pytest.mark.parametrize(
    ("reason", "told"),
    [(Reason.PEER_SILENT, Reason.MOVED), (Reason.REPLACED, Reason.REPLACED), (Reason.MESSAGE_INVALID, Reason.MESSAGE_INVALID)],
)
async def test_a_home_that_ends_during_the_welcome(reason: Reason, told: Reason) -> None:
    """The stream ends; nothing comes before the welcome. What the publisher would repeat is final."""
    ways = EndingWays(Fault(reason, "it ended"))
    door = DoorPort(new_relay().publishers, "", ways)
    await door.send(PublisherHello("backend", 1, "test", session_token="token"))
    first = door.next()
    assert first is None or isinstance(first, PublisherWelcome)
    assert door.ended
    assert door.fault is not None and door.fault.reason is told


async def test_the_end_of_a_conversation_that_was_over_before_the_stream_is_passed_on() -> None:
    """A relay reports it to a publisher that reconnects through another door. What a relay says of a conversation elsewhere is a guess."""
    ways = SlowWays()
    ways.answers.set()
    async with asyncio.timeout(30):
        door = await greeted(ways)
        await door.send(opening("c0", "d0"))
        assert await door.receive() == Opened("c0", ("d0",))
        ends = [PlayerEvent(0, cid, Finished(0, True, "interrupted"), "d0") for cid in ("c0", "earlier")]
        for end in ends:
            door.hear("c", end)
        assert await door.receive() == ends[1]


def replaced(conversation_id: str, device_id: str) -> PlayerEvent:
    """An end made by a relay, for a device that did not know the conversation."""
    return PlayerEvent(0, conversation_id, Finished(0, interrupted=True, reason="replaced"), device_id)


@pytest.mark.parametrize("under_way", [False, True])
async def test_what_a_relay_has_ended_is_not_opened_at_another_one(*, under_way: bool) -> None:
    """The publisher asks for it before it hears the end; the device never knew it, and would report a second end."""
    ways = SlowWays()
    again = replace(opening("c0", "lobby"), held=Cursor("c0"))
    async with asyncio.timeout(30):
        door = await greeted(ways)
        if under_way:
            await door.send(again)
            await asyncio.sleep(0)
            assert ways.passages
        door.hear("c", replaced("c0", "lobby"))
        assert await door.receive() == replaced("c0", "lobby")
        ways.answers.set()
        if not under_way:
            await door.send(again)
        told = await door.receive()
        assert isinstance(told, ConversationError)
        assert (told.conversation_id, told.fault.reason) == ("c0", Reason.CONVERSATION_ID_TAKEN)
        await door.send(opening("c1", "lobby"))
        assert await door.receive() == Opened("c1", ("lobby",))
    assert ways.opened_at("b") == ["c1"]


class GuessingWays(SlowWays):
    """Relay `b` has ended conversations of a device that is at relay `c` now, without knowing; there one is open, and one has finished."""

    async def homes_of_publisher(self, key: str) -> tuple[str, ...]:
        """See `Ways`."""
        del key
        return ("b", "c")

    async def open_passage(self, home: str, port: PassageUser, hello: PublisherHello | None) -> tuple[FakePassage, tuple[Taken, ...]]:
        """See `Ways`."""
        self.answers.set()
        passage, _ = await super().open_passage(home, port, hello)
        if home == "c":
            port.hear(home, FINISHED)
            return passage, (Taken(Cursor("open", 1)),)
        for conversation_id in ("open", "finished", "replaced"):
            port.hear(home, replaced(conversation_id, "lobby"))
        return passage, ()


FINISHED = PlayerEvent(3, "finished", Finished(20_000, interrupted=False, reason="completed"), "lobby")


async def test_an_end_made_by_a_relay_counts_only_if_no_other_relay_knows_more() -> None:
    """The relays are asked one after another when the publisher reconnects, and the first one guesses."""
    door = DoorPort(new_relay().publishers, "", GuessingWays())
    await door.send(PublisherHello("backend", 1, "test", session_token="token"))
    told = []
    while (message := door.next()) is not None:
        told.append(message)
    assert isinstance(told[0], PublisherWelcome)
    assert told[0].taken == (Taken(Cursor("open", 1)),)
    assert told[1:] == [FINISHED, replaced("replaced", "lobby")]


async def test_a_conversation_of_a_group_is_opened_again_where_it_has_not_ended() -> None:
    """The end on one member is final there, and the others go on."""
    ways = SlowWays()
    ways.answers.set()
    async with asyncio.timeout(30):
        door = await greeted(ways)
        door.hear("c", replaced("c0", "d0"))
        assert await door.receive() == replaced("c0", "d0")
        await door.send(PublishOpen(opening("c0", "d0").open, ("d0", "d1"), Cursor("c0")))
        assert await door.receive() == Opened("c0", ("d1",))


async def test_the_conversations_that_wait_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher of one device could otherwise begin any number of tasks at its door. What waits is not affected."""
    monkeypatch.setattr(waiting_opens, "MAX_WAITING_OPENS", 2)
    ways = SlowWays()
    async with asyncio.timeout(30):
        door = await greeted(ways)
        for number in range(3):
            await door.send(opening(f"c{number}", "lobby"))
        told = await door.receive()
        assert isinstance(told, ConversationError)
        assert (told.conversation_id, told.fault.reason) == ("c2", Reason.LIMIT_REACHED)
        ways.answers.set()
        assert [await door.receive() for _ in range(2)] == [Opened(f"c{number}", ("lobby",)) for number in range(2)]
        await asyncio.sleep(0)
        await door.send(opening("c3", "lobby"))
        assert await door.receive() == Opened("c3", ("lobby",))
    assert ways.opened_at("b") == ["c0", "c1", "c3"]


async def test_a_device_that_is_named_twice_is_looked_up_once() -> None:
    """Each look-up is a message on the backplane."""
    ways = SlowWays()
    ways.answers.set()
    async with asyncio.timeout(30):
        door = await greeted(ways)
        await door.send(replace(opening("c0", "lobby"), targets=("lobby",) * 200))
        assert await door.receive() == Opened("c0", ("lobby",))
    assert ways.looks["lobby"] == 1


async def test_a_ping_is_not_answered_for_the_stream_before() -> None:
    """A pong that the publisher did not read in time would answer the first ping of its next stream, and be taken for a barrier."""
    ways, publishers = SlowWays(), new_relay().publishers
    first, second = DoorPort(publishers, "", ways), DoorPort(publishers, "", ways)
    await first.send(PublisherHello("backend", 1, "test"))
    welcome = await first.receive()
    assert isinstance(welcome, PublisherWelcome)
    await first.send(Ping(1, 0))
    await second.send(PublisherHello("backend", 1, "test", session_token=welcome.session_token))
    await second.send(Ping(2, 0))
    assert isinstance(second.next(), PublisherWelcome)
    answer = second.next()
    assert isinstance(answer, Pong)
    assert answer.ping_id == 2


async def test_a_device_that_is_never_found_is_reported_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each relay says that it is at another one: the attempts are limited, and the stream survives."""
    monkeypatch.setattr(openings, "WAIT_S", 0.0)
    ways = ways_to_a_moved_device()
    async with asyncio.timeout(30):
        door = await greeted(ways)
        await door.send(opening("c0", "lobby"))
        told = await door.receive()
        assert isinstance(told, ConversationError)
        assert (told.conversation_id, told.fault.reason) == ("c0", Reason.DEVICE_UNKNOWN)
        await door.send(opening("c1", "desk"))
        assert await door.receive() == Opened("c1", ("desk",))
