"""The door: a publisher's stream whose conversations may be at any relay of the cluster.

Messages for a device of this relay go to a port of this relay, as without a cluster. Others go through tunnels, one for each home, in their
original bytes; a conversation with devices at several homes goes to all of these (`parts`). The door stores no conversation: what a
publisher needs when it reconnects is stored at the homes, and any door can ask them. If a tunnel breaks, or a device moves, the publisher's
stream ends as MOVED. The publisher reconnects at once, and continues where the devices are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Sequence
from dataclasses import replace

from avatar_relay import wire
from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS
from avatar_relay.messages import (
    AtRelay,
    ConversationError,
    DeviceVolume,
    EventAck,
    Finished,
    GoAway,
    Opened,
    Ping,
    PlayerEvent,
    Pong,
    PublishedMedia,
    PublisherHello,
    PublisherWelcome,
    PublishOpen,
    Taken,
    ToPublisher,
    UnknownEvent,
)
from avatar_relay.reasons import Fault, Reason
from avatar_relay.wire.media_route import media_in
from relay_server.backplane.backplane import BackplaneError
from relay_server.cluster.barriers import Barriers
from relay_server.cluster.openings import Openings
from relay_server.cluster.parts import ConversationParts
from relay_server.cluster.ways import HERE, Passage, Ways
from relay_server.connections.ports import Port
from relay_server.connections.publishers import PublisherPort, Publishers

logger = logging.getLogger(__name__)

MAX_WAITING = 4_096
"""Maximum messages queued for a publisher that does not read. Beyond it the stream ends; the homes keep unacknowledged events."""
RETRY_MS = 1_000
FINAL = frozenset({Reason.REPLACED, Reason.MESSAGE_INVALID, Reason.MESSAGE_TOO_LARGE})
"""Faults of a home that end the publisher's stream as they are: it would repeat what it did."""


class LocalSide(PublisherPort):
    """The door's port to its own relay."""

    def __init__(self, publishers: Publishers, owner: str, door: DoorPort) -> None:
        super().__init__(publishers, owner)
        self._door = door
        self.wake = self._wake_door

    def _wake_door(self) -> None:
        if self.ended and not self._door.ended:
            self._door.end(self.fault)
        self._door.wake()

    def parts(self) -> tuple[str, ...]:
        """Conversations of which this relay has a part."""
        return self._publishers.parts_of(self)

    def knows(self, conversation_id: str) -> bool:
        """Whether this relay has or had a conversation of the publisher."""
        publisher = self.publisher
        return publisher is not None and (conversation_id in publisher.conversations or conversation_id in publisher.closed)


class DoorPort(Port[ToPublisher]):
    """The port of one publisher's stream."""

    def __init__(self, publishers: Publishers, owner: str, ways: Ways) -> None:
        super().__init__()
        self.owner = owner
        self._ways = ways
        self._passages: dict[str, Passage] = {}
        self._opening = defaultdict[str, asyncio.Lock](asyncio.Lock)
        self._routes: dict[str, tuple[str, ...]] = {}
        self.parts = ConversationParts()
        self._by_hand_at: tuple[str, ...] = (HERE,)
        """Where the last opened conversation of a publisher without hello (typed by hand) is."""
        self._places: dict[str, str] = {}
        """The relay of each device that is elsewhere, as seen in events."""
        self._ended: dict[str, set[str]] = {}
        """The devices of each conversation whose end was passed on."""
        self.barriers = Barriers()
        self._down: deque[ToPublisher] = deque()
        self._hello: PublisherHello | None = None
        self._is_greeted = False
        self._has_moved = False
        self._taken: list[Taken] = []
        self._early_ends: list[tuple[str, PlayerEvent]] = []
        """Ends made by homes, until all of them have told what they have."""
        self.local = LocalSide(publishers, owner, self)
        self._openings = Openings(self, ways)
        self._farewell: asyncio.Future[None] | None = None

    # --- from the publisher ----------------------------------------------------------------------------------------

    async def send(self, message: AtRelay, data: bytes = b"") -> None:
        """Forward a publisher's message; `data` are its bytes. Raises `PeerError` if it ends the stream."""
        self.check_open()
        match message:
            case PublisherHello():
                await self._greet(message)
            case PublishOpen():
                await self._openings.open(message, greeted=self._hello is not None)
            case Ping() if self._hello is None:
                await self.say(self._by_hand_at, message, data)
            case Ping():
                self.barriers.ping((HERE, *self._passages))
                await self.say((HERE, *self._passages), message, data)
            case EventAck():
                await self.say((self._places.get(message.device_id, HERE),), message, data)
            case DeviceVolume():
                await self._set_volume(message, data)
            case _ if self._openings.keeps(message, data):
                pass
            case _:
                await self.say(self._routes.get(message.conversation_id, self._by_hand_at), message, data)

    def take_media(self, data: bytes) -> bool:
        """Handle media of open conversations, alone or joined; what is for devices elsewhere is passed on unread.

        Returns False, and has done nothing, if the message must be read here. Raises `PeerError`.
        """
        self.check_open()
        if self._hello is None or self.local.publisher is None or self.local.ended:
            return False
        parts = media_in(data)
        here, elsewhere = list[PublishedMedia](), dict[str, list[bytes]]()
        for conversation_id, part in parts:
            if self._openings.has(conversation_id):
                return False
            for home in self._routes.get(conversation_id, (HERE,)):
                if home in self._passages:
                    elsewhere.setdefault(home, []).append(part)
                elif home == HERE and (media := wire.live_media_in(part)) is not None:
                    here.append(media)
                else:
                    return False
        for home, its_parts in elsewhere.items():
            self._passages[home].forward(data if len(its_parts) == len(parts) else wire.join_requests(its_parts))
        if here:
            self.local.send_media(here)
        return bool(parts)

    async def _set_volume(self, message: DeviceVolume, data: bytes) -> None:
        try:
            if (home := await self._ways.home_of(message.device_id)) is None:
                self._ways.check_all_told()
            home = home or HERE
            if not await self.has_way_to(home):
                return
        except BackplaneError as error:
            fault = Fault(Reason.RELAY_UNREACHABLE, f"device {message.device_id} cannot be reached now: {error}", "volume", RETRY_MS)
            self.tell(ConversationError("", fault, message.device_id))
            return
        await self.say((home,), message, data)

    async def say(self, places: tuple[str, ...], message: AtRelay, data: bytes) -> None:
        """See `OpeningDoor`."""
        for place in places:
            passage = self._passages.get(place)
            if passage is not None:
                passage.say(message, data)
            else:
                await self.local.send(message)

    async def _greet(self, hello: PublisherHello) -> None:
        """Welcome a publisher with the cursors of its conversations at all homes."""
        if self._hello is None and hello.session_token:
            key = f"{self.owner}/{hello.publisher_id}" if self.owner else hello.publisher_id
            self._hello = hello
            for home in await self._ways.homes_of_publisher(key):
                try:
                    taken = await self._open_passage(home)
                except BackplaneError as error:
                    logger.info("publisher %s: relay %s is not there: %s", hello.publisher_id, home, error)
                else:
                    self._taken += taken
        self._hello = hello
        await self.local.send(hello)
        self.parts.known(self.local.parts())
        if (answer := self.local.next()) is not None:
            self.hear(HERE, answer)  # the welcome, before all else
        self._is_greeted = not self._has_moved  # the welcome of a publisher that must come back was dropped, and nothing may precede it
        for place, end in self._early_ends:
            self.hear(place, end)
        self._early_ends.clear()
        self.wake()

    def note_route(self, conversation_id: str, homes: tuple[str, ...]) -> None:
        """See `OpeningDoor`."""
        self._routes[conversation_id] = homes
        if homes == (HERE,):
            del self._routes[conversation_id]
        if self._hello is None:
            self._by_hand_at = homes

    async def has_way_to(self, home: str) -> bool:
        """See `OpeningDoor`."""
        if home == HERE:
            return True
        async with self._opening[home]:  # of two passages to one home, the second would replace the first
            if home in self._passages or not await self._open_passage(home):
                return True
        self._come_back(f"relay {home} has conversations of this publisher")
        return False

    def has_ended(self, conversation_id: str, device_id: str) -> bool:
        """See `OpeningDoor`."""
        return device_id in self._ended.get(conversation_id, ())

    async def pass_on(self, message: AtRelay, data: bytes) -> None:
        """See `Opens`."""
        await self.say(self._routes.get(getattr(message, "conversation_id", ""), (HERE,)), message, data)

    def flush(self) -> Awaitable[None] | None:
        """Send the messages queued for homes, after each handled message of the publisher; returns what must be awaited before its next."""
        waiting = [sending for passage in self._passages.values() if (sending := passage.flush()) is not None]
        return _all_of(waiting) if waiting else None

    async def _open_passage(self, home: str) -> tuple[Taken, ...]:
        self._passages[home], taken = await self._ways.open_passage(home, self, self._hello)
        for item in taken:
            conversation_id = item.cursor.conversation_id
            before = self._routes.get(conversation_id, ()) if self.parts.has(conversation_id) else ()
            self._routes[conversation_id] = (*before, home)
        return taken

    def has_parts(self, conversation_ids: Sequence[str]) -> None:
        """Note parts that a home has of these conversations; the reconnected publisher opens them again at all their homes."""
        self.parts.known(conversation_ids)

    # --- to the publisher ------------------------------------------------------------------------------------------

    def next(self) -> ToPublisher | None:
        """See `Port`."""
        if self._hello is not None and not self._is_greeted:
            return None
        while not self._down:
            message = None if self._has_moved else self.local.next()
            if message is None:
                return None
            self.hear(HERE, message)
        return self._down.popleft()

    def hear(self, place: str, message: ToPublisher) -> None:
        """Handle a relay's message to the publisher."""
        if self._has_moved:
            return  # the relays report it on the next stream
        match message:
            case PublisherWelcome() if place == HERE:
                taken, self._taken = [*message.taken, *self._taken], []
                whole = tuple(item for item in taken if not self.parts.has(item.cursor.conversation_id))
                self._down.appendleft(replace(message, taken=whole))
                return
            case Pong():
                answer = self.barriers.pong(place, message, tells_time=place == HERE) if self._hello is not None else message
                if isinstance(answer, Pong):
                    self.tell(answer)
                elif answer is not None:
                    self._openings.answered(answer)
                return
            case ConversationError() if self._openings.refused(message):
                return
            case Opened() if self._hello is None:
                self.note_route(message.conversation_id, (place,))
            case GoAway() if place != HERE:
                return  # its tunnel ends soon; this stream need not wait
            case PlayerEvent(event_id=0, body=Finished()) if self._hello is not None and not self._is_greeted:
                self._early_ends.append((place, message))
                return
            case PlayerEvent(event_id=0, body=Finished()) if not self._may_end(message, place):
                return  # that relay had the device before, does not know where it went, and guesses
            case PlayerEvent() | UnknownEvent():
                self._note_event(message, place)
        parted = self.parts.hear(place, message)
        for told in [message] if parted is None else parted:
            self.tell(told)

    def _may_end(self, end: PlayerEvent, place: str) -> bool:
        """Whether a relay has the conversation that it says is over, or no other relay is known to: then it was over before this stream."""
        homes = self._routes.get(end.conversation_id, (HERE,) if self.local.knows(end.conversation_id) else (place,))
        return place in homes and not self.has_ended(end.conversation_id, end.device_id)

    def _note_event(self, event: PlayerEvent | UnknownEvent, place: str) -> None:
        """Note where the event's acknowledgement must go, and ends. A finished conversation needs its route for a limited time only."""
        if place == HERE:
            self._places.pop(event.device_id, None)
        else:
            self._places[event.device_id] = place
        if isinstance(event, PlayerEvent) and isinstance(event.body, Finished):
            self._ended.setdefault(event.conversation_id, set()).add(event.device_id)
            if len(self._ended) > MAX_CLOSED_CONVERSATIONS:
                oldest = next(iter(self._ended))
                del self._ended[oldest]
                self._routes.pop(oldest, None)

    def tell(self, message: ToPublisher) -> None:
        """See `OpeningDoor`."""
        self._down.append(message)
        if len(self._down) > MAX_WAITING:
            text = "this publisher reads too slowly: too many messages wait; it may reconnect"
            self.end(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=RETRY_MS))
        self.wake()

    # --- shutdown --------------------------------------------------------------------------------------------------

    def passage_ended(self, home: str, fault: Fault | None) -> None:
        """A home, or the tunnel to it, is gone: make the publisher reconnect and find its devices."""
        if (fault is not None and fault.reason in FINAL) or self._hello is None:
            self.end(fault)
        elif not self.ended:
            self._come_back(f"relay {home}: {'it ended the stream' if fault is None else fault.text}")

    def _come_back(self, why: str) -> None:
        """Make the publisher reconnect. It gets the messages received until now; later ones are for its next stream."""
        self._has_moved = True
        self._openings.close()
        self.end(Fault(Reason.MOVED, why))

    def finish_sending(self) -> None:
        """The publisher half-closed its stream. Homes end its conversations when the lease is over, those typed by hand at once."""
        if self._hello is None and self._passages:
            for passage in self._passages.values():
                passage.say_all()
            if (waiting := self.flush()) is not None:
                self._farewell = asyncio.ensure_future(waiting)
        else:
            self.local.finish_sending()

    def close_passages(self) -> None:
        """The publisher is gone: close the passages; the homes begin its lease."""
        self._openings.close()
        passages, self._passages = self._passages, {}
        for passage in passages.values():
            passage.close()

    def close(self) -> None:
        """See `Port`."""
        self.end()
        self.local.close()


async def _all_of(waiting: Sequence[Awaitable[None]]) -> None:
    await asyncio.gather(*waiting)
