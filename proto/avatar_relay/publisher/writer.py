"""Writes a publisher's stream: when, how much of it in one message, and the pings between.

Rules:
1. Sendable data is sent at once; payloads that gather during a send are joined by their conversation, and if the relay accepts
   joined requests, all waiting messages travel as one.
2. With a media tick, media waits for the next multiple of it, so that many live conversations share a message; control does not. Media that
   gathers during a send that lasts beyond that multiple does not wait for another one.
3. A ping is sent every heartbeat, behind all waiting control.
4. A message that cannot be sent fails its own conversation; all others are sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from avatar_relay.limits import MAX_JOINED_BYTES, MAX_JOINED_REQUESTS
from avatar_relay.messages import FromPublisher, Interrupt, Joined, Limits, Media, Ping, PublishOpen
from avatar_relay.publisher.errors import BufferFullError, UnsendableError
from avatar_relay.publisher.publisher_session import PublisherSession
from avatar_relay.publisher.relay_link import RelayLink
from avatar_relay.reasons import Fault, Reason

_US_PER_S = 1_000_000

logger = logging.getLogger(__name__)


class Writer:
    """Writes the session's messages. Belongs to one event loop; one stream at a time. `wrote` is called after each pass."""

    def __init__(self, session: PublisherSession, *, now_us: Callable[[], int], media_tick_us: int, wrote: Callable[[], None]) -> None:
        self._session = session
        self._now_us = now_us
        self._media_tick_us = media_tick_us
        self._wrote = wrote
        self._work = asyncio.Event()
        self._ping_id = 0
        self._max_joined = 1
        self.heartbeat_s = 0.0
        """Interval of pings, as the relay asks; 0: none."""

    def welcome(self, limits: Limits) -> None:
        """A stream is open, with these limits of its relay."""
        self.heartbeat_s = limits.heartbeat_ms / 1_000
        self._max_joined = max(1, min(limits.max_joined_requests, MAX_JOINED_REQUESTS))
        self.wake()

    def wake(self) -> None:
        """Wake the writer: there may be something to send."""
        self._work.set()

    def ping(self) -> int:
        """Queue a ping behind all waiting control; returns its id."""
        self._ping_id += 1
        self._session.outbox.ping(Ping(self._ping_id, self._now_us()))
        self.wake()
        return self._ping_id

    async def beat(self) -> None:
        """Send pings until cancelled (rule 3)."""
        while self.heartbeat_s:
            self.ping()
            await asyncio.sleep(self.heartbeat_s)

    async def write(self, link: RelayLink) -> None:
        """Send messages until cancelled (rules 1 and 2). Raises `ConnectionLostError`."""
        while True:
            self._work.clear()
            began_us = self._now_us()
            self._session.tick(began_us)
            messages = self._gather()
            if messages:
                await self._send(link, messages)
            self._wrote()
            if not messages:
                await self._until_work()
                began_us = self._now_us()
            if self._media_tick_us and not self._session.outbox.has_control:
                due_us = (began_us // self._media_tick_us + 1) * self._media_tick_us
                await asyncio.sleep(max(due_us - self._now_us(), 0) / _US_PER_S)

    async def _send(self, link: RelayLink, messages: tuple[FromPublisher, ...]) -> None:
        """Send messages; one that cannot be sent fails its conversation (rule 4)."""
        while messages:
            try:
                await link.send(messages[0] if len(messages) == 1 else Joined(messages))
                return
            except UnsendableError as error:
                logger.exception("conversation=%s: %s", _conversation_of(error.message), error)
                self._give_up(error)
                failed_id = _conversation_of(error.message)
                messages = tuple(one for one in error.unsent if not failed_id or _conversation_of(one) != failed_id)

    def _give_up(self, error: UnsendableError) -> None:
        """Fail the message's conversation, and interrupt it at the relay if it was opened there."""
        record = self._session.record(_conversation_of(error.message))
        if record is None:
            return
        self._session.fail(record, Fault(Reason.MESSAGE_INVALID, f"{error}: {error.__cause__!r}"))
        if not isinstance(error.message, PublishOpen):
            with suppress(BufferFullError):
                self._session.say(Interrupt(record.conversation_id))

    def _gather(self) -> tuple[FromPublisher, ...]:
        messages: list[FromPublisher] = []
        size = 0
        while len(messages) < self._max_joined and size < MAX_JOINED_BYTES:
            message = self._session.next_message()
            if message is None:
                break
            messages.append(message)
            if isinstance(message, Media):
                size += sum([len(payload.data) for payload in message.payloads])
        return tuple(messages)

    async def _until_work(self) -> None:
        deadline_us = self._session.deadline_us
        if deadline_us is None:
            await self._work.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(max(deadline_us - self._now_us(), 0) / _US_PER_S):
                await self._work.wait()


def _conversation_of(message: FromPublisher) -> str:
    """The conversation of a message; empty if there is none."""
    if isinstance(message, PublishOpen):
        return message.open.conversation_id
    return str(getattr(message, "conversation_id", ""))
