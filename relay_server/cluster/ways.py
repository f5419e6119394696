"""The cluster as a door needs it: where devices are, and passages to them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from avatar_relay.messages import AtRelay, PublisherHello, Taken, ToPublisher
from avatar_relay.reasons import Fault

HERE = ""
"""This relay, among the places of a conversation."""


class PassageUser(Protocol):
    """The door, as a passage sees it."""

    owner: str

    def hear(self, place: str, message: ToPublisher) -> None:
        """Handle a relay's message to the publisher."""
        ...

    def has_parts(self, conversation_ids: Sequence[str]) -> None:
        """Note that a home has parts of these conversations."""
        ...

    def passage_ended(self, home: str, fault: Fault | None) -> None:
        """A home, or the tunnel to it, is gone."""
        ...


class Passage(Protocol):
    """A passage to a home, for one publisher's stream."""

    def say(self, message: AtRelay, data: bytes) -> None:
        """Queue a message for the next `flush`; `data` are its bytes, empty if it was created or changed here."""
        ...

    def forward(self, data: bytes) -> None:
        """Queue a message in its own bytes for the next `flush`."""
        ...

    def flush(self) -> Awaitable[None] | None:
        """Send the queued messages, in one message if they fit; returns what must be awaited if too much is not handled by the home."""
        ...

    def say_all(self) -> None:
        """Queue the end of a publisher without hello (typed by hand), which has half-closed its stream."""
        ...

    def close(self) -> None:
        """Send what is queued, and end the tunnel: the publisher is gone."""
        ...


class Ways(Protocol):
    """The cluster, as a door sees it."""

    async def home_of(self, device_id: str) -> str | None:
        """The name of a device's home; `HERE` for this relay, None if no relay has it. Raises `BackplaneError`."""
        ...

    def is_here(self, device_id: str) -> bool:
        """Whether this relay has a device."""
        ...

    def expects(self, device_id: str, *, among_others: bool) -> bool:
        """Whether a device that no relay has now may be moving between relays; `among_others`: in a conversation with other devices."""
        ...

    def give_up(self, device_id: str, *, among_others: bool) -> None:
        """Stop expecting a device: it did not appear. `among_others`: only in conversations with other devices, until it attaches."""
        ...

    def all_told(self, within_s: float) -> bool:
        """Whether all relays were heard in this time, and have claimed their devices: a device not found since then is unknown."""
        ...

    def check_all_told(self) -> None:
        """For what cannot wait for a device that was not found. Raises `BackplaneError` if a relay that cannot be asked may have it."""
        ...

    async def homes_of_publisher(self, key: str) -> tuple[str, ...]:
        """The other relays that know a publisher, among those that answer."""
        ...

    async def open_passage(self, home: str, port: PassageUser, hello: PublisherHello | None) -> tuple[Passage, tuple[Taken, ...]]:
        """Open a passage; returns it with the cursors of the publisher's conversations at the home. Raises `BackplaneError`."""
        ...

    def members_of(self, target: str) -> tuple[str, ...]:
        """The devices of a target: a group's members, or the device itself."""
        ...
