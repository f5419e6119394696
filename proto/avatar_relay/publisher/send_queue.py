"""Orders the messages of the publisher's stream.

Rules:
1. Control first, in the order in which it was queued; then acknowledgements, one per device; then a ping; then media.
2. Conversations take turns, one message each, so that a long one does not delay a short one. One that has nothing to send
   leaves, and returns with `add` when its state changes: the cost of a message does not grow with the number of open ones.
3. Media that no device can play soon waits up to `hold_us` for more of its conversation (`EarlyMedia`).
4. Control is bounded by `MAX_CONTROL`; media is bounded by its conversations; of pings and of a device's
   acknowledgements only the latest waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from avatar_relay.messages import EventAck, FromPublisher, Ping
from avatar_relay.publisher.early_media import EarlyMedia
from avatar_relay.publisher.errors import BufferFullError
from avatar_relay.publisher.published_conversation import Phase, PublishedConversation

MAX_CONTROL = 1_024
"""Bound of waiting commands; a stream that accepts none of so many counts as broken."""


class SendQueue:
    """Orders the messages to send. Pure; not thread-safe."""

    def __init__(self, *, hold_us: int = 0) -> None:
        self._control: deque[FromPublisher] = deque()
        self._acks: dict[str, int] = {}
        self._ping: Ping | None = None
        self._open: dict[PublishedConversation, None] = {}
        """All that are neither ended nor closed."""
        self._turns: OrderedDict[PublishedConversation, None] = OrderedDict()
        """Those of them that may have something to send."""
        self._early = EarlyMedia(hold_us) if hold_us else None
        self.deadline_us: int | None = None
        """`tick` has nothing to do before this; perhaps nothing then."""

    @property
    def has_work(self) -> bool:
        """Whether anything may be there to send."""
        return bool(self._control or self._acks or self._ping or self._turns)

    @property
    def has_control(self) -> bool:
        """Whether a command waits."""
        return bool(self._control)

    @property
    def is_empty(self) -> bool:
        """Whether everything queued was sent; an open conversation with nothing waiting does not count."""
        quiet = not (self._control or self._acks or self._ping)
        return quiet and not any(one.is_waiting or one.phase in (Phase.AUDIO_ENDED, Phase.COMPLETE) for one in self._open)

    def tick(self, now_us: int) -> None:
        """Apply time-outs."""
        if self.deadline_us is None or now_us < self.deadline_us:
            return
        self.deadline_us = None
        for conversation in self._open:
            if conversation.deadline_us is not None:
                conversation.tick(now_us)
                self._turns[conversation] = None
        if self._early is not None:
            for conversation in self._early.due(now_us):
                self._turns[conversation] = None
            self._act_by(self._early.deadline_us)

    def say(self, message: FromPublisher) -> None:
        """Queue a command. Raises `BufferFullError`."""
        if len(self._control) >= MAX_CONTROL:
            raise BufferFullError(f"{MAX_CONTROL} commands are waiting; the relay accepts none")
        self._control.append(message)

    def repeat(self, messages: Iterable[FromPublisher]) -> None:
        """Queue the first messages of a new stream, at most one per unfinished conversation."""
        self._control.extendleft(reversed(list(messages)))

    def acknowledge(self, device_id: str, event_id: int) -> None:
        """Acknowledge all events of a device up to this one. The latest id counts, not the highest: ids restart with a session."""
        self._acks[device_id] = event_id

    def ping(self, ping: Ping) -> None:
        """Queue a heartbeat; of two that wait the later one is sent."""
        if self._ping is None or ping.ping_id >= self._ping.ping_id:
            self._ping = ping

    def add(self, conversation: PublishedConversation) -> None:
        """Let a conversation take turns until it has nothing to send. Idempotent."""
        self._open[conversation] = self._turns[conversation] = None

    def hurry(self) -> None:
        """Let no media that is here now wait because it is early."""
        if self._early is None:
            return
        for conversation in self._open:
            if conversation.is_waiting:
                self._early.hurry(conversation)
                self._turns[conversation] = None

    def forget_control(self) -> None:
        """Discard control messages of a lost stream."""
        self._control.clear()
        self._acks.clear()
        self._ping = None

    def next_message(self, now_us: int) -> FromPublisher | None:
        """The next message to send."""
        if self._control:
            return self._control.popleft()
        if self._acks:
            device_id = next(iter(self._acks))
            return EventAck(self._acks.pop(device_id), device_id)
        if self._ping is not None:
            ping, self._ping = self._ping, None
            return ping
        while self._turns:
            turn, _ = self._turns.popitem(last=False)
            if self._early is not None and self._early.holds(turn, now_us):
                self._act_by(self._early.deadline_us)
                continue
            message = turn.next_message()
            if self._early is not None and not turn.is_waiting:
                self._early.sent(turn)
            if turn.phase in (Phase.ENDED, Phase.CLOSED):
                del self._open[turn]
                if self._early is not None:
                    self._early.forget(turn)
            elif message is not None and turn.has_more:
                self._turns[turn] = None
            elif turn.deadline_us is not None:
                self._act_by(turn.deadline_us)
            if message is not None:
                return message
        return None

    def _act_by(self, at_us: int | None) -> None:
        """Let `tick` act at this time; None: no need."""
        if at_us is not None:
            self.deadline_us = at_us if self.deadline_us is None else min(self.deadline_us, at_us)
