"""A publisher's door, with relays that answer when the test decides."""

from __future__ import annotations

import asyncio

from avatar_relay import wire
from avatar_relay.media import AudioFormat, Codec, ConversationOpen
from avatar_relay.messages import AtRelay, PublisherHello, PublishOpen, Taken
from relay_server.cluster.door import DoorPort
from relay_server.cluster.ways import PassageUser
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay


class FakePassage:
    """Records what is said."""

    def __init__(self) -> None:
        self.said: list[AtRelay] = []

    def say(self, message: AtRelay, data: bytes) -> None:
        """See `Passage`."""
        self.said.append(message)

    async def flush(self) -> None:
        """See `Passage`."""

    def say_all(self) -> None:
        """See `Passage`."""

    async def close(self) -> None:
        """See `Passage`."""


class SlowWays:
    """All devices are at relay `b`, which accepts a tunnel once `answers` is set."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.passages: list[FakePassage] = []

    async def home_of(self, device_id: str) -> str | None:
        """See `Ways`."""
        del device_id
        return "b"

    def expects(self, device_id: str) -> bool:
        """See `Ways`."""
        del device_id
        return False

    def give_up(self, device_id: str) -> None:
        """See `Ways`."""

    async def homes_of_publisher(self, key: str) -> tuple[str, ...]:
        """See `Ways`."""
        del key
        return ()

    async def open_passage(self, home: str, port: PassageUser, hello: PublisherHello | None) -> tuple[FakePassage, tuple[Taken, ...]]:
        """See `Ways`."""
        del home, port, hello
        self.passages.append(FakePassage())
        passage = self.passages[-1]
        await self.answers.wait()
        return passage, ()

    def members_of(self, target: str) -> tuple[str, ...]:
        """See `Ways`."""
        return (target,)


async def test_conversations_that_begin_together_share_one_passage() -> None:
    """Several waited for the backplane: a second hello at the same home would end the first passage, and the publisher with it."""
    ways = SlowWays()
    relay = Relay(RelayConfig(), Clocks(lambda: 0, lambda: 0), random_bytes=lambda count: b"r" * count, encode=wire.encode_payload)
    door = DoorPort(relay.publishers, "", ways)
    await door.send(PublisherHello("backend", 1, "test"))
    opens = [PublishOpen(ConversationOpen(f"c{number}", AudioFormat(Codec.OPUS)), (f"d{number}",)) for number in range(3)]
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(door.open_waiting(message, last=False)) for message in opens]
        await asyncio.sleep(0)
        ways.answers.set()
    assert all(task.result() for task in waiting)
    (passage,) = ways.passages
    assert {message.open.conversation_id for message in passage.said if isinstance(message, PublishOpen)} == {"c0", "c1", "c2"}
