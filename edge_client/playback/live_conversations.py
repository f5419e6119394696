"""Registry of the live conversations on this device, and how media and commands that name one are handled.

Rules of the registry:
1. An id is never seen, live or closed, in this order and never back. Only `open` makes one live.
2. `REPLACE` closes all live conversations; `QUEUE` appends to them. The first is the head: the one that plays.
3. Messages that name a never-seen id are held for `UNKNOWN_CONVERSATION_HOLD_US` and up to `UNKNOWN_CONVERSATION_HOLD_BYTES` over all ids,
   and returned when the id is opened. Opening a live id again changes nothing.
4. Messages that name a closed id are dropped; the last `MAX_CLOSED_CONVERSATIONS` ids are remembered.
5. Audio-only is final: motion after it is dropped. So is media after `end`.
6. Closing succeeds once: that is the one `finished` of a conversation.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass, field

from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS, UNKNOWN_CONVERSATION_HOLD_BYTES, UNKNOWN_CONVERSATION_HOLD_US
from avatar_relay.media import ConversationOpen, Kind, OnPlaying, Payload
from avatar_relay.messages import AudioOnly, ConversationEnd, Media, Pause, Resume
from avatar_relay.reasons import DropReason

Holdable = Media | AudioOnly | ConversationEnd | Pause | Resume
"""Messages that may arrive before their `open`."""

_MESSAGE_COST_BYTES = 64
"""Size of a held message beyond its data, so that empty ones are bounded too."""


class ConversationState(enum.Enum):
    """State of a conversation id."""

    NEVER_SEEN = "never seen"
    LIVE = "live"
    CLOSED = "closed"


@dataclass(slots=True)
class LiveConversation:
    """A live conversation, as far as its rules are concerned."""

    opened: ConversationOpen
    audio_only: bool = False
    end: ConversationEnd | None = None
    paused: bool = False

    @property
    def conversation_id(self) -> str:
        """Its id."""
        return self.opened.conversation_id

    @property
    def expects_motion(self) -> bool:
        """Whether it has motion."""
        return self.opened.motion_format is not None and not self.audio_only

    def refusal(self, payload: Payload) -> DropReason | None:
        """Why a payload is refused; None if it is accepted."""
        if self.end is not None:
            last = self.end.last_audio_seq if payload.kind is Kind.AUDIO else self.end.last_motion_seq
            if payload.seq > last:
                return DropReason.AFTER_END
        if payload.kind is Kind.MOTION and self.opened.motion_format is None:
            return DropReason.NO_MOTION_FORMAT
        if payload.kind is Kind.MOTION and self.audio_only:
            return DropReason.AUDIO_ONLY
        return None


@dataclass(frozen=True, slots=True)
class OpenedConversation:
    """Result of `open`: a new conversation, the replaced ones, and the messages held for it."""

    conversation: LiveConversation
    replaced: tuple[str, ...]
    held: tuple[Holdable, ...]


@dataclass(slots=True)
class _Held:
    since_us: int
    messages: list[Holdable] = field(default_factory=list)
    cost: int = 0


class LiveConversations:
    """All conversations of a device. Not thread-safe."""

    def __init__(self) -> None:
        self._live: OrderedDict[str, LiveConversation] = OrderedDict()
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._held_cost = 0

    @property
    def live(self) -> tuple[LiveConversation, ...]:
        """The live conversations, in order of playback."""
        return tuple(self._live.values())

    def standing(self, conversation_id: str) -> ConversationState:
        """The state of an id."""
        if conversation_id in self._live:
            return ConversationState.LIVE
        return ConversationState.CLOSED if conversation_id in self._closed else ConversationState.NEVER_SEEN

    def open(self, message: ConversationOpen) -> OpenedConversation | None:
        """Make a never-seen id live. Any other id returns None and changes nothing."""
        conversation_id = message.conversation_id
        if self.standing(conversation_id) is not ConversationState.NEVER_SEEN:
            return None
        replaced = tuple(self._live) if message.on_playing is OnPlaying.REPLACE else ()
        conversation = LiveConversation(message)
        self._live[conversation_id] = conversation
        return OpenedConversation(conversation, replaced, self._release(conversation_id))

    def close(self, conversation_id: str) -> bool:
        """Close an id permanently, even if never seen; False if it is already closed."""
        if conversation_id in self._closed:
            return False
        self._live.pop(conversation_id, None)
        self._closed[conversation_id] = None
        while len(self._closed) > MAX_CLOSED_CONVERSATIONS:
            self._closed.popitem(last=False)
        return True

    def hold(self, message: Holdable, now_us: int) -> bool:
        """Hold a message that names a never-seen id; False if it does not fit."""
        cost = _MESSAGE_COST_BYTES + (data_bytes(message) if isinstance(message, Media) else 0)
        if self._held_cost + cost > UNKNOWN_CONVERSATION_HOLD_BYTES:
            return False
        held = self._held.setdefault(message.conversation_id, _Held(now_us))
        held.messages.append(message)
        held.cost += cost
        self._held_cost += cost
        return True

    def expire(self, now_us: int) -> list[tuple[str, tuple[Holdable, ...]]]:
        """Remove and return messages held too long, by id."""
        late = [key for key, held in self._held.items() if now_us - held.since_us >= UNKNOWN_CONVERSATION_HOLD_US]
        return [(key, self._release(key)) for key in late]

    def forget(self, conversation_id: str) -> tuple[Holdable, ...]:
        """Remove and return the messages held for an id."""
        return self._release(conversation_id)

    def _release(self, conversation_id: str) -> tuple[Holdable, ...]:
        held = self._held.pop(conversation_id, None)
        if held is None:
            return ()
        self._held_cost -= held.cost
        return tuple(held.messages)


def data_bytes(media: Media) -> int:
    """Bytes of payload data in a message."""
    return sum(len(payload.data) for payload in media.payloads)
