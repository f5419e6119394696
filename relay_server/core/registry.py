"""Registry of devices, groups, publishers and conversations. Pure.

Rules
- A publisher is CONNECTED while its stream is open, then AWAY until its lease ends.
- Messages for a publisher that is away are queued, within the bounds of `Backlog`; the oldest are dropped first.
- Media for a conversation that is not open yet is held, up to a time and a size, then dropped and reported.
- A group resolves to its members that have a session; a member that joins later starts with the next conversation.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from avatar_relay.limits import MAX_CLOSED_CONVERSATIONS, UNKNOWN_CONVERSATION_HOLD_BYTES, UNKNOWN_CONVERSATION_HOLD_US
from avatar_relay.media import Cursor, Payload
from avatar_relay.messages import (
    ConversationCredit,
    ConversationError,
    Dropped,
    Finished,
    PlayerEvent,
    Pong,
    PublisherWelcome,
    ToPublisher,
)
from avatar_relay.reasons import Reason
from relay_server.core.allowance import Allowance
from relay_server.core.backlog import Backlog, Unacknowledged
from relay_server.core.conversation import Conversation
from relay_server.core.pending_record import PendingRecords
from relay_server.core.session import Session
from relay_server.core.settings_record import SettingsRecord
from relay_server.core.volume_record import VolumeRecord

MAX_TOLD_ONCE = 256
"""Finished events, and totals of dropped motion, made by the relay that are kept for a publisher whose stream breaks."""
MAX_UNOPENED_BYTES = 32 << 20
"""Limit on media of conversations not opened yet, for all publishers together."""
PAYLOAD_OVERHEAD_BYTES = 256
"""Memory counted for a held payload in addition to its data, so that many tiny ones are bounded too."""


@dataclass(slots=True)
class Unopened:
    """Media that arrived before its `open`."""

    expires_at_us: int
    payloads: list[Payload] = field(default_factory=list)


@dataclass(slots=True)
class UnopenedBytes:
    """Bytes of media that arrived before its `open`, for all publishers together."""

    held: int = 0


class PublisherRecord:
    """A publisher and its state."""

    def __init__(self, key: str, token: str, *, by_hand: bool, owner: str, allowance: Allowance, unopened_bytes: UnopenedBytes) -> None:
        """`owner` is its identity, empty if there is none; `unopened_bytes` is shared by all publishers."""
        self.key = key
        self.owner = owner
        self.token = token
        self.by_hand = by_hand
        """It sent no hello, as with grpcurl: it gets no credit and acknowledges nothing."""
        self.allowance = allowance
        """Rate limit on its payloads."""
        self.connected = True
        self.expires_at_us = 0
        """End of the lease while it is away."""
        self.stream_number = 0
        """The number of its last stream; see `stream_numbers`."""
        self.last_opened = ""
        self.conversations: set[str] = set()
        self.closed: dict[str, None] = {}
        """Its last conversations that were closed or could not be opened."""
        self.unopened: dict[str, Unopened] = {}
        self._unopened_bytes = 0
        self._all_unopened = unopened_bytes
        self.backlog = Backlog()
        """Messages queued for it."""
        self.told_once: deque[PlayerEvent] = deque(maxlen=MAX_TOLD_ONCE)
        """Finished events made by the relay, which no device repeats: resent to a publisher that reconnects."""
        self.drops: dict[tuple[str, int], PlayerEvent] = {}
        """The last report of each count of dropped motion, by device and `count_id`: its total is resent to a publisher that reconnects."""
        self._unacknowledged = Unacknowledged()
        """Player events not acknowledged by it. They are resent: acknowledging a later one must not cover one lost on a broken stream."""
        self.missed = 0
        """Messages dropped because it was away or read too slowly."""

    def tell(self, message: ToPublisher) -> None:
        """Queue a message; beyond the bounds, the oldest is dropped and counted."""
        self.missed += self.backlog.append(message)
        if isinstance(message, PlayerEvent) and not message.event_id and isinstance(message.body, Finished):
            self.told_once.append(message)
        elif isinstance(message, PlayerEvent) and isinstance(message.body, Dropped) and message.body.count_id:
            total = replace(message, body=replace(message.body, payloads=0, bytes=0))
            self.drops[message.device_id, message.body.count_id] = total
            if len(self.drops) > MAX_TOLD_ONCE:
                del self.drops[next(iter(self.drops))]
        elif isinstance(message, PlayerEvent) and message.event_id:
            self._unacknowledged.add(message)

    def acknowledge(self, device_id: str, event_id: int) -> None:
        """The publisher has all events of a device up to this one."""
        self._unacknowledged.acknowledge(device_id, event_id)

    def come_back(self, welcome: PublisherWelcome, missed: Iterable[ToPublisher]) -> None:
        """Begin a new stream of the same session: unacknowledged messages are resent. Queued credit is dropped, as `missed` restates it;
        so are pongs, which would answer pings of the new stream, and answers that the earlier stream had not opened a conversation."""
        told = self._unacknowledged
        waiting = [message for message in self.backlog if not _concerns_one_stream(message) and message not in told]
        self.backlog.begin([welcome, *missed])
        for message in (*self.drops.values(), *self.told_once, *told.all(), *waiting):
            self.missed += self.backlog.append(message)

    def proves(self, token: str) -> bool:
        """Whether `token` is this publisher's. Compares in constant time."""
        return bool(token) and hmac.compare_digest(token.encode(), self.token.encode())

    def close(self, conversation_id: str) -> None:
        """Record that a conversation is closed."""
        self.conversations.discard(conversation_id)
        self.closed[conversation_id] = None
        if len(self.closed) > MAX_CLOSED_CONVERSATIONS:
            del self.closed[next(iter(self.closed))]

    def hold(self, conversation_id: str, payload: Payload, now_us: int) -> bool:
        """Hold media until its conversation is opened; returns False if there is no room."""
        cost = len(payload.data) + PAYLOAD_OVERHEAD_BYTES
        if self._unopened_bytes + cost > UNKNOWN_CONVERSATION_HOLD_BYTES or self._all_unopened.held + cost > MAX_UNOPENED_BYTES:
            return False
        self._unopened_bytes += cost
        self._all_unopened.held += cost
        expires_at_us = now_us + UNKNOWN_CONVERSATION_HOLD_US
        self.unopened.setdefault(conversation_id, Unopened(expires_at_us)).payloads.append(payload)
        return True

    def release(self, conversation_id: str) -> list[Payload]:
        """Return the media held for a conversation, and stop holding it."""
        unopened = self.unopened.pop(conversation_id, None)
        if unopened is None:
            return []
        cost = sum(len(payload.data) + PAYLOAD_OVERHEAD_BYTES for payload in unopened.payloads)
        self._unopened_bytes -= cost
        self._all_unopened.held -= cost
        return unopened.payloads


class Registry:
    """Sessions, publishers and conversations, each by its id."""

    def __init__(self, groups: Mapping[str, tuple[str, ...]]) -> None:
        self.groups = groups
        self.in_cluster = False
        """Whether a device that is away may be at another relay, and have received its conversations there."""
        self.sessions: dict[str, Session] = {}
        self.pending_volumes = PendingRecords(VolumeRecord)
        self.pending_settings = PendingRecords(SettingsRecord)
        self.publishers: dict[str, PublisherRecord] = {}
        self.conversations: dict[str, Conversation] = {}
        self.unopened_bytes = UnopenedBytes()

    def conversations_of(self, owner: str) -> int:
        """The number of open conversations of an identity's publishers."""
        return sum([len(publisher.conversations) for publisher in self.publishers.values() if publisher.owner == owner])

    def resolve(self, target: str) -> tuple[Session, ...]:
        """The sessions of a target, which is a device or a group; only those that exist."""
        names = self.groups.get(target, (target,))
        return tuple(self.sessions[name] for name in names if name in self.sessions)

    def on_devices(self, conversation: Conversation) -> list[Session]:
        """The sessions that still receive a conversation's media."""
        return [self.sessions[device_id] for device_id in conversation.delivering]

    def held_by_all(self, conversation: Conversation) -> Cursor:
        """The media that each device that still receives the conversation holds."""
        cid = conversation.conversation_id
        held = [session.deliveries[cid].held for session in self.on_devices(conversation)] or [Cursor(cid)]
        return Cursor(cid, min([cursor.audio_seq for cursor in held]), min([cursor.motion_seq for cursor in held]))

    def close(self, conversation: Conversation) -> None:
        """Remove a conversation that has finished on all its devices."""
        self.conversations.pop(conversation.conversation_id, None)
        publisher = self.publishers.get(conversation.publisher)
        if publisher is not None:
            publisher.close(conversation.conversation_id)


def _concerns_one_stream(message: ToPublisher) -> bool:
    if isinstance(message, ConversationError):
        return message.fault.reason is Reason.CONVERSATION_UNKNOWN
    return isinstance(message, ConversationCredit | Pong)
