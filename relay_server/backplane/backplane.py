"""The backplane as a cluster sees it: publish, subscribe, request. At most once, in order between two relays while a connection lasts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


class BackplaneError(Exception):
    """What was asked of the backplane cannot be done now: there is no connection, or no answer in time."""


class NobodyError(BackplaneError):
    """Nobody listens to the subject of a request."""


@dataclass(frozen=True, slots=True)
class BackplaneMessage:
    """A message; `reply` is the subject of the answer, empty if none is expected."""

    subject: str
    data: bytes
    reply: str = ""


Take = Callable[[BackplaneMessage], Awaitable[None]]
"""Takes the messages of one subscription, one after the other. It raises nothing."""


class Subscription(Protocol):
    """What `subscribe` returns."""

    async def end(self) -> None:
        """No message is taken after this. Raises nothing."""
        ...


class Backplane(Protocol):
    """One relay's connection. Belongs to one event loop."""

    @property
    def connected(self) -> bool:
        """Whether messages get through now, as far as is known."""
        ...

    async def start(self, lost: Callable[[], None], regained: Callable[[], None]) -> None:
        """Connect. `lost` and `regained` are called when the connection is lost later, and is there again with all subscriptions.

        Raises `ConfigError` if there is no connection within a few seconds.
        """
        ...

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send a message of less than 1 MiB. Raises `BackplaneError` without a connection."""
        ...

    async def subscribe(self, subject: str, take: Take) -> Subscription:
        """Take what is published there; `*` in a subject stands for one of its parts. Raises `BackplaneError`."""
        ...

    async def request(self, subject: str, data: bytes, within_s: float) -> bytes:
        """Ask one that listens. Raises `NobodyError` at once if nobody does, `BackplaneError` without an answer in time."""
        ...

    async def stop(self) -> None:
        """Disconnect. Raises nothing."""
        ...
