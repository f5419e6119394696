"""Base class for the streams of publishers and devices, over gRPC or within the process.

A port belongs to one stream. One task may `send` while another `receive`s. Ports contain no rules: they delegate to `Publishers` or
`Devices`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from avatar_relay.errors import PeerError
from avatar_relay.messages import GoAway
from avatar_relay.reasons import Fault, Reason

M = TypeVar("M")
"""Type of the messages that the relay sends on a stream."""

RETRY_AFTER_MS = 1_000
"""Retry delay for a refused peer."""


def do_nothing() -> None:
    """The `wake` of a port without a sender."""


class Port(ABC, Generic[M]):
    """A stream that the relay can end, with a signal that messages are to be sent."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        """Why the relay ended the stream; None if without a fault."""
        self.ended = False
        self.farewell: GoAway | None = None
        """The last message, sent instead of the queued ones."""
        self.wake: Callable[[], None] = do_nothing
        """Called when there may be a message to send, or the stream was ended. Set by the sender."""

    async def receive(self) -> M | GoAway | None:
        """The next message for the peer; None after the relay ended the stream. Safe to cancel."""
        while (message := self.next()) is None and not self.ended:
            await self.changed()
        return message

    @abstractmethod
    def next(self) -> M | GoAway | None:
        """The next message for the peer; None if there is none now, or the relay ended the stream. Returns the farewell once."""

    def changed(self) -> asyncio.Future[None]:
        """A future that is done when there may be a message to send, or the stream was ended. For one task, after `next` returned None."""
        waiter = asyncio.get_running_loop().create_future()

        def resolve() -> None:
            if not waiter.done():
                waiter.set_result(None)

        self.wake = resolve
        return waiter

    @abstractmethod
    def close(self) -> None:
        """The peer is gone: its lease begins. Idempotent."""

    def end(self, fault: Fault | None = None) -> None:
        """End the stream: `receive` returns the remaining messages, then None."""
        if not self.ended:
            self.ended, self.fault = True, fault
        self.wake()

    def give_way(self, peer: str) -> None:
        """End the stream because `peer` has a new one."""
        self.farewell = GoAway("replaced", RETRY_AFTER_MS)
        self.end(Fault(Reason.REPLACED, f"another stream of {peer} took over"))

    def check_open(self) -> None:
        """Raise `PeerError` if the relay ended the stream with a fault."""
        if self.fault is not None:
            raise PeerError(self.fault)
