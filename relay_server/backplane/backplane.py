"""The backplane as a cluster sees it: publish, subscribe, request. At most once; in order between two relays while a connection lasts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger(__name__)


class BackplaneError(Exception):
    """An operation of the backplane failed: there is no connection, or no answer in time."""


class NobodyError(BackplaneError):
    """A request's subject has no subscriber."""


@dataclass(frozen=True, slots=True)
class BackplaneMessage:
    """A message; `reply` is the subject of the answer, empty if none is expected."""

    subject: str
    data: bytes
    reply: str = ""


Take = Callable[[BackplaneMessage], Awaitable[None]]
"""Handles the messages of one subscription, one after the other. What it raises is logged; the next message is handled."""


async def take_message(take: Take, message: BackplaneMessage) -> None:
    """Have a message handled. Raises nothing but a cancellation."""
    try:
        await take(message)
    except Exception:
        logger.exception("a message of %d bytes on %s could not be handled", len(message.data), message.subject)


class Subscription(Protocol):
    """A subscription, as returned by `subscribe`."""

    async def end(self) -> None:
        """Unsubscribe: no message is delivered after this. Raises nothing."""
        ...


class Backplane(Protocol):
    """One relay's connection to the backplane. Belongs to one event loop."""

    @property
    def connected(self) -> bool:
        """Whether the connection is up, as far as is known."""
        ...

    async def start(self, lost: Callable[[], None], regained: Callable[[], None]) -> None:
        """Connect. Later, `lost` is called when the connection is lost, `regained` when it is up again with all subscriptions.

        Raises `ConfigError` if there is no connection within a few seconds.
        """
        ...

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send a message of less than 1 MiB. Raises `BackplaneError` if there is no connection."""
        ...

    async def subscribe(self, subject: str, take: Take) -> Subscription:
        """Subscribe to a subject, in which `*` matches one token. Raises `BackplaneError`."""
        ...

    async def request(self, subject: str, data: bytes, within_s: float) -> bytes:
        """Send a request to one subscriber; return its answer. Raises `NobodyError` at once if there is none, `BackplaneError` on a
        timeout."""
        ...

    async def stop(self) -> None:
        """Disconnect. Raises nothing."""
        ...
