"""Opens the conversations of one publisher's stream: at its own relay at once, elsewhere where their devices are found.

Rules

- Devices may move between the look-up and the opening. A relay that has not all of its devices any more opens nothing; the door looks
  again, and opens the conversation, or the missing parts, at the new homes. `WaitingOpens` bounds the attempts.
- A new conversation of which no device is there now, but one may be moving, waits for it, and also until each relay was heard: one that is
  silent may have the device. If other devices are there, they wait for at most `MEMBER_WAIT_S`, and only for a device that was there.
- A conversation that is opened again (`held`) waits for nothing: the library asks again.
- A relay at which all devices of a part have finished refuses it (CONVERSATION_ID_TAKEN): the part is left out.
- It is not opened again on a device whose end was passed on to the publisher. If the device never knew the conversation, only the relay
  that ended it knows that; at another relay it would play, and end again with another reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from avatar_relay.messages import AtRelay, ConversationError, Ping, PublishOpen, ToPublisher
from avatar_relay.reasons import Fault, Reason
from relay_server.backplane.backplane import BackplaneError
from relay_server.cluster.barriers import Barriers
from relay_server.cluster.parts import ConversationParts
from relay_server.cluster.waiting_opens import ANSWER_S, MAX_WAITING_OPENS, WAIT_S, Opens, WaitingOpens
from relay_server.cluster.ways import HERE, Ways

MEMBER_WAIT_S = 2.0
"""How long the devices of a conversation wait for another one that is moving between relays."""
AGAIN_MS = 200
RETRY_MS = 1_000


class OpeningDoor(Opens, Protocol):
    """The door, as openings see it."""

    parts: ConversationParts
    barriers: Barriers

    async def has_way_to(self, home: str) -> bool:
        """Whether a passage to `home` exists or was opened now.

        If the home already has conversations of this publisher, the stream ends instead, so that the publisher reconnects and continues
        with them. Raises `BackplaneError`.
        """
        ...

    async def say(self, places: tuple[str, ...], message: AtRelay, data: bytes) -> None:
        """Queue a message for these relays; handle it if it is for this one. Raises `PeerError`."""
        ...

    def tell(self, message: ToPublisher) -> None:
        """Queue a message for the publisher."""
        ...

    def note_route(self, conversation_id: str, homes: tuple[str, ...]) -> None:
        """Note where the messages of a conversation go from now on."""
        ...

    def has_ended(self, conversation_id: str, device_id: str) -> bool:
        """Whether the end of a conversation on a device was passed on to the publisher on this stream."""
        ...


class Openings:
    """The openings of one publisher's stream."""

    def __init__(self, door: OpeningDoor, ways: Ways) -> None:
        self._door = door
        self._ways = ways
        self._waiting = WaitingOpens(door, self._try)
        self.has, self.keeps, self.close = self._waiting.has, self._waiting.keeps, self._waiting.close
        self.refused, self.answered = self._waiting.refused, self._waiting.answered

    async def open(self, message: PublishOpen, *, greeted: bool) -> None:
        """Open a conversation, now or in a task of its own; `greeted`: the publisher has said hello. Raises `PeerError`."""
        conversation_id, devices = message.open.conversation_id, self._devices_of(message)
        if not greeted:
            await self._by_hand(message, devices)
        elif self._waiting.has(conversation_id):
            text = f"conversation {conversation_id} is being opened already; a new one needs a new id"
            self._door.tell(ConversationError(conversation_id, Fault(Reason.CONVERSATION_ID_TAKEN, text, "open.conversation_id")))
        elif (
            all([self._ways.is_here(device_id) for device_id in devices])
            and not self._door.parts.has(conversation_id)
            and not self._waiting.concerns(devices)
        ):
            await self._here(message)
        elif self._waiting.is_full:
            fault = Fault(Reason.LIMIT_REACHED, f"{MAX_WAITING_OPENS} conversations of this stream are being opened", "open", RETRY_MS)
            self._door.tell(ConversationError(conversation_id, fault))
        else:
            self._waiting.begin(message, devices)

    async def _here(self, message: PublishOpen) -> None:
        conversation_id, devices = message.open.conversation_id, self._devices_of(message)
        left = self._unfinished(conversation_id, devices)
        if devices and not left:
            self._door.tell(_is_over(conversation_id))
            return
        self._door.note_route(conversation_id, (HERE,))
        if len(left) < len(devices):
            message = replace(message, targets=left)
        await self._door.say((HERE,), message, b"")  # which also reports unknown devices

    async def _by_hand(self, message: PublishOpen, devices: Sequence[str]) -> None:
        """Open the conversation of a publisher without hello, which cannot wait."""
        try:
            places = await self._places_of(devices)
            known = {device_id: place for device_id, place in places.items() if place is not None}
            homes = tuple(dict.fromkeys(known.values()))
            if not known:
                self._ways.check_all_told()
            if homes in ((), (HERE,)):
                await self._here(message)
                return
            if len(homes) > 1:
                fault = Fault(Reason.RELAY_UNREACHABLE, "its devices are at several relays: say hello first", "targets")
                self._door.tell(ConversationError(message.open.conversation_id, fault))
                return
            await self._door.has_way_to(homes[0])
        except BackplaneError as error:
            self._unreachable(message, error)
            return
        self._door.note_route(message.open.conversation_id, homes)
        self._tell_unknown(message, known)
        await self._door.say(homes, replace(message, targets=tuple(known)), b"")

    # --- in the task of a conversation -----------------------------------------------------------------------------

    async def _try(self, message: PublishOpen, waited_s: float) -> bool:
        last, ways = waited_s >= WAIT_S, self._ways
        try:
            all_told = ways.all_told(waited_s)  # before the devices are looked for
            places = await self._places_of(self._devices_of(message))
            among_others = set(places.values()) != {None}
            away = [name for name, place in places.items() if place is None and ways.expects(name, among_others=among_others)]
            if message.held is None and (away or not (all_told or among_others)):
                if waited_s < (MEMBER_WAIT_S if among_others else WAIT_S):
                    return False
                for device_id in away:
                    ways.give_up(device_id, among_others=among_others)
                if not among_others:
                    ways.check_all_told()
            return await self._at(message, places, last=last)
        except BackplaneError as error:
            if not last and message.held is None:
                return False
            self._unreachable(message, error)
            return True

    async def _at(self, message: PublishOpen, places: Mapping[str, str | None], *, last: bool) -> bool:
        """Open a conversation at these places; False if devices have moved since, and it is not the last attempt.

        Raises `BackplaneError` if a home cannot be reached; nothing is opened then.
        """
        door, conversation_id = self._door, message.open.conversation_id
        known = {device_id: place for device_id, place in places.items() if place is not None}
        homes = tuple(dict.fromkeys(known.values()))
        in_parts = len(homes) > 1 or door.parts.has(conversation_id)
        if (homes in ((), (HERE,)) and not in_parts) or (message.held is not None and len(known) < len(places)):
            if not last and not self._are_still_here(known):
                return False
            await self._here(message)
            return True
        if not all([await door.has_way_to(home) for home in homes]):
            return True
        door.note_route(conversation_id, homes)
        errors = await self._ask(message, known, homes, in_parts=in_parts)
        has_moved = any(error.fault.reason is Reason.DEVICE_UNKNOWN for error in errors)
        if has_moved and not last:
            return False
        opened = tuple(home for home in homes if door.parts.has(conversation_id, home))
        if has_moved and not opened:
            await self._here(message)  # which reports them, and closes the id
            return True
        if opened:
            door.note_route(conversation_id, opened)
            errors = [error for error in errors if error.fault.reason is not Reason.CONVERSATION_ID_TAKEN]
        self._tell_unknown(message, known)
        for told in [*errors, *(door.parts.answered(conversation_id) if in_parts else ())]:
            door.tell(told)
        return True

    async def _ask(
        self, message: PublishOpen, known: Mapping[str, str], homes: tuple[str, ...], *, in_parts: bool
    ) -> list[ConversationError]:
        """Open a conversation at each of its homes, except those that have their part already; returns their errors."""
        door, conversation_id = self._door, message.open.conversation_id
        if in_parts:
            door.parts.begin(conversation_id)
        answer = self._waiting.ask(conversation_id)
        for home in homes:
            if in_parts and door.parts.has(conversation_id, home):
                continue
            there = {device_id: home for device_id in self._unfinished(conversation_id, known) if known[device_id] == home}
            if not there:
                self.refused(_is_over(conversation_id))
            elif self._are_still_here(there):
                await door.say((home,), replace(message, targets=tuple(there), is_part=in_parts), b"")
            else:
                self.refused(ConversationError(conversation_id, Fault(Reason.DEVICE_UNKNOWN, "a device has just moved", "targets")))
        door.barriers.ping(homes, own=conversation_id)
        await door.say(homes, Ping(0, 0), b"")
        if (waiting := door.flush()) is not None:
            await waiting
        async with asyncio.timeout(ANSWER_S):
            return await answer

    # --- within ----------------------------------------------------------------------------------------------------

    def _devices_of(self, message: PublishOpen) -> list[str]:
        return list(dict.fromkeys(device_id for target in message.targets for device_id in self._ways.members_of(target)))

    async def _places_of(self, devices: Sequence[str]) -> dict[str, str | None]:
        return {device_id: await self._ways.home_of(device_id) for device_id in devices}

    def _unfinished(self, conversation_id: str, devices: Collection[str]) -> tuple[str, ...]:
        """Those of the devices on which a conversation has not ended."""
        return tuple(device_id for device_id in devices if not self._door.has_ended(conversation_id, device_id))

    def _are_still_here(self, places: Mapping[str, str]) -> bool:
        return all([self._ways.is_here(device_id) for device_id, place in places.items() if place == HERE])

    def _tell_unknown(self, message: PublishOpen, known: Mapping[str, str]) -> None:
        for target in message.targets:
            if not any([device_id in known for device_id in self._ways.members_of(target)]):
                fault = Fault(Reason.DEVICE_UNKNOWN, f"no relay knows a device or group of the name {target[:64]!r}", "targets")
                self._door.tell(ConversationError(message.open.conversation_id, fault))

    def _unreachable(self, message: PublishOpen, error: BackplaneError) -> None:
        """Report an error. The library opens previously open conversations again."""
        fault = Fault(Reason.DEVICE_UNKNOWN, f"devices at other relays cannot be reached now: {error}", "targets", AGAIN_MS)
        if message.held is None:
            fault = replace(fault, reason=Reason.RELAY_UNREACHABLE, retry_after_ms=RETRY_MS)
        self._door.tell(ConversationError(message.open.conversation_id, fault))


def _is_over(conversation_id: str) -> ConversationError:
    """As a relay answers that has ended it."""
    fault = Fault(Reason.CONVERSATION_ID_TAKEN, f"conversation {conversation_id} is over; a new one needs a new id", "open.conversation_id")
    return ConversationError(conversation_id, fault)
