"""Where publishers and devices plug into the relay, whether over gRPC or within the process.

A port belongs to one stream. One task may `send` while another `receive`s. Ports hold no rules:
they ask their handler, `connections.publishers` or `connections.devices`.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from avatar_relay.errors import PeerError
from avatar_relay.messages import AtRelay, GoAway, ToPublisher, ToRelayFromDevice
from avatar_relay.reasons import Fault
from relay_server.core.device_outbox import Outgoing
from relay_server.core.registry import PublisherRecord
from relay_server.core.session import Session


class PublisherHandler(Protocol):
    """What a publisher's port asks of the relay."""

    def publisher_says(self, port: PublisherPort, message: AtRelay) -> None:
        """Take a message. Raises `PeerError` where it ends the stream."""
        ...

    def publisher_blocked(self, port: PublisherPort, message: AtRelay) -> bool:
        """Whether the message must wait for room."""
        ...

    def publisher_leaves(self, port: PublisherPort, *, said_all: bool) -> None:
        """The stream is gone, or nothing more comes on it."""
        ...


class DeviceHandler(Protocol):
    """What a device's port asks of the relay."""

    def device_says(self, port: DevicePort, message: ToRelayFromDevice) -> None:
        """Take a message. Raises `PeerError` where it ends the stream."""
        ...

    def next_for_device(self, port: DevicePort) -> Outgoing | None:
        """What to send next; None where nothing may be sent now."""
        ...

    def device_leaves(self, port: DevicePort) -> None:
        """The stream is gone."""
        ...


class _Port:
    """A stream that the relay may end, and a signal that something is to be sent."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        """Why the relay ended the stream; None where it ended well."""
        self.ended = False
        self.farewell: GoAway | None = None
        """Said last, in place of what still waits."""
        self._signal = asyncio.Event()

    def wake(self) -> None:
        """There may be something to send."""
        self._signal.set()

    def end(self, fault: Fault | None = None) -> None:
        """End the stream: `receive` gives what is still to be said, then None."""
        if not self.ended:
            self.ended, self.fault = True, fault
        self.wake()

    def check_open(self) -> None:
        """Raise `PeerError` where the relay ended the stream with a fault."""
        if self.fault is not None:
            raise PeerError(self.fault)

    def take_farewell(self) -> GoAway | None:
        """What is said last, once."""
        farewell, self.farewell = self.farewell, None
        return farewell

    async def wait(self) -> None:
        """Until `wake`. Safe to cancel."""
        await self._signal.wait()
        self._signal.clear()


class PublisherPort(_Port):
    """One publisher's stream. Made by `Relay.connect_publisher`."""

    def __init__(self, handler: PublisherHandler) -> None:
        super().__init__()
        self._handler = handler
        self.publisher: PublisherRecord | None = None
        """Known after the first message."""
        self.said_all = False
        """Nothing more comes on the stream, but it is still told."""
        self.heard_us = 0
        """When the publisher said something last."""
        self.leaves_us: int | None = None
        """When what it left open is to be ended; None where that is done, or not due."""
        self.room = asyncio.Event()
        """Set when media left for a device."""

    async def send(self, message: AtRelay) -> None:
        """Say something. Waits while the relay can take no more media of a stream without hello; safe to cancel then.

        Raises `PeerError` where the message ends the stream. Faults of a conversation come by `receive` instead.
        """
        self.check_open()
        while self._handler.publisher_blocked(self, message):
            self.room.clear()
            await self.room.wait()
            self.check_open()
        self._handler.publisher_says(self, message)

    async def receive(self) -> ToPublisher | None:
        """What the relay says next; None when it ended the stream. Safe to cancel."""
        while True:
            if (farewell := self.take_farewell()) is not None:
                return farewell
            if self.publisher is not None and self.publisher.backlog:
                return self.publisher.backlog.popleft()
            if self.ended:
                return None
            await self.wait()

    def finish_sending(self) -> None:
        """Nothing more will be sent: open conversations are ended, and the stream ends when they are finished."""
        self._handler.publisher_leaves(self, said_all=True)

    def close(self) -> None:
        """The publisher went away: its lease begins. Harmless when repeated."""
        self._handler.publisher_leaves(self, said_all=False)

    def end(self, fault: Fault | None = None) -> None:
        """End the stream, also for a `send` that waits."""
        super().end(fault)
        self.room.set()


class DevicePort(_Port):
    """One device's stream. Made by `Relay.connect_device`."""

    def __init__(self, handler: DeviceHandler) -> None:
        super().__init__()
        self._handler = handler
        self.session: Session | None = None
        """Known after hello."""
        self.heard_us = 0
        """When the device said something last."""
        self.next_ping_us = 0

    async def send(self, message: ToRelayFromDevice) -> None:
        """Say something. Raises `PeerError` where the message ends the stream."""
        self.check_open()
        self._handler.device_says(self, message)

    async def receive(self) -> Outgoing | None:
        """What the relay says next; None when it ended the stream. Safe to cancel."""
        while True:
            if (farewell := self.take_farewell()) is not None:
                return farewell
            if self.ended:
                return None
            following = self._handler.next_for_device(self)
            if following is not None:
                return following
            await self.wait()

    def close(self) -> None:
        """The device's stream is gone: its lease begins. Harmless when repeated."""
        self._handler.device_leaves(self)
