"""A stream between a peer and the relay, without a wire: messages travel one at a time, whenever the schedule says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from typing import Any

from avatar_relay.errors import PeerError
from relay_server.connections.devices import DevicePort
from relay_server.connections.publishers import PublisherPort

NOTHING = object()
"""There is nothing to receive now."""


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives without waiting; `NOTHING` where it would wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    return NOTHING


class Leg:
    """One stream. What was sent is on its way until it arrives, or is lost when the stream is cut."""

    def __init__(self, port: PublisherPort | DevicePort) -> None:
        self.port = port
        self.up: deque[Any] = deque()
        """On its way to the relay."""
        self.down: deque[Any] = deque()
        """On its way from the relay."""
        self.standing = True
        """The peer has not noticed anything."""
        self.relay_noticed = False

    def cut(self) -> None:
        """All that is on its way is lost; the relay notices later."""
        self.standing = False
        self.up.clear()
        self.down.clear()

    def relay_notices(self) -> None:
        """The relay learns that the stream is gone."""
        if not self.relay_noticed:
            self.relay_noticed = True
            self.port.close()

    def arrive_at_relay(self) -> None:
        """The first message that is on its way there arrives."""
        message: Any = self.up.popleft()
        try:
            assert at_once(self.port.send(message)) is not NOTHING
        except PeerError as error:
            self.port.end(error.fault)

    def leave_relay(self, count: int) -> int:
        """Up to `count` messages leave the relay; returns how many did. Where the relay ended the stream, it is cut."""
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
