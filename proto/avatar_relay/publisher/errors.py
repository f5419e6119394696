"""Errors of the publisher library.

PublisherError
├── ConnectionLostError        no stream to the relay, or it broke; `final` if retrying is useless
├── PublisherClosedError       a verb was used before the publisher was opened, or after it was closed
├── BufferFullError            a `_nowait` verb found no room; nothing was accepted
├── UnknownConversationError   no conversation has the id; also a `FaultError`
├── InvalidMediaError          audio, motion or a setting is not as declared; nothing was accepted; also a
                               `FaultError` and a `ValueError`
└── ConversationFailedError    the relay gave up a conversation, or the stream that carried it was lost; also a `FaultError`

An argument of a wrong type raises TypeError at the call, one out of range ValueError: see `avatar_relay.checks`.
"""

from __future__ import annotations

from avatar_relay.errors import FaultError
from avatar_relay.messages import FromPublisher
from avatar_relay.reasons import Fault


class PublisherError(Exception):
    """Root of all errors of the publisher library."""


class ConnectionLostError(PublisherError):
    """No stream to the relay, or it broke.

    `final`: retrying would end the same way. `fault` is the relay's own report, None if the connection failed. `foreign`: a proxy on the
    way answered instead of the relay.
    """

    def __init__(self, text: str, *, final: bool = False, fault: Fault | None = None, foreign: bool = False) -> None:
        super().__init__(text)
        self.final = final
        self.fault = fault
        self.foreign = foreign
        self.reason = None if fault is None else fault.reason
        """The reason of `fault`; None if there is none."""


class PublisherClosedError(PublisherError):
    """A verb was used before `async with` was entered, or after it was left."""


class BufferFullError(PublisherError):
    """A `_nowait` verb found no room; nothing was accepted. The verb without `_nowait` waits."""


class UnknownConversationError(PublisherError, FaultError):
    """No conversation of this publisher has the id, or it ended too long ago to be remembered."""


class InvalidMediaError(PublisherError, FaultError, ValueError):
    """Audio, motion or a setting is not as declared; nothing was accepted, and the conversation continues."""


class UnsendableError(PublisherError):
    """A message could not be encoded, or a relay in this process could not accept it: a bug, or a value that was not checked.

    `message` is that message. `unsent` are those that would have been sent with it and were not; the stream continues.
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
