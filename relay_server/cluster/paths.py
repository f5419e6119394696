"""How the messages of a tunnel travel to the other end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from relay_server.links.links import Link, TunnelEnd


class TunnelPath(Protocol):
    """The path of one end's messages. Messages keep their order, but may be lost."""

    finds_silence: bool
    """The path itself sends heartbeats, and cuts the tunnel if it hears nothing."""

    async def open(self, user: TunnelEnd) -> None:
        """Listen. Raises `BackplaneError`."""
        ...

    def publish(self, messages: Sequence[bytes]) -> None:
        """Send messages, in the order of the calls. Raises `BackplaneError` if there is no connection, or too much waits to be sent; what
        fails later cuts the tunnel."""
        ...

    def close(self) -> None:
        """Listen no more; what was published before is still sent. Idempotent."""
        ...


class LinkPath:
    """The path of a tunnel's messages over a link."""

    finds_silence = True

    def __init__(self, link: Link, tunnel_id: str) -> None:
        self._link = link
        self._tunnel_id = tunnel_id

    async def open(self, user: TunnelEnd) -> None:
        """See `TunnelPath`."""
        self._link.listen(self._tunnel_id, user)

    def publish(self, messages: Sequence[bytes]) -> None:
        """See `TunnelPath`."""
        self._link.send(self._tunnel_id, messages)

    def close(self) -> None:
        """See `TunnelPath`."""
        self._link.forget(self._tunnel_id)
