"""A publisher's conversations whose devices are at several relays: each relay has a part, and the publisher sees one. Pure.

Rules

- Messages of such a conversation go to all its relays.
- `opened` is sent when all of them have answered, with the devices of all. Their other messages about it wait until then.
- The publisher's credit follows the fastest device of all. A part accepts `PART_CREDIT_BYTES` more than its own devices allow, so that a
  slower one is bounded by the lag of its devices (`lag_bytes`), as a member of a group is.
- A fault at one relay concerns that relay's devices. The summary of a group is made here.
- A part that exists when the conversation is opened again (its publisher reconnected) continues unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from avatar_relay.media import Credit
from avatar_relay.messages import ConversationCredit, ConversationError, Finished, Opened, PlayerEvent, ToPublisher
from relay_server.core.open_conversation import PART_CREDIT_BYTES


@dataclass(slots=True)
class _Parted:
    """The state of one conversation."""

    opened: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The devices of each relay that opened it."""
    granted: dict[str, Credit] = field(default_factory=dict)
    """The total credit granted by each relay, without `PART_CREDIT_BYTES`."""
    told: Credit = field(default_factory=Credit)
    finished: dict[str, Finished] = field(default_factory=dict)
    waits: bool = True
    """Not all relays have answered yet."""
    kept: list[ToPublisher] = field(default_factory=list)

    @property
    def device_ids(self) -> tuple[str, ...]:
        return tuple(device_id for devices in self.opened.values() for device_id in devices)


class ConversationParts:
    """The conversations in parts of one publisher's stream."""

    def __init__(self) -> None:
        self._parted: dict[str, _Parted] = {}

    def has(self, conversation_id: str, place: str = "*") -> bool:
        """Whether a conversation is in parts; if `place` is given, whether that relay opened a part of it."""
        parted = self._parted.get(conversation_id)
        return parted is not None and (place == "*" or place in parted.opened)

    def known(self, conversation_ids: Iterable[str]) -> None:
        """Note conversations of which a relay has parts, after the publisher reconnected."""
        for conversation_id in conversation_ids:
            self._parted.setdefault(conversation_id, _Parted())

    def begin(self, conversation_id: str) -> None:
        """Note that a conversation is being opened at all its relays."""
        self.known([conversation_id])
        self._parted[conversation_id].waits = True

    def answered(self, conversation_id: str) -> list[ToPublisher]:
        """All relays of a conversation have answered; returns the messages to the publisher."""
        parted = self._parted[conversation_id]
        if not parted.opened:  # the reason was sent already
            del self._parted[conversation_id]
            return []
        parted.waits = False
        kept, parted.kept = parted.kept, []
        if len(parted.finished) >= len(parted.device_ids):
            del self._parted[conversation_id]
        return [Opened(conversation_id, parted.device_ids), *self._credit(conversation_id, parted), *kept]

    def hear(self, place: str, message: ToPublisher) -> list[ToPublisher] | None:
        """Handle a relay's message; returns the messages to the publisher instead, or None if its conversation is not in parts."""
        conversation_id = getattr(message, "conversation_id", "")
        parted = self._parted.get(conversation_id)
        if parted is None:
            return None
        match message:
            case Opened():
                parted.opened[place] = message.device_ids
                return []
            case ConversationCredit():
                before = parted.granted.get(place, Credit(-PART_CREDIT_BYTES, -PART_CREDIT_BYTES))
                parted.granted[place] = _sum(before, message.credit)
                return [] if parted.waits else self._credit(conversation_id, parted)
            case ConversationError(device_id="") if not parted.waits and place in parted.opened:
                return [replace(message, device_id=parted.opened[place][0])]
            case PlayerEvent(body=Finished() as body):
                told = self._finished(parted, message, body)
            case _:
                told = [message]
        if parted.waits and not isinstance(message, ConversationError):
            parted.kept += told
            return []
        if len(parted.finished) >= len(parted.device_ids) and not parted.waits:
            del self._parted[conversation_id]
        return told

    def _finished(self, parted: _Parted, event: PlayerEvent, body: Finished) -> list[ToPublisher]:
        if not event.device_id or event.device_id in parted.finished:
            return [event] if event.device_id else []
        parted.finished[event.device_id] = body
        if parted.waits or len(parted.finished) < len(parted.device_ids) or len(parted.finished) == 1:
            return [event]
        results = parted.finished.values()
        farthest = max(results, key=lambda result: result.position_us)
        summary = Finished(farthest.position_us, all(result.interrupted for result in results), farthest.reason)
        return [event, PlayerEvent(0, event.conversation_id, summary)]

    def _credit(self, conversation_id: str, parted: _Parted) -> list[ToPublisher]:
        audio = max([credit.audio_bytes for credit in parted.granted.values()], default=0)
        motion = max([credit.motion_bytes for credit in parted.granted.values()], default=0)
        more = Credit(max(0, audio - parted.told.audio_bytes), max(0, motion - parted.told.motion_bytes))
        if not more.audio_bytes and not more.motion_bytes:
            return []
        parted.told = _sum(parted.told, more)
        return [ConversationCredit(conversation_id, more)]


def _sum(one: Credit, other: Credit) -> Credit:
    return Credit(one.audio_bytes + other.audio_bytes, one.motion_bytes + other.motion_bytes)
