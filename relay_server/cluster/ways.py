"""What a door needs of the cluster: where devices are, and ways there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from avatar_relay.messages import AtRelay, PublisherHello, Taken, ToPublisher
from avatar_relay.reasons import Fault

HERE = ""
"""This relay, among the places where a conversation may be."""


class PassageUser(Protocol):
    """The door, as a passage sees it."""

    owner: str

    def hear(self, place: str, message: ToPublisher) -> None:
        """A relay says something."""
        ...

    def has_parts(self, conversation_ids: Sequence[str]) -> None:
        """A home has parts of these conversations."""
        ...

    def passage_ended(self, home: str, fault: Fault | None) -> None:
        """A home, or the way to it, is gone."""
        ...


class Passage(Protocol):
    """A way to a home, for one publisher's stream."""

    def say(self, message: AtRelay, data: bytes) -> None:
        """Have a message sent with the next `flush`; `data` are its bytes, empty if it was made or changed here."""
        ...

    async def flush(self) -> None:
        """Send what waits, in one message where it fits."""
        ...

    def say_all(self) -> None:
        """A publisher that types by hand says nothing more."""
        ...

    async def close(self) -> None:
        """The publisher is gone."""
        ...


class Ways(Protocol):
    """The cluster, as a door sees it."""

    async def home_of(self, device_id: str) -> str | None:
        """The name of a device's home, `HERE` for this relay, None for nobody. Raises `BackplaneError`."""
        ...

    def expects(self, device_id: str) -> bool:
        """Whether a device that nobody has now may be on its way from one relay to another."""
        ...

    def give_up(self, device_id: str) -> None:
        """It did not come."""
        ...

    async def homes_of_publisher(self, key: str) -> tuple[str, ...]:
        """The other relays that know a publisher, as far as they answer."""
        ...

    async def open_passage(self, home: str, port: PassageUser, hello: PublisherHello | None) -> tuple[Passage, tuple[Taken, ...]]:
        """A way there, and what the home has of the publisher's conversations. Raises `BackplaneError`."""
        ...

    def members_of(self, target: str) -> tuple[str, ...]:
        """The devices that a target stands for."""
        ...
