"""Links as a cluster sees them: what one relay sends to another one without the backplane.

A link belongs to the relay that opened it, and carries messages of tunnels in both directions, in order and without loss until it ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol


class TunnelEnd(Protocol):
    """A tunnel's end, as what carries its messages sees it."""

    def hear(self, message: bytes) -> Awaitable[None] | None:
        """Handle a message of the other end; returns what must be awaited before the next one. Raises nothing."""
        ...

    def cut(self, why: str) -> None:
        """A message could not be sent, or the link is gone."""
        ...


class Link(Protocol):
    """One link. Belongs to one event loop."""

    @property
    def link_id(self) -> str:
        """The same at both ends, and nowhere else."""
        ...

    def listen(self, tunnel_id: str, user: TunnelEnd) -> None:
        """`user` hears the messages of a tunnel, and is cut if the link ends."""
        ...

    def forget(self, tunnel_id: str) -> None:
        """Ignore further messages of a tunnel."""
        ...

    def send(self, tunnel_id: str, messages: Sequence[bytes]) -> None:
        """Send messages of a tunnel. Raises `BackplaneError` if the link has ended, or the other relay reads too slowly."""
        ...

    def end(self, why: str) -> None:
        """End the link, and cut its tunnels. Idempotent."""
        ...


class Links(Protocol):
    """All links of one relay. Belongs to one event loop."""

    async def start(self) -> None:
        """Accept links. Raises `ConfigError`."""
        ...

    def offer(self, asker: str) -> bytes:
        """How relay `asker` may open a link to this one; empty: not at all."""
        ...

    async def to(self, relay: str, ask: Callable[[], Awaitable[bytes]]) -> Link | None:
        """The link to another relay, opened if there is none; `ask` gets what it offers. None if there can be none. Raises nothing."""
        ...

    def is_open(self, relay: str) -> bool:
        """Whether there is a link to another relay."""
        ...

    def accepted(self, link_id: str) -> Link | None:
        """A link that another relay has opened."""
        ...

    def tick(self, busy_us: int) -> None:
        """Send heartbeats, and end links whose other end is silent; call it a few times a second.

        `busy_us`: how long this relay could not hear anything since the last call.
        """
        ...

    def busy_us(self) -> int:
        """How long messages were being handled since the last call, in µs."""
        ...

    async def stop(self) -> None:
        """Send waiting messages, and end all links. Raises nothing."""
        ...
