"""What a publisher's stream says: when, how much of it in one message, and the pings between.

Rules:
1. Whatever may go out goes out at once; what gathers while a send waits is joined by its conversation, and where the relay takes
   joined requests, all that waits travels in one message.
2. With a media tick, media waits for the next multiple of it, so that many live conversations share a message; control does not.
3. A ping is said every heartbeat, behind all control that waits.
4. A message that cannot be sent fails its own conversation; all others go out.
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
    """Writes what the session has to send. Belongs to one event loop; one stream at a time. `wrote` is called after each look."""

    def __init__(self, session: PublisherSession, *, now_us: Callable[[], int], media_tick_us: int, wrote: Callable[[], None]) -> None:
        self._session = session
        self._now_us = now_us
        self._media_tick_us = media_tick_us
        self._wrote = wrote
        self._work = asyncio.Event()
        self._ping_id = 0
        self._max_joined = 1
        self.heartbeat_s = 0.0
        """How often a ping is said, as the relay wishes; 0: never."""

    def welcome(self, limits: Limits) -> None:
        """A stream stands; its relay keeps to these."""
        self.heartbeat_s = limits.heartbeat_ms / 1_000
        self._max_joined = max(1, min(limits.max_joined_requests, MAX_JOINED_REQUESTS))
        self.wake()

    def wake(self) -> None:
        """There may be something to send."""
        self._work.set()

    def ping(self) -> int:
        """Say a ping behind all that waits of control; returns its id."""
        self._ping_id += 1
        self._session.outbox.ping(Ping(self._ping_id, self._now_us()))
        self.wake()
        return self._ping_id

    async def beat(self) -> None:
        """Rule 3, until cancelled."""
        while self.heartbeat_s:
            self.ping()
            await asyncio.sleep(self.heartbeat_s)

    async def write(self, link: RelayLink) -> None:
        """Rules 1 and 2, until cancelled. Raises `ConnectionLostError`."""
        while True:
            self._work.clear()
            self._session.tick(self._now_us())
            messages = self._gather()
            if messages:
                await self._send(link, messages)
            self._wrote()
            if not messages:
                await self._until_work()
            if self._media_tick_us and not self._session.outbox.has_control:
                await asyncio.sleep((self._media_tick_us - self._now_us() % self._media_tick_us) / _US_PER_S)

    async def _send(self, link: RelayLink, messages: tuple[FromPublisher, ...]) -> None:
        """Rule 4."""
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
        """Fail the conversation that it belongs to, and end it where the relay has it."""
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
    """The conversation that a message belongs to; empty if it belongs to none."""
    if isinstance(message, PublishOpen):
        return message.open.conversation_id
    return str(getattr(message, "conversation_id", ""))
