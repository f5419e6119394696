"""The line to a relay in the same process: plain messages, no wire."""

from __future__ import annotations

import asyncio
from typing import Protocol

from avatar_relay.errors import PeerError
from avatar_relay.messages import FromPublisher, Joined, ToPublisher
from avatar_relay.publisher.errors import ConnectionLostError, UnsendableError
from avatar_relay.reasons import Fault, Reason

_FINAL = frozenset({Reason.REPLACED, Reason.HELLO_INVALID, Reason.PROTOCOL_VERSION_UNSUPPORTED, Reason.MESSAGE_INVALID, Reason.DRAINING})
"""Reasons that would come again; a relay in this very process that stops does not come back."""


class InProcessPort(Protocol):
    """A publisher's stream at the relay, `relay_server.connections.publishers.PublisherPort`."""

    fault: Fault | None

    async def send(self, message: FromPublisher) -> None:
        """Say something. Raises `PeerError`."""
        ...

    async def receive(self) -> ToPublisher | None:
        """What the relay says; None when it ended the stream."""
        ...

    def close(self) -> None:
        """The publisher goes away."""
        ...


class InProcessRelay(Protocol):
    """A relay in this process, as far as a publisher needs it."""

    def connect_publisher(self) -> InProcessPort:
        """A new publisher's stream."""
        ...


class InProcessLink:
    """See `RelayLink`. Cancelling does not harm it."""

    def __init__(self, relay: InProcessRelay) -> None:
        self._port = relay.connect_publisher()

    async def send(self, message: FromPublisher | Joined) -> None:
        """See `RelayLink`. Lets others run after each message, because the relay takes it at once."""
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
