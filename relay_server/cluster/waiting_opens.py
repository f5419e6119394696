"""Conversations of one publisher whose device is on its way from one relay to another: opened when it has come."""

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
"""As long as one relay alone would keep a session for a device that is away."""
MAX_KEPT = 4_096
MAX_KEPT_BYTES = 4 << 20
"""What may be said of conversations that wait. Publishers have no credit for them yet, so that is little."""


class Opens(Protocol):
    """The door, as what waits sees it."""

    async def open_waiting(self, message: PublishOpen, *, last: bool) -> bool:
        """Try to open one; `last`: say what is wrong if that cannot be. Returns whether it waits no more. Raises `PeerError`."""
        ...

    async def pass_on(self, message: AtRelay, data: bytes) -> None:
        """Send on what was said behind it. Raises `PeerError`."""
        ...

    async def flush(self) -> None:
        """Send what waits for homes."""
        ...

    def end(self, fault: Fault | None = None) -> None:
        """End the publisher's stream."""
        ...


class WaitingOpens:
    """Each waits in a task of its own; what is said of it meanwhile is kept in order."""

    def __init__(self, door: Opens) -> None:
        self._door = door
        self._kept: dict[str, list[tuple[AtRelay, bytes]]] = {}
        self._kept_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def has(self, conversation_id: str) -> bool:
        """Whether a conversation waits."""
        return conversation_id in self._kept

    def begin(self, message: PublishOpen) -> None:
        """It waits from now on."""
        self._kept[message.open.conversation_id] = []
        task = asyncio.create_task(self._wait(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def keeps(self, message: AtRelay, data: bytes) -> bool:
        """Whether a message belongs to a conversation that waits, and was kept. Raises `PeerError` if that is too much."""
        kept = self._kept.get(getattr(message, "conversation_id", ""))
        if kept is None:
            return False
        self._kept_bytes += len(data)
        if len(kept) >= MAX_KEPT or self._kept_bytes > MAX_KEPT_BYTES:
            raise PeerError(Fault(Reason.LIMIT_REACHED, "too much was sent of a conversation that is not open yet: wait for credit"))
        kept.append((message, data))
        return True

    def close(self) -> None:
        """The publisher is gone."""
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
