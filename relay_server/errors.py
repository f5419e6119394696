"""Errors of the relay, in addition to those in `avatar_relay.errors`."""

from avatar_relay.errors import FaultError


class BackgroundError(Exception):
    """A background task ended by itself; it was logged with its name and cause."""


class ConversationFault(FaultError):
    """A fault of one conversation: reported in-band, and the stream stays open."""


class RequestError(FaultError):
    """An operator's request failed."""
