"""The link to a relay in the same process: plain messages, no wire."""

from __future__ import annotations

import asyncio
from typing import Protocol

from avatar_relay.errors import PeerError
from avatar_relay.messages import FromPublisher, Joined, ToPublisher
from avatar_relay.publisher.errors import ConnectionLostError, UnsendableError
from avatar_relay.reasons import Fault, Reason

_FINAL = frozenset({Reason.REPLACED, Reason.HELLO_INVALID, Reason.PROTOCOL_VERSION_UNSUPPORTED, Reason.MESSAGE_INVALID, Reason.DRAINING})
"""Reasons for which retrying is useless; a relay in this process that stops does not come back."""


class InProcessPort(Protocol):
    """A publisher's stream at the relay: `relay_server.connections.publishers.PublisherPort`."""

    fault: Fault | None
    pings: bool
    """Whether the publisher has to ping. It is never silent otherwise."""

    async def send(self, message: FromPublisher) -> None:
        """Send a message. Raises `PeerError`."""
        ...

    async def receive(self) -> ToPublisher | None:
        """The next message from the relay; None once it has ended the stream."""
        ...

    def close(self) -> None:
        """Disconnect the publisher."""
        ...


class InProcessRelay(Protocol):
    """The part of a relay in this process that a publisher uses."""

    def connect_publisher(self) -> InProcessPort:
        """Open a new publisher stream."""
        ...


class InProcessLink:
    """See `RelayLink`. Safe to cancel."""

    def __init__(self, relay: InProcessRelay) -> None:
        self._port = relay.connect_publisher()
        self._port.pings = False  # each ping and pong would wake an idle relay, and prove nothing within one process

    async def send(self, message: FromPublisher | Joined) -> None:
        """See `RelayLink`. Yields to other tasks after the messages, because the relay accepts them at once."""
        messages = message.messages if isinstance(message, Joined) else (message,)
        for index, one in enumerate(messages):
            try:
                await self._port.send(one)
            except PeerError as error:
                raise _lost(error.fault) from error
            except Exception as error:
                raise UnsendableError(one, messages[index + 1 :]) from error
        await asyncio.sleep(0)

    async def receive(self) -> ToPublisher | None:
        """See `RelayLink`."""
        message = await self._port.receive()
        if message is None and self._port.fault is not None:
            raise _lost(self._port.fault)
        return message

    async def close(self) -> None:
        """See `RelayLink`."""
        self._port.close()


def _lost(fault: Fault) -> ConnectionLostError:
    return ConnectionLostError(f"the relay ended the stream: {fault.reason}: {fault.text}", final=fault.reason in _FINAL, fault=fault)
