"""Errors of the relay, beside those in `avatar_relay.errors`."""

from avatar_relay.errors import FaultError


class BackgroundError(Exception):
    """A background task of the program ended by itself; it was logged with its name and cause."""


class ConversationFault(FaultError):
    """Something is wrong with one conversation: reported in-band, the stream lives."""


class RequestError(FaultError):
    """What an operator asked of the relay cannot be done."""
