"""The door: a publisher's stream whose conversations may be at any relay of the cluster.

What concerns a device that is here goes to a port of this relay, as without a cluster. The rest goes through tunnels, one for each home, in
the bytes that it came in. The door keeps no conversation: what a publisher needs when it comes back is at the homes, and any door asks
them. When a tunnel breaks, or a device moves, the publisher's stream ends as MOVED. It comes back at once, and goes on where the devices
are.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from typing import Protocol

from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS
from avatar_relay.messages import (
    AtRelay,
    ConversationError,
    DeviceVolume,
    EventAck,
    Finished,
    GoAway,
    Ping,
    PlayerEvent,
    Pong,
    PublisherHello,
    PublisherWelcome,
    PublishOpen,
    ToPublisher,
    UnknownEvent,
)
from avatar_relay.reasons import Fault, Reason
from relay_server.backplane.backplane import BackplaneError
from relay_server.cluster.barriers import Barriers
from relay_server.cluster.waiting_opens import WaitingOpens
from relay_server.connections.ports import Port
from relay_server.connections.publishers import PublisherPort, Publishers

logger = logging.getLogger(__name__)

HERE = ""
"""This relay, among the places where a conversation may be."""
MAX_WAITING = 4_096
"""Messages that may wait for a publisher which does not read; then its stream ends, and the homes keep what it has to be told."""
AGAIN_MS = 200
RETRY_MS = 1_000


class Passage(Protocol):
    """A way to a home, for one publisher's stream."""

    def say(self, message: AtRelay, data: bytes) -> None:
        """Have a message sent with the next `flush`; `data` are its bytes, empty where it was made or changed here."""
        ...

    async def flush(self) -> None:
        """Send what waits, in one message where it fits."""
        ...

    async def close(self) -> None:
        """The publisher is gone."""
        ...


class Ways(Protocol):
    """The cluster, as a door sees it."""

    async def home_of(self, device_id: str) -> str | None:
        """The name of a device's home, `HERE` for this relay, None for nobody. Raises `BackplaneError`."""
        ...

    def expects(self, device_id: str) -> bool:
        """Whether a device that nobody has now may be on its way from one relay to another."""
        ...

    def give_up(self, device_id: str) -> None:
        """It did not come."""
        ...

    async def homes_of_publisher(self, key: str) -> tuple[str, ...]:
        """The other relays that know a publisher, as far as they answer."""
        ...

    async def open_passage(self, home: str, port: DoorPort, hello: PublisherHello) -> tuple[Passage, PublisherWelcome]:
        """A way there, and the home's answer to hello. Raises `BackplaneError`, and `FaultError` where the home refuses."""
        ...

    def members_of(self, target: str) -> tuple[str, ...]:
        """The devices that a target stands for."""
        ...


class LocalSide(PublisherPort):
    """The door's port to its own relay."""

    def __init__(self, publishers: Publishers, owner: str, door: DoorPort) -> None:
        super().__init__(publishers, owner)
        self._door = door

    def wake(self) -> None:
        """There may be something to send, or the relay ended it."""
        super().wake()
        if self.ended and not self._door.ended:
            self._door.end(self.fault)
        self._door.wake()


class DoorPort(Port[ToPublisher]):
    """One publisher's stream."""

    def __init__(self, publishers: Publishers, owner: str, ways: Ways) -> None:
        super().__init__()
        self.owner = owner
        self._ways = ways
        self._passages: dict[str, Passage] = {}
        self._routes: dict[str, str] = {}
        self._places: dict[str, str] = {}
        """Of devices that are elsewhere, as events showed them."""
        self._finished: deque[str] = deque()
        self._barriers = Barriers()
        self._down: deque[ToPublisher] = deque()
        self._hello: PublisherHello | None = None
        self._is_greeted = False
        self._taken: list[PublisherWelcome] = []
        self.local = LocalSide(publishers, owner, self)
        self._waiting = WaitingOpens(self)

    # --- from the publisher ----------------------------------------------------------------------------------------

    async def send(self, message: AtRelay, data: bytes = b"") -> None:
        """Say something; `data` are its bytes. Raises `PeerError` where it ends the stream."""
        self.check_open()
        if self._hello is None and not isinstance(message, PublisherHello):
            await self.local.send(message)  # typed by hand: this relay's devices only
            return
        match message:
            case PublisherHello():
                await self._greet(message)
            case PublishOpen():
                await self._open(message)
            case Ping():
                self._barriers.ping((HERE, *self._passages))
                for place in (HERE, *self._passages):
                    await self._say(place, message, data)
            case EventAck():
                await self._say(self._places.get(message.device_id, HERE), message, data)
            case DeviceVolume():
                await self._set_volume(message, data)
            case _ if self._waiting.keeps(message, data):
                pass
            case _:
                await self._say(self._routes.get(message.conversation_id, HERE), message, data)

    async def _set_volume(self, message: DeviceVolume, data: bytes) -> None:
        try:
            home = await self._ways.home_of(message.device_id) or HERE
            if home != HERE and home not in self._passages and (await self._open_passage(home)).taken:
                self._come_back(f"relay {home} has conversations of this publisher")
                return
        except BackplaneError as error:
            fault = Fault(Reason.RELAY_UNREACHABLE, f"device {message.device_id} cannot be reached now: {error}", "volume", RETRY_MS)
            self._tell(ConversationError("", fault, message.device_id))
            return
        await self._say(home, message, data)

    async def _say(self, place: str, message: AtRelay, data: bytes) -> None:
        passage = self._passages.get(place)
        if passage is not None:
            passage.say(message, data)
        else:
            await self.local.send(message)

    async def _greet(self, hello: PublisherHello) -> None:
        """Welcome a publisher with what all homes took of its conversations."""
        if self._hello is None and hello.session_token:
            key = f"{self.owner}/{hello.publisher_id}" if self.owner else hello.publisher_id
            self._hello = hello
            for home in await self._ways.homes_of_publisher(key):
                try:
                    welcome = await self._open_passage(home)
                except BackplaneError as error:
                    logger.info("publisher %s: relay %s is not there: %s", hello.publisher_id, home, error)
                else:
                    self._taken.append(welcome)
        self._hello = hello
        await self.local.send(hello)
        if (answer := self.local.next()) is not None:
            self.hear(HERE, answer)  # the welcome, before all else
        self._is_greeted = True
        self.wake()

    async def _open(self, message: PublishOpen) -> None:
        """Open it where its devices are, or when those that are on their way have come."""
        try:
            places = await self._places_of(message)
        except BackplaneError as error:
            await self._unreachable(message, error)
            return
        if message.held is None and set(places.values()) == {None} and any([self._ways.expects(device_id) for device_id in places]):
            self._waiting.begin(message)
        else:
            await self._open_at(message, places)

    async def _open_at(self, message: PublishOpen, places: dict[str, str | None]) -> None:
        conversation_id = message.open.conversation_id
        known = {device_id: place for device_id, place in places.items() if place is not None}
        homes = set(known.values())
        if homes <= {HERE} or (message.held is not None and len(known) < len(places)):
            self._routes.pop(conversation_id, None)
            await self.local.send(message)  # which also says what is wrong with unknown ones
        elif len(homes) > 1:
            text = f"its devices are at {len(homes)} relays; a conversation goes to devices of one relay"
            self._tell(ConversationError(conversation_id, Fault(Reason.RELAY_UNREACHABLE, text, "targets")))
        else:
            await self._open_through(homes.pop(), replace(message, targets=tuple(known)))

    async def _open_through(self, home: str, message: PublishOpen) -> None:
        try:
            if home not in self._passages and (await self._open_passage(home)).taken:
                self._come_back(f"relay {home} has conversations of this publisher")
                return
        except BackplaneError as error:
            await self._unreachable(message, error)
            return
        self._routes[message.open.conversation_id] = home
        await self._say(home, message, b"")

    async def _unreachable(self, message: PublishOpen, error: BackplaneError) -> None:
        """New conversations wait; those that were open before are asked for again by the library."""
        if message.held is None and not self._waiting.has(message.open.conversation_id):
            self._waiting.begin(message)
            return
        fault = Fault(Reason.DEVICE_UNKNOWN, f"devices at other relays cannot be reached now: {error}", "targets", AGAIN_MS)
        if message.held is None:
            fault = replace(fault, reason=Reason.RELAY_UNREACHABLE, retry_after_ms=RETRY_MS)
        self._tell(ConversationError(message.open.conversation_id, fault))

    async def _places_of(self, message: PublishOpen) -> dict[str, str | None]:
        devices = [device_id for target in message.targets for device_id in self._ways.members_of(target)]
        return {device_id: await self._ways.home_of(device_id) for device_id in devices}

    async def open_waiting(self, message: PublishOpen, *, last: bool) -> bool:
        """Try to open one that waits; `last`: say what is wrong if that cannot be. Returns whether it waits no more."""
        try:
            places = await self._places_of(message)
        except BackplaneError as error:
            if last:
                await self._unreachable(message, error)
            return last
        if set(places.values()) == {None} and not last:
            return False
        for device_id in [device_id for device_id, place in places.items() if place is None]:
            self._ways.give_up(device_id)
        await self._open_at(message, places)
        return True

    async def pass_on(self, message: AtRelay, data: bytes) -> None:
        """What came behind an opening that waited."""
        await self._say(self._routes.get(getattr(message, "conversation_id", ""), HERE), message, data)

    async def flush(self) -> None:
        """Send on what waits for homes. To be called when a message of the publisher was handled."""
        for passage in tuple(self._passages.values()):
            await passage.flush()

    async def _open_passage(self, home: str) -> PublisherWelcome:
        assert self._hello is not None
        self._passages[home], welcome = await self._ways.open_passage(home, self, self._hello)
        for taken in welcome.taken:
            self._routes[taken.cursor.conversation_id] = home
        return welcome

    # --- to the publisher ------------------------------------------------------------------------------------------

    def next(self) -> ToPublisher | None:
        """See `Port`."""
        if self._hello is not None and not self._is_greeted:
            return None
        while not self._down:
            message = self.local.next()
            if message is None:
                return None
            self.hear(HERE, message)
        return self._down.popleft()

    def hear(self, place: str, message: ToPublisher) -> None:
        """A relay says something."""
        match message:
            case PublisherWelcome() if place == HERE:
                taken = {item.cursor.conversation_id: item for welcome in (message, *self._taken) for item in welcome.taken}
                self._taken.clear()
                self._down.appendleft(replace(message, taken=tuple(taken.values())))
                return
            case Pong():
                answer = self._barriers.pong(place, message, tells_time=place == HERE) if self._hello is not None else message
                if answer is None:
                    return
                message = answer
            case GoAway() if place != HERE:
                return  # its tunnel ends soon; this stream is not asked to wait
            case PlayerEvent() | UnknownEvent():
                self._note_event(message, place)
        self._tell(message)

    def _note_event(self, event: PlayerEvent | UnknownEvent, place: str) -> None:
        """Its acknowledgement goes where it came from; a conversation that is finished needs its route for a while only."""
        if place == HERE:
            self._places.pop(event.device_id, None)
            return
        self._places[event.device_id] = place
        if isinstance(event, PlayerEvent) and isinstance(event.body, Finished):
            self._finished.append(event.conversation_id)
            if len(self._finished) > MAX_CLOSED_CONVERSATIONS:
                self._routes.pop(self._finished.popleft(), None)

    def _tell(self, message: ToPublisher) -> None:
        self._down.append(message)
        if len(self._down) > MAX_WAITING:
            text = "this publisher reads too slowly: too many messages wait; it may come again"
            self.end(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=RETRY_MS))
        self.wake()

    # --- its end ---------------------------------------------------------------------------------------------------

    def passage_ended(self, home: str, fault: Fault | None) -> None:
        """A home, or the way to it, is gone: the publisher comes back, and finds its devices."""
        if fault is not None and fault.reason is Reason.REPLACED:
            self.end(fault)
        elif not self.ended:
            self._come_back(f"relay {home}: {'it ended the stream' if fault is None else fault.text}")

    def _come_back(self, why: str) -> None:
        self.end(Fault(Reason.MOVED, why))

    def finish_sending(self) -> None:
        """Nothing more will be sent. Conversations elsewhere are ended by their homes when the lease is over."""
        self.local.finish_sending()

    async def close_passages(self) -> None:
        """The publisher is gone, and the homes begin its lease."""
        self._waiting.close()
        passages, self._passages = self._passages, {}
        for passage in passages.values():
            await passage.close()

    def close(self) -> None:
        """See `Port`."""
        self.end()
        self.local.close()
