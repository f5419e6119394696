"""Lets media that no device can play soon wait for more, so that one message carries it: the fewer messages, the less they all cost.

Rules:
1. A device plays a conversation in real time at most, and not before its first media is sent: its position is at most the time since
   then. A pause, a stall, or a conversation before it only holds it back.
2. Media whose PTS is at least `EARLY_US` beyond that may wait, up to `hold_us`. It leaves at once when something that may not wait joins
   it: other media, an end. When there is enough for a full message, that leaves.
3. With `Pacing.LIVE` a device may skip media, so nothing waits.
"""

from __future__ import annotations

from collections.abc import Iterable

from avatar_relay.publisher.published_conversation import PublishedConversation

EARLY_US = 2_000_000
HOLD_US = 200_000
"""A tenth of what a device holds at least, so that a network that pauses matters as little as before."""


class EarlyMedia:
    """The conversations whose media waits, up to `hold_us`. Pure; not thread-safe."""

    def __init__(self, hold_us: int) -> None:
        self._hold_us = hold_us
        self._begun_us: dict[PublishedConversation, int] = {}
        """When each conversation could first send; its first media was not sent before."""
        self._until_us: dict[PublishedConversation, int] = {}
        """How long each one waits; the first is the earliest."""
        self._due: dict[PublishedConversation, None] = {}
        """Those that have waited for long enough, until all of it was sent."""

    @property
    def deadline_us(self) -> int | None:
        """When the next one will have waited for long enough; None if none waits."""
        return next(iter(self._until_us.values()), None)

    def holds(self, conversation: PublishedConversation, now_us: int) -> bool:
        """Whether the media of a conversation waits. If not, it is sent now."""
        begun_us = self._begun_us.setdefault(conversation, now_us)
        if conversation in self._due or not conversation.may_be_joined(now_us - begun_us + EARLY_US):
            return False
        return now_us < self._until_us.setdefault(conversation, now_us + self._hold_us)

    def due(self, now_us: int) -> Iterable[PublishedConversation]:
        """Those that have waited for long enough, to be sent now."""
        for conversation in [one for one, until_us in self._until_us.items() if until_us <= now_us]:
            self.hurry(conversation)
        return self._due

    def hurry(self, conversation: PublishedConversation) -> None:
        """What is waiting in a conversation waits no longer."""
        self._until_us.pop(conversation, None)
        self._due[conversation] = None

    def sent(self, conversation: PublishedConversation) -> None:
        """All media of a conversation was sent, or dropped: what follows may wait anew."""
        self._until_us.pop(conversation, None)
        self._due.pop(conversation, None)

    def forget(self, conversation: PublishedConversation) -> None:
        """A conversation is over."""
        self.sent(conversation)
        self._begun_us.pop(conversation, None)
