"""The schedule by which the relay services its devices."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from avatar_relay import wire
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Kind, Payload
from avatar_relay.messages import Media, Ping, Pong, PublishOpen, Welcome
from avatar_relay.reasons import Reason
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.publishers import PublisherPort
from relay_server.connections.relay import Relay
from relay_server.core.congestion import CongestionWindow
from relay_server.core.device_outbox import JoinedMessages, MediaMessage
from relay_server.core.session import Session
from tests.relay_server.relay_dsl import hello

DEVICES = 20
STEP_US = 50_000


def pinged(session: Session, now_us: int) -> int:
    """Return the number of pings waiting for a device, and answer them."""
    count = 0
    while (message := session.take(now_us)) is not None:
        if isinstance(message, Ping):
            session.flight.answered(message.ping_id, now_us)
            count += 1
    return count


async def test_devices_that_come_together_are_not_asked_together() -> None:
    """After the first ping, each device gets one per heartbeat, spread over it: twenty pings and pongs at once would delay all media."""
    now_us = 1_000_000
    config = RelayConfig()
    relay = Relay(config, Clocks(lambda: now_us, lambda: 0), random_bytes=lambda count: b"r" * count, encode=wire.encode_payload)
    for number in range(DEVICES):
        await relay.connect_device().send(hello(f"device-{number}"))
    relay.tick()
    assert {pinged(session, now_us) for session in relay.sessions()} == {1}
    asked, at_once = Counter[str](), 0
    for _ in range(2 * config.heartbeat_us // STEP_US):
        now_us += STEP_US
        relay.tick()
        pings = Counter({session.device_id: pinged(session, now_us) for session in relay.sessions()})
        at_once = max(at_once, pings.total())
        asked += pings
    assert at_once <= 3
    assert set(asked.values()) == {2}
    assert len(asked) == DEVICES


class Paced:
    """A relay with one device on a manual clock; each step is one tick, and the device answers its pings."""

    def __init__(self, *, slow_when_idle: bool, takes_joined: bool = False) -> None:
        self.now_us = 1_000_000
        self.config = RelayConfig()
        self.relay = Relay(
            self.config, Clocks(lambda: self.now_us, lambda: 0), random_bytes=lambda count: b"r" * count, encode=wire.encode_payload
        )
        self.port = self.relay.connect_device()
        self.hello = replace(hello("lobby"), slow_when_idle=slow_when_idle, takes_joined=takes_joined)

    async def pings(self, seconds: float, *, answers: bool = True) -> int:
        """Return the number of pings within the given time."""
        count = 0
        for _ in range(round(seconds * 1e6 / STEP_US)):
            self.now_us += STEP_US
            self.relay.tick()
            while (message := self.port.next()) is not None:
                for one in message.messages if isinstance(message, JoinedMessages) else [message]:
                    if isinstance(one, Ping):
                        count += 1
                        if answers:
                            await self.port.send(Pong(one.ping_id, one.sent_time_us, 0, 0, 0))
        return count

    async def open(self) -> PublisherPort:
        """Open a conversation and return its publisher."""
        publisher = self.relay.connect_publisher()
        await publisher.send(PublishOpen(ConversationOpen("c1", AudioFormat(Codec.PCM_S16LE, 16_000)), ("lobby",)))
        return publisher


async def test_an_idle_device_that_can_do_that_is_pinged_rarely() -> None:
    """Every four seconds while idle; at once and then every second when a conversation begins."""
    paced = Paced(slow_when_idle=True)
    await paced.port.send(paced.hello)
    await paced.pings(5.0)
    assert await paced.pings(40.0) == 10
    await paced.open()
    assert await paced.pings(0.1) == 1
    assert await paced.pings(10.0) == 10


async def test_any_other_device_keeps_its_heartbeat() -> None:
    """A device that does not support rare pings would consider the relay dead."""
    paced = Paced(slow_when_idle=False)
    await paced.port.send(paced.hello)
    await paced.pings(2.0)
    assert await paced.pings(10.0) == 10


@pytest.mark.parametrize("begins_after_s", [None, 5.0])
async def test_a_dead_device_is_found_later_only_while_it_is_idle(begins_after_s: float | None) -> None:
    """Within 15 s if idle. When a conversation begins, silence counts from that moment, and is detected within 5 s."""
    paced = Paced(slow_when_idle=True)
    await paced.port.send(paced.hello)
    await paced.pings(1.0)
    paced.relay.sessions()[0].flight = CongestionWindow()  # no ping in flight: only silence is evidence
    waited_s = 0.0
    while not paced.port.ended and waited_s < 20.0:
        if begins_after_s is not None and waited_s >= begins_after_s:
            await paced.open()
            assert not paced.port.ended
            begins_after_s, waited_s = None, 15.0
        await paced.pings(0.25, answers=False)
        paced.relay.sessions()[0].flight = CongestionWindow()
        waited_s += 0.25
    assert paced.port.ended
    assert waited_s <= (12.5 if waited_s < 15.0 else 19.5)


@pytest.mark.parametrize(("talks", "reason"), [(False, Reason.PEER_SILENT), (True, Reason.LIMIT_REACHED)])
async def test_an_idle_device_that_answers_no_ping_is_said_to_be_silent_unless_it_talks(talks: bool, reason: Reason) -> None:
    """A device behind a half-open link is not one that reads too slowly. Either is given up 4 s after a ping that comes every 4 s."""
    paced = Paced(slow_when_idle=True)
    await paced.port.send(paced.hello)
    await paced.pings(5.0)
    waited_s = 0.0
    while not paced.port.ended and waited_s < 9.0:
        if talks:
            await paced.port.send(Ping(1, 0))
        await paced.pings(0.25, answers=False)
        waited_s += 0.25
    assert paced.port.fault is not None
    assert paced.port.fault.reason is reason


def media(seq: int) -> Media:
    """100 ms of sound."""
    return Media("c1", (Payload(Kind.AUDIO, seq, bytes(3_200), pts_us=(seq - 1) * 100_000, duration_us=100_000),))


@pytest.mark.parametrize("takes_joined", [True, False])
async def test_heartbeats_travel_with_media_to_a_device_that_takes_that(takes_joined: bool) -> None:
    """While media flows, pings and pongs need no messages of their own, and are as frequent; an older device gets each one separately."""
    paced = Paced(slow_when_idle=True, takes_joined=takes_joined)
    await paced.port.send(paced.hello)
    publisher = await paced.open()
    await paced.pings(1.0)
    sent, woken, asked = Counter[str](), set[bool](), list[Ping]()
    paced.port.wake = lambda: woken.add(True)
    for seq in range(1, 101):
        paced.now_us += 100_000
        await publisher.send(media(seq))
        paced.relay.tick()
        while woken:
            woken.clear()
            while (message := paced.port.next()) is not None:
                messages = message.messages if isinstance(message, JoinedMessages) else [message]
                sent["messages"] += 1
                sent.update([type(one).__name__ for one in messages])
                asked += [one for one in messages if isinstance(one, Ping)]
            while asked:
                ping = asked.pop()
                await paced.port.send(Pong(ping.ping_id, ping.sent_time_us, 0, 0, 0), alone=not takes_joined)
                await paced.port.send(Ping(ping.ping_id, 0), alone=not takes_joined)
    assert sent["MediaMessage"] == 100
    assert 10 <= sent["Ping"] <= 16  # the first ones also request received bytes
    assert sent["Pong"] in (sent["Ping"], sent["Ping"] - 1)
    assert sent["messages"] == (100 if takes_joined else 100 + sent["Ping"] + sent["Pong"])


async def test_a_ping_that_confirms_media_postpones_the_next_heartbeat() -> None:
    """Both prove the same. No two pings are further apart than a heartbeat."""
    paced = Paced(slow_when_idle=True, takes_joined=True)
    await paced.port.send(paced.hello)
    publisher = await paced.open()
    await paced.pings(1.0)
    asked_us: list[int] = []
    for seq in range(1, 201):
        paced.now_us += 100_000
        await publisher.send(Media("c1", (Payload(Kind.AUDIO, seq, bytes(26_000 if seq % 7 == 0 else 3_200), pts_us=seq * 100_000),)))
        paced.relay.tick()
        while (message := paced.port.next()) is not None:
            for one in message.messages if isinstance(message, JoinedMessages) else [message]:
                if isinstance(one, Ping):
                    asked_us.append(paced.now_us)
                    await paced.port.send(Pong(one.ping_id, one.sent_time_us, 0, 0, 0), alone=False)
    gaps_us = [later - earlier for earlier, later in pairwise(asked_us[-20:])]
    assert max(gaps_us) <= paced.config.heartbeat_us
    assert min(gaps_us) >= paced.config.heartbeat_us // 2


async def test_what_waits_for_a_device_that_takes_that_is_one_message() -> None:
    """Joined up to the end of the first media, and at most sixteen messages."""
    paced = Paced(slow_when_idle=True, takes_joined=True)
    await paced.port.send(paced.hello)
    publisher = await paced.open()
    await publisher.send(media(1))
    await publisher.send(media(2))
    welcome = paced.port.next()
    assert isinstance(welcome, JoinedMessages)
    assert [type(message) for message in welcome.messages] == [Welcome, ConversationOpen, MediaMessage, Ping]
    session = paced.relay.sessions()[0]
    for ping_id in range(20):
        session.outbox.put(Ping(ping_id, 0))
    first, second = paced.port.next(), paced.port.next()
    assert isinstance(first, JoinedMessages)
    assert isinstance(second, JoinedMessages)
    assert (len(first.messages), len(second.messages)) == (16, 5)


async def test_a_ping_that_came_with_others_waits_for_the_next_message() -> None:
    """A ping that arrives alone is answered at once: the device may be waiting for it."""
    paced = Paced(slow_when_idle=True, takes_joined=True)
    await paced.port.send(paced.hello)
    await paced.pings(1.0)
    woken: list[int] = []
    paced.port.wake = lambda: woken.append(1)
    await paced.port.send(Ping(7, 0), alone=False)
    assert woken == []
    await paced.port.send(Ping(8, 0))
    assert woken == [1]
    answers = paced.port.next()
    assert isinstance(answers, JoinedMessages)
    assert [message.ping_id for message in answers.messages if isinstance(message, Pong)] == [7, 8]
