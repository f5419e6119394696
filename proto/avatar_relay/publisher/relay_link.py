"""The link between the library and the relay: one Protocol, with or without a wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from avatar_relay.messages import FromPublisher, Joined, ToPublisher


class RelayLink(Protocol):
    """One stream to the relay. One task sends, one receives."""

    async def send(self, message: FromPublisher | Joined) -> None:
        """Send a message; waits while the link is full. Cancelling may break the link.

        Raises `ConnectionLostError`, and `UnsendableError` if a message cannot be sent although the link works.
        """
        ...

    async def receive(self) -> ToPublisher | None:
        """The next message; None once the relay has ended the stream. Raises `ConnectionLostError`. Cancelling may break the link."""
        ...

    async def close(self) -> None:
        """End the stream. Safe to call twice."""
        ...


Connector = Callable[[], Awaitable[RelayLink]]
"""Opens a stream; raises `ConnectionLostError`."""
