"""A stream between a peer and the relay without a network: messages are delivered one at a time when the schedule decides."""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from typing import Any

from avatar_relay.errors import PeerError
from relay_server.connections.devices import DevicePort
from relay_server.connections.publishers import PublisherPort

NOTHING = object()
"""Sentinel: there is nothing to receive now."""


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine; `NOTHING` if it would wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    return NOTHING


class Leg:
    """One stream. Messages sent are in flight until they arrive, or are lost when the stream is cut."""

    def __init__(self, port: PublisherPort | DevicePort) -> None:
        self.port = port
        self.up: deque[Any] = deque()
        """Messages in flight to the relay."""
        self.down: deque[Any] = deque()
        """Messages in flight from the relay."""
        self.standing = True
        """True until the peer notices that the stream is gone."""
        self.relay_noticed = False

    def cut(self) -> None:
        """Lose all messages in flight; the relay notices later."""
        self.standing = False
        self.up.clear()
        self.down.clear()

    def relay_notices(self) -> None:
        """Notify the relay that the stream is gone."""
        if not self.relay_noticed:
            self.relay_noticed = True
            self.port.close()

    def arrive_at_relay(self) -> None:
        """Deliver the first message in flight to the relay."""
        message: Any = self.up.popleft()
        try:
            assert at_once(self.port.send(message)) is not NOTHING
        except PeerError as error:
            self.port.end(error.fault)

    def leave_relay(self, count: int) -> int:
        """Take up to `count` messages from the relay; returns their number. If the relay ended the stream, it is cut."""
        for number in range(count):
            message = at_once(self.port.receive())
            if message is NOTHING:
                return number
            if message is None:
                self.cut()
                self.relay_notices()
                return number
            self.down.append(message)
        return count
