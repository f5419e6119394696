"""What the streams of publishers and devices have in common, whether they come over gRPC or from within the process.

A port belongs to one stream. One task may `send` while another `receive`s. Ports hold no rules: they ask `Publishers` or `Devices`.
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
"""What the relay sends on a stream."""

RETRY_AFTER_MS = 1_000
"""How long a peer that is turned away should wait."""


def do_nothing() -> None:
    """Nobody sends yet, or any more."""


class Port(ABC, Generic[M]):
    """A stream that the relay may end, and a signal that something is to be sent."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        """Why the relay ended the stream; None if it ended well."""
        self.ended = False
        self.farewell: GoAway | None = None
        """Said last, in place of what still waits."""
        self.wake: Callable[[], None] = do_nothing
        """Called when there may be something to send, or the stream was ended. Set by the one that sends."""

    async def receive(self) -> M | GoAway | None:
        """The next message for the peer; None when the relay ended the stream. Safe to cancel."""
        while (message := self.next()) is None and not self.ended:
            await self.changed()
        return message

    @abstractmethod
    def next(self) -> M | GoAway | None:
        """The next message for the peer; None if there is none now, or if the relay ended the stream. Says the farewell, once."""

    def changed(self) -> asyncio.Future[None]:
        """Is done when there may be something to send, or the stream was ended. For one task, after `next` gave nothing."""
        waiter = asyncio.get_running_loop().create_future()

        def resolve() -> None:
            if not waiter.done():
                waiter.set_result(None)

        self.wake = resolve
        return waiter

    @abstractmethod
    def close(self) -> None:
        """The peer is gone: its lease begins. Harmless when repeated."""

    def end(self, fault: Fault | None = None) -> None:
        """End the stream: `receive` gives what is still to be said, then None."""
        if not self.ended:
            self.ended, self.fault = True, fault
        self.wake()

    def give_way(self, peer: str) -> None:
        """End the stream of `peer`: it has a new one."""
        self.farewell = GoAway("replaced", RETRY_AFTER_MS)
        self.end(Fault(Reason.REPLACED, f"another stream of {peer} took over"))

    def check_open(self) -> None:
        """Raise `PeerError` if the relay ended the stream with a fault."""
        if self.fault is not None:
            raise PeerError(self.fault)
