"""Writes a publisher's stream: when, how much of it in one message, and the pings between.

Rules:
1. Sendable data is sent at once; payloads that gather during a send are joined by their conversation, and if the relay accepts
   joined requests, all waiting messages travel as one.
2. With a media tick, media waits for the next multiple of it, so that many live conversations share a message; control does not. Media that
   gathers during a send that lasts beyond that multiple does not wait for another one, nor does what a full message leaves.
3. A ping is sent every heartbeat, behind all waiting control. A relay that is silent for `PEER_TIMEOUT_US` is lost.
4. A message that cannot be sent fails its own conversation; all others are sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from avatar_relay.limits import MAX_JOINED_BYTES, MAX_JOINED_REQUESTS, PEER_TIMEOUT_US
from avatar_relay.messages import FromPublisher, Interrupt, Joined, Limits, Media, Ping, PublishOpen
from avatar_relay.publisher.errors import BufferFullError, ConnectionLostError, UnsendableError
from avatar_relay.publisher.publisher_session import PublisherSession
from avatar_relay.publisher.relay_link import RelayLink
from avatar_relay.reasons import Fault, Reason

SILENT_BEATS = 4
"""The relay answers each ping. If it asks for rare pings, it counts as silent only after this many heartbeats."""
_US_PER_S = 1_000_000

logger = logging.getLogger(__name__)


class Writer:
    """Writes the session's messages. Belongs to one event loop; one stream at a time. `wrote` is called after each pass."""

    def __init__(self, session: PublisherSession, *, now_us: Callable[[], int], media_tick_us: int, wrote: Callable[[], None]) -> None:
        self._session = session
        self._now_us = now_us
        self._media_tick_us = media_tick_us
        self._wrote = wrote
        self._has_work = False
        self._is_full = False
        """The last message reached a limit: what it left follows at once, also with a media tick."""
        self._waiter: asyncio.Future[None] | None = None
        """Set while there is nothing to send."""
        self._ping_id = 0
        self._max_joined = 1
        self.heartbeat_s = 0.0
        """Interval of pings, as the relay asks; 0: none."""
        self.heard_s = 0.0
        """When the relay's last message arrived, by the event loop's clock."""

    def welcome(self, limits: Limits) -> None:
        """A stream is open, with these limits of its relay."""
        self.heartbeat_s = limits.heartbeat_ms / 1_000
        self._max_joined = max(1, min(limits.max_joined_requests, MAX_JOINED_REQUESTS))
        self.wake()

    def wake(self) -> None:
        """Wake the writer: there may be something to send."""
        self._has_work = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def ping(self) -> int:
        """Queue a ping behind all waiting control; returns its id."""
        self._ping_id += 1
        self._session.outbox.ping(Ping(self._ping_id, self._now_us()))
        self.wake()
        return self._ping_id

    async def beat(self) -> None:
        """Send pings until cancelled (rule 3). Raises `ConnectionLostError` if the relay falls silent. One timer, however much it says."""
        now_s, silence_s = asyncio.get_running_loop().time, max(PEER_TIMEOUT_US / _US_PER_S, SILENT_BEATS * self.heartbeat_s)
        self.heard_s = now_s()
        while self.heartbeat_s:
            left_s = self.heard_s + silence_s - now_s()
            if left_s <= 0:
                raise ConnectionLostError(f"the relay was silent for {silence_s:g} s")
            self.ping()
            await asyncio.sleep(min(self.heartbeat_s, left_s))

    async def write(self, link: RelayLink) -> None:
        """Send messages until cancelled (rules 1 and 2). Raises `ConnectionLostError`."""
        session, tick_us = self._session, self._media_tick_us
        while True:
            self._has_work = False
            began_us = self._now_us() if tick_us else 0
            if session.deadline_us is not None:
                session.tick(self._now_us())
            messages = self._gather(began_us)
            while messages:
                try:
                    await link.send(messages[0] if len(messages) == 1 else Joined(messages))
                    break
                except UnsendableError as error:
                    messages = self._give_up(error)
            self._wrote()
            if self._is_full:
                continue
            if not self._has_work:
                await self._until_work()
                began_us = self._now_us() if tick_us else 0
            if tick_us and not session.outbox.has_control:
                due_us = (began_us // tick_us + 1) * tick_us
                await asyncio.sleep(max(due_us - self._now_us(), 0) / _US_PER_S)

    def _give_up(self, error: UnsendableError) -> tuple[FromPublisher, ...]:
        """Fail the conversation of a message that cannot be sent (rule 4); returns the messages that can still be sent."""
        failed_id = _conversation_of(error.message)
        logger.error("conversation=%s: %s", failed_id, error, exc_info=error)
        self._has_work = True
        record = self._session.record(failed_id)
        if record is not None:
            self._session.fail(record, Fault(Reason.MESSAGE_INVALID, f"{error}: {error.__cause__!r}"))
            if not isinstance(error.message, PublishOpen):  # then it was opened at the relay
                with suppress(BufferFullError):
                    self._session.say(Interrupt(failed_id))
        return tuple(one for one in error.unsent if not failed_id or _conversation_of(one) != failed_id)

    def _gather(self, now_us: int) -> tuple[FromPublisher, ...]:
        """The messages that travel together; notes whether more may wait."""
        messages: list[FromPublisher] = []
        size = 0
        while len(messages) < self._max_joined and size < MAX_JOINED_BYTES:
            if (message := self._session.next_message(now_us)) is None:
                self._is_full = False
                return tuple(messages)
            messages.append(message)
            if isinstance(message, Media):
                for payload in message.payloads:
                    size += len(payload.data)
        self._has_work = self._is_full = True
        return tuple(messages)

    async def _until_work(self) -> None:
        """Wait until woken, or until a time-out must be applied."""
        loop, deadline_us = asyncio.get_running_loop(), self._session.deadline_us
        timer = None if deadline_us is None else loop.call_later(max(deadline_us - self._now_us(), 0) / _US_PER_S, self.wake)
        waiter = self._waiter = loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()


def _conversation_of(message: FromPublisher) -> str:
    """The conversation of a message; empty if there is none."""
    if isinstance(message, PublishOpen):
        return message.open.conversation_id
    return str(getattr(message, "conversation_id", ""))
