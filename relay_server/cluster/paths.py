"""How the messages of a tunnel travel to the other end."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol


class PathUser(Protocol):
    """A tunnel, as its path sees it."""

    def hear(self, message: bytes) -> Awaitable[None] | None:
        """Handle a message of the other end; returns what must be awaited before the next one. Raises nothing."""
        ...

    def cut(self, why: str) -> None:
        """A message could not be sent."""
        ...


class TunnelPath(Protocol):
    """The path of one end's messages. Messages keep their order, but may be lost."""

    async def open(self, user: PathUser) -> None:
        """Listen. Raises `BackplaneError`."""
        ...

    def publish(self, messages: Sequence[bytes]) -> None:
        """Send messages, in the order of the calls. Raises `BackplaneError` if there is no connection, or too much waits to be sent; what
        fails later cuts the tunnel."""
        ...

    def close(self) -> None:
        """Listen no more; what was published before is still sent. Idempotent."""
        ...
