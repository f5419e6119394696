"""The line between the library and the relay: one Protocol, whether there is a wire or not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from avatar_relay.messages import FromPublisher, Joined, ToPublisher


class RelayLink(Protocol):
    """One stream to the relay. One task sends, one receives."""

    async def send(self, message: FromPublisher | Joined) -> None:
        """Hand a message over; waits while the line is full. Cancelling may break the line.

        Raises `ConnectionLostError`, and `UnsendableError` if a message cannot be sent though the line is whole.
        """
        ...

    async def receive(self) -> ToPublisher | None:
        """The next message; None once the relay ended the stream. Raises `ConnectionLostError`. Cancelling may break the line."""
        ...

    async def close(self) -> None:
        """End the stream. Safe to call twice."""
        ...


Connector = Callable[[], Awaitable[RelayLink]]
"""Opens a stream; raises `ConnectionLostError`."""
