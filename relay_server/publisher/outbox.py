"""What goes out on the one stream, in which order.

Rules:
1. Control first, in the order in which it was said; then acknowledgements, one a device; then a ping; then media.
2. Conversations take turns, one message each, so that a long one does not hold up a short one.
3. Control is bounded by `MAX_CONTROL`; media is bounded by its conversations; of pings and of a device's
   acknowledgements only the latest waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from avatar_relay.messages import EventAck, FromPublisher, Ping
from relay_server.publisher.conversation import Conversation, Phase
from relay_server.publisher.errors import BufferFullError

MAX_CONTROL = 1_024
"""Commands that may wait; a stream that takes none of so many is as good as dead."""


class Outbox:
    """Orders what is said. Pure; not thread-safe."""

    def __init__(self) -> None:
        self._control: deque[FromPublisher] = deque()
        self._acks: dict[str, int] = {}
        self._ping: Ping | None = None
        self._turns: deque[Conversation] = deque()

    @property
    def has_control(self) -> bool:
        """Whether a command waits."""
        return bool(self._control)

    @property
    def is_empty(self) -> bool:
        """Whether all that was said went out; a conversation that is still open with nothing waiting does not count."""
        quiet = not (self._control or self._acks or self._ping)
        return quiet and not any(turn.is_waiting or turn.phase in (Phase.AUDIO_ENDED, Phase.COMPLETE) for turn in self._turns)

    @property
    def deadline_us(self) -> int | None:
        """When `tick` has something to do next."""
        return min((turn.deadline_us for turn in self._turns if turn.deadline_us is not None), default=None)

    def tick(self, now_us: int) -> None:
        """Let time-outs take effect."""
        for turn in self._turns:
            turn.tick(now_us)

    def say(self, message: FromPublisher) -> None:
        """A command. Raises `BufferFullError`."""
        if len(self._control) >= MAX_CONTROL:
            raise BufferFullError(f"{MAX_CONTROL} commands wait; the relay takes none")
        self._control.append(message)

    def repeat(self, messages: Iterable[FromPublisher]) -> None:
        """What a new stream begins with; as many as there are unfinished conversations."""
        self._control.extendleft(reversed(list(messages)))

    def acknowledge(self, device_id: str, event_id: int) -> None:
        """All events of a device up to this one arrived. The latest counts, not the highest: ids begin anew with a session."""
        self._acks[device_id] = event_id

    def ping(self, ping: Ping) -> None:
        """A heartbeat; of two that wait the later one goes out."""
        if self._ping is None or ping.ping_id >= self._ping.ping_id:
            self._ping = ping

    def add(self, conversation: Conversation) -> None:
        """Let a conversation take its turns until it is ended or closed. Harmless when repeated."""
        if conversation not in self._turns:
            self._turns.append(conversation)

    def forget_control(self) -> None:
        """The stream is gone, and with it what was to be said on it."""
        self._control.clear()
        self._acks.clear()
        self._ping = None

    def next_message(self) -> FromPublisher | None:
        """What goes out now."""
        if self._control:
            return self._control.popleft()
        if self._acks:
            device_id = next(iter(self._acks))
            return EventAck(self._acks.pop(device_id), device_id)
        if self._ping is not None:
            ping, self._ping = self._ping, None
            return ping
        return self._next_of_conversations()

    def _next_of_conversations(self) -> FromPublisher | None:
        for _ in range(len(self._turns)):
            turn = self._turns.popleft()
            message = turn.next_message()
            if turn.phase not in (Phase.ENDED, Phase.CLOSED):
                self._turns.append(turn)
            if message is not None:
                return message
        return None
