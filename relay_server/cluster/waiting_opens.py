"""Conversations of one publisher whose device is moving between relays: opened when it has attached."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from avatar_relay.errors import PeerError
from avatar_relay.limits import DEVICE_LEASE_US
from avatar_relay.messages import AtRelay, PublishOpen
from avatar_relay.reasons import Fault, Reason

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.1
WAIT_S = DEVICE_LEASE_US / 1e6
"""As long as a single relay keeps the session of a detached device."""
MAX_KEPT = 4_096
MAX_KEPT_BYTES = 4 << 20
"""Limits for messages of waiting conversations. Publishers have no credit for them yet, so that is little."""


class Opens(Protocol):
    """The door, as waiting conversations see it."""

    async def open_waiting(self, message: PublishOpen, *, last: bool) -> bool:
        """Try to open a conversation; `last`: report the error if that fails. Returns whether it no longer waits. Raises `PeerError`."""
        ...

    async def pass_on(self, message: AtRelay, data: bytes) -> None:
        """Forward a message that followed the opening. Raises `PeerError`."""
        ...

    async def flush(self) -> None:
        """Send the messages queued for homes."""
        ...

    def end(self, fault: Fault | None = None) -> None:
        """End the publisher's stream."""
        ...


class WaitingOpens:
    """Conversations that wait, each in its own task; their later messages are kept in order."""

    def __init__(self, door: Opens) -> None:
        self._door = door
        self._kept: dict[str, list[tuple[AtRelay, bytes]]] = {}
        self._kept_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def has(self, conversation_id: str) -> bool:
        """Whether a conversation waits."""
        return conversation_id in self._kept

    def begin(self, message: PublishOpen) -> None:
        """Let a conversation wait."""
        self._kept[message.open.conversation_id] = []
        task = asyncio.create_task(self._wait(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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

    async def _wait(self, message: PublishOpen) -> None:
        conversation_id, loop = message.open.conversation_id, asyncio.get_running_loop()
        until_s = loop.time() + WAIT_S
        try:
            while not await self._door.open_waiting(message, last=loop.time() >= until_s):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_AGAIN_S)
            kept = self._kept[conversation_id]
            while kept:
                said, data = kept.pop(0)
                self._kept_bytes -= len(data)
                await self._door.pass_on(said, data)
            await self._door.flush()
        except PeerError as error:
            self._door.end(error.fault)
        except Exception:
            logger.exception("a conversation that waited could not be opened")
            self._door.end(Fault(Reason.MOVED, "a conversation that waited could not be opened; it is logged there"))
        finally:
            del self._kept[conversation_id]
