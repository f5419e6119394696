"""All errors of the publisher library.

PublisherError
├── ConnectionLostError        no stream to the relay, or it broke off; `final` tells whether trying again is of use
├── PublisherClosedError       a verb was used before the publisher was opened, or after it was closed
├── BufferFullError            a `_nowait` verb found no room; nothing was taken
├── UnknownConversationError   no conversation has the id; also a `FaultError`
├── InvalidMediaError          sound, motion or a setting that is not what it is declared to be; nothing was taken; also a
                               `FaultError` and a `ValueError`
└── ConversationFailedError    the relay gave up a conversation, or the stream that carried it was lost; also a `FaultError`

An argument of a wrong type is a TypeError at the call, one that is out of range a ValueError: see `avatar_relay.checks`.
"""

from __future__ import annotations

from avatar_relay.errors import FaultError
from avatar_relay.messages import FromPublisher
from avatar_relay.reasons import Fault


class PublisherError(Exception):
    """Root of all errors of this package."""


class ConnectionLostError(PublisherError):
    """No stream to the relay, or it broke off.

    `final`: trying again would end the same way. `fault` is what the relay said about it, None if the line failed. `foreign`: a proxy
    on the way answered in the relay's place.
    """

    def __init__(self, text: str, *, final: bool = False, fault: Fault | None = None, foreign: bool = False) -> None:
        super().__init__(text)
        self.final = final
        self.fault = fault
        self.foreign = foreign
        self.reason = None if fault is None else fault.reason
        """Of the fault."""


class PublisherClosedError(PublisherError):
    """A verb was used before `async with` was entered, or after it was left."""


class BufferFullError(PublisherError):
    """A `_nowait` verb found no room; nothing was taken. The verb without `_nowait` waits."""


class UnknownConversationError(PublisherError, FaultError):
    """No conversation of this publisher has the id, or it ended too long ago to be remembered."""


class InvalidMediaError(PublisherError, FaultError, ValueError):
    """Sound, motion or a setting that cannot be what it is declared to be; nothing was taken, the conversation lives."""


class UnsendableError(PublisherError):
    """A fault of this library, or of a value that it did not check: a message could not be encoded, or taken by a relay in this process.

    `message` is the one. `unsent` are those that were to be sent with it and were not; the stream lives.
    """

    def __init__(self, message: FromPublisher, unsent: tuple[FromPublisher, ...]) -> None:
        super().__init__(f"{type(message).__name__} could not be sent")
        self.message = message
        self.unsent = unsent


class ConversationFailedError(PublisherError, FaultError):
    """The relay gave up a conversation, or the stream that carried it was lost."""

    def __init__(self, conversation_id: str, fault: Fault) -> None:
        super().__init__(fault)
        self.conversation_id = conversation_id
