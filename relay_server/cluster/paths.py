"""How the messages of a tunnel travel over the backplane."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from relay_server.backplane.backplane import Backplane, BackplaneMessage, Subscription


class PathUser(Protocol):
    """A tunnel, as its path sees it."""

    async def hear(self, message: bytes) -> None:
        """Handle a message of the other end. Raises nothing."""
        ...

    async def cut(self, why: str) -> None:
        """A message could not be sent."""
        ...


class TunnelPath(Protocol):
    """The path of one end's messages. Messages keep their order, but may be lost."""

    async def open(self, user: PathUser) -> None:
        """Listen. Raises `BackplaneError`."""
        ...

    async def publish(self, messages: Sequence[bytes], *, last: bool = False) -> None:
        """Send messages. `last`: the tunnel ends, and they need not wait for earlier ones. Raises `BackplaneError` if there is no
        connection."""
        ...

    async def close(self) -> None:
        """Listen no more. Idempotent."""
        ...


class OwnSubjects:
    """Two subjects for one tunnel: all that version 1 has. A tunnel whose home may stop reading for a while needs them too."""

    def __init__(self, backplane: Backplane, *, listen: str, speak: str) -> None:
        self._backplane = backplane
        self._listen = listen
        self._speak = speak
        self._subscription: Subscription | None = None
        self._sending = asyncio.Lock()

    async def open(self, user: PathUser) -> None:
        """See `TunnelPath`."""

        async def take(message: BackplaneMessage) -> None:
            await user.hear(message.data)

        self._subscription = await self._backplane.subscribe(self._listen, take)

    async def publish(self, messages: Sequence[bytes], *, last: bool = False) -> None:
        """See `TunnelPath`."""
        if last:
            await self._send(messages)
        else:
            async with self._sending:  # in the order of the calls
                await self._send(messages)

    async def close(self) -> None:
        """See `TunnelPath`."""
        if self._subscription is not None:
            await self._subscription.end()

    async def _send(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            await self._backplane.publish(self._speak, message)
