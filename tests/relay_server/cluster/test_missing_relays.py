"""What a door says of a device that it does not find while a relay is silent: complete relays in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from avatar_relay.messages import ConversationError, DeviceVolume, Opened, PublisherHello, PublishOpen, ToPublisher, Volume
from avatar_relay.reasons import Reason
from avatar_relay.v1 import admin_service_pb2 as admin_pb
from relay_server.cluster.admin import ClusterAdmin
from relay_server.cluster.directory import FRESH_US
from relay_server.cluster.door import DoorPort
from relay_server.cluster.frames import TUNNEL_VERSION
from relay_server.cluster.members import MISSING_US
from relay_server.cluster.waiting_opens import WAIT_S
from relay_server.errors import RequestError
from tests.lab.memory_backplane import MemoryBus
from tests.races.node import Node
from tests.races.virtual_loop import run_virtual
from tests.relay_server.core.test_adoption import C1
from tests.relay_server.relay_dsl import hello


class TwoRelays:
    """Relay `x`, and relay `y` with the door; both have run for some time."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        numbers = itertools.count(1)
        self.x, self.y = (Node(name, self.bus, self.clock, numbers, TUNNEL_VERSION, has_links=False) for name in "xy")

    def clock(self) -> int:
        """Virtual time in µs."""
        return round(self.now_s * 1e6)

    @property
    def now_s(self) -> float:
        """Virtual time in seconds."""
        return asyncio.get_running_loop().time()

    async def begin(self) -> DoorPort:
        """Start both, and greet a publisher at `y`."""
        await self.x.start()
        await self.y.start()
        await asyncio.sleep(FRESH_US / 1e6)
        return await self.door()

    async def door(self) -> DoorPort:
        """The port of a further publisher at `y`."""
        door = self.y.connect_publisher()
        await door.send(PublisherHello("backend", 1, "test"))
        await door.receive()
        return door

    async def told(self, door: DoorPort, message: Any) -> tuple[ToPublisher, float]:
        """Send a message; return the next one to the publisher that is about a conversation or a volume, and how many seconds it took."""
        began_s = self.now_s
        await door.send(message)
        while not isinstance(answer := await door.receive(), Opened | ConversationError):
            pass
        return answer, self.now_s - began_s


def reason(answer: ToPublisher) -> Reason | str:
    """What an answer means."""
    return answer.fault.reason if isinstance(answer, ConversationError) else type(answer).__name__


LOBBY = PublishOpen(C1, ("lobby",))
BOTH = PublishOpen(replace(C1, conversation_id="c2"), ("lobby", "desk"))


@pytest.mark.parametrize("after_s", [0.0, 0.7, 3.0])
def test_a_device_that_attached_as_its_relay_fell_silent_is_waited_for(after_s: float) -> None:
    """Its claim was lost. Whether the relay is missing already, or its next heartbeat is only due: the door cannot know the device."""

    async def work() -> None:
        relays = TwoRelays()
        door = await relays.begin()
        with relays.bus.partition("x"):
            await relays.x.relay.connect_device().send(hello("lobby"))
            await asyncio.sleep(after_s)
            opening = asyncio.create_task(relays.told(door, LOBBY))
            await asyncio.sleep(12.0)
            assert not opening.done(), opening.result()
        answer, _ = await opening
        assert reason(answer) == "Opened"

    run_virtual(work())


def test_the_devices_of_a_relay_that_returns_are_waited_for() -> None:
    """Its heartbeat may come before it has claimed them all."""

    async def work() -> None:
        relays = TwoRelays()
        door = await relays.begin()
        with relays.bus.partition("x"):
            await asyncio.sleep(3.0)
        await asyncio.sleep(0.6)
        opening = asyncio.create_task(relays.told(door, LOBBY))
        await asyncio.sleep(0.8)
        await relays.x.relay.connect_device().send(hello("lobby"))
        assert reason((await opening)[0]) == "Opened"

    run_virtual(work())


@pytest.mark.parametrize(
    ("killed", "expected", "least_s", "most_s"),
    [
        (False, Reason.DEVICE_UNKNOWN, 0.0, 1.0),
        (True, Reason.RELAY_UNREACHABLE, WAIT_S - 1.0, WAIT_S + 1.0),
    ],
)
def test_an_unknown_device_is_refused_in_bounded_time(*, killed: bool, expected: Reason, least_s: float, most_s: float) -> None:
    """Within a heartbeat if all relays are there, and after the time of a moving device if one is not. One that is lost is forgotten."""

    async def work() -> None:
        relays = TwoRelays()
        door = await relays.begin()
        if killed:
            await relays.x.kill()
        answer, seconds = await relays.told(door, LOBBY)
        assert (reason(answer), least_s <= seconds <= most_s) == (expected, True), seconds
        await asyncio.sleep(MISSING_US / 1e6)
        answer, seconds = await relays.told(await relays.door(), LOBBY)
        assert (reason(answer), seconds <= 1.0) == (Reason.DEVICE_UNKNOWN, True)

    run_virtual(work())


def test_a_conversation_that_left_a_device_out_does_not_give_it_up_for_others() -> None:
    """Of several devices, those that are there wait for 2 s, and only once. A conversation for the other one alone waits for it."""

    async def work() -> None:
        relays = TwoRelays()
        door = await relays.begin()
        await relays.y.relay.connect_device().send(hello("desk"))
        await relays.x.relay.connect_device().send(hello("lobby"))
        await asyncio.sleep(1.0)
        with relays.bus.partition("x"):
            _, seconds = await relays.told(door, BOTH)
            assert 1.9 < seconds < 2.5
            _, seconds = await relays.told(await relays.door(), replace(BOTH, open=replace(C1, conversation_id="c3")))
            assert seconds < 0.5
            third = await relays.door()
            opening = asyncio.create_task(relays.told(third, LOBBY))
            await asyncio.sleep(5.0)
            assert not opening.done(), opening.result()
        answer, _ = await opening
        assert reason(answer) == "Opened"

    run_virtual(work())


def test_a_volume_and_a_conversation_by_hand_cannot_wait() -> None:
    """They are told that a relay cannot be reached, and may try again; not that the device is unknown."""

    async def work() -> None:
        relays = TwoRelays()
        door = await relays.begin()
        for trouble, expected in ((relays.bus.partition("x"), Reason.RELAY_UNREACHABLE), (nullcontext(), Reason.DEVICE_UNKNOWN)):
            with trouble:
                await asyncio.sleep(6.0)
                for sender, message in ((door, DeviceVolume("lobby", Volume(0.5))), (relays.y.connect_publisher(), LOBBY)):
                    answer, seconds = await relays.told(sender, message)
                    assert (reason(answer), seconds < 0.1) == (expected, True)

    run_virtual(work())


def test_an_operator_is_told_that_a_relay_is_silent() -> None:
    """Not that the device is unknown, which is final."""

    async def work() -> None:
        relays = TwoRelays()
        await relays.begin()
        admin = ClusterAdmin(relays.y.relay, None, None, relays.y._cluster)  # type: ignore[arg-type]  # nothing speaks
        for trouble, expected in ((relays.bus.partition("x"), Reason.RELAY_UNREACHABLE), (nullcontext(), Reason.DEVICE_UNKNOWN)):
            with trouble:
                await asyncio.sleep(6.0)
                with pytest.raises(RequestError) as refused:
                    await admin.get_device(admin_pb.GetDeviceRequest(device_id="lobby"))
                assert refused.value.fault.reason is expected

    run_virtual(work())
