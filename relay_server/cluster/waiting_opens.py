"""Conversations of one publisher that are being opened at other relays, or wait for a device that is moving between relays.

Rules

- Each is opened in its own task; conversations with a common device one after the other, in the order of the publisher.
- Its later messages are kept, in order, until the relays have answered: if the device has moved, they go to its new relay.
- It is tried again every `LOOK_AGAIN_S` while devices are on their way, or have moved since they were looked up, for at most `WAIT_S`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Protocol

from avatar_relay.errors import PeerError
from avatar_relay.limits import DEVICE_LEASE_US
from avatar_relay.messages import AtRelay, ConversationError, PublishOpen
from avatar_relay.reasons import Fault, Reason

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.1
WAIT_S = DEVICE_LEASE_US / 1e6
"""As long as a single relay keeps the session of a detached device."""
ANSWER_S = 5.0
"""How long relays may take to answer an opening: a tunnel whose other end is silent ends before."""
MAX_WAITING_OPENS = 1_024
"""Limit of one stream: as many as an identity's conversations by default."""
MAX_KEPT = 4_096
MAX_KEPT_BYTES = 4 << 20
"""Limits for messages of waiting conversations. Publishers have no credit for them yet, so that is little."""


class Opens(Protocol):
    """The door, as waiting conversations see it."""

    async def pass_on(self, message: AtRelay, data: bytes) -> None:
        """Forward a message that followed the opening. Raises `PeerError`."""
        ...

    def flush(self) -> Awaitable[None] | None:
        """Send the messages queued for homes."""
        ...

    def end(self, fault: Fault | None = None) -> None:
        """End the publisher's stream."""
        ...


class WaitingOpens:
    """Conversations that wait, each in its own task."""

    def __init__(self, door: Opens, try_open: Callable[[PublishOpen, float], Awaitable[bool]]) -> None:
        """`try_open` is called with a conversation and how long it has waited; it returns whether it waits no longer.

        After `WAIT_S` it reports the error if the opening fails. It may raise `PeerError`, and `TimeoutError` if a relay does not answer.
        """
        self._door = door
        self._try_open = try_open
        self._kept: dict[str, list[tuple[AtRelay, bytes]]] = {}
        self._kept_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: dict[str, asyncio.Task[None]] = {}
        """The last task of each device."""
        self._asked: dict[str, tuple[list[ConversationError], asyncio.Future[list[ConversationError]]]] = {}

    def has(self, conversation_id: str) -> bool:
        """Whether a conversation waits."""
        return conversation_id in self._kept

    @property
    def is_full(self) -> bool:
        """Whether no more conversations may wait."""
        return len(self._tasks) >= MAX_WAITING_OPENS

    def concerns(self, device_ids: Collection[str]) -> bool:
        """Whether a conversation with one of these devices waits."""
        return any([device_id in self._last for device_id in device_ids])

    def begin(self, message: PublishOpen, device_ids: Collection[str]) -> None:
        """Open a conversation with these devices as soon as possible. It must not wait already, and there must be room."""
        self._kept[message.open.conversation_id] = []
        before = {self._last[device_id] for device_id in device_ids if device_id in self._last}
        task = asyncio.create_task(self._wait(message, before))
        self._tasks.add(task)
        self._last.update(dict.fromkeys(device_ids, task))
        task.add_done_callback(partial(self._done, device_ids))

    def keeps(self, message: AtRelay, data: bytes) -> bool:
        """Keep a message of a waiting conversation; returns whether it was one. Raises `PeerError` if a limit is exceeded."""
        kept = self._kept.get(getattr(message, "conversation_id", ""))
        if kept is None:
            return False
        self._kept_bytes += len(data)
        if len(kept) >= MAX_KEPT or self._kept_bytes > MAX_KEPT_BYTES:
            raise PeerError(Fault(Reason.LIMIT_REACHED, "too much was sent of a conversation that is not open yet: wait for credit"))
        kept.append((message, data))
        return True

    def close(self) -> None:
        """The publisher is gone: cancel all."""
        for task in self._tasks:
            task.cancel()

    # --- the answers of relays -------------------------------------------------------------------------------------

    def ask(self, conversation_id: str) -> asyncio.Future[list[ConversationError]]:
        """A conversation is now opened at relays: collect their errors until `answered`."""
        answer: asyncio.Future[list[ConversationError]] = asyncio.get_running_loop().create_future()
        self._asked[conversation_id] = [], answer
        return answer

    def refused(self, error: ConversationError) -> bool:
        """Collect an error; returns whether its conversation is being opened."""
        asked = self._asked.get(error.conversation_id)
        if asked is None:
            return False
        asked[0].append(error)
        return True

    def answered(self, conversation_id: str) -> None:
        """All relays have answered."""
        errors, answer = self._asked.pop(conversation_id)
        if not answer.done():
            answer.set_result(errors)

    # --- within ----------------------------------------------------------------------------------------------------

    async def _wait(self, message: PublishOpen, before: set[asyncio.Task[None]]) -> None:
        conversation_id, loop = message.open.conversation_id, asyncio.get_running_loop()
        began_s = loop.time()
        try:
            if before:
                await asyncio.wait(before)
            while not await self._try_open(message, loop.time() - began_s):  # noqa: ASYNC110 - only relays know
                await asyncio.sleep(LOOK_AGAIN_S)
            kept = self._kept[conversation_id]
            while kept:
                said, data = kept.pop(0)
                self._kept_bytes -= len(data)
                await self._door.pass_on(said, data)
            del self._kept[conversation_id]  # later messages follow directly, in order
            if (waiting := self._door.flush()) is not None:
                await waiting
        except PeerError as error:
            self._door.end(error.fault)
        except TimeoutError:
            self._door.end(Fault(Reason.MOVED, f"a conversation could not be opened: a relay did not answer within {ANSWER_S:g} s"))
        except Exception:
            logger.exception("a conversation could not be opened")
            self._door.end(Fault(Reason.MOVED, "a conversation could not be opened; it is logged there"))
        finally:
            self._kept.pop(conversation_id, None)

    def _done(self, device_ids: Collection[str], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        for device_id in device_ids:
            if self._last.get(device_id) is task:
                del self._last[device_id]
