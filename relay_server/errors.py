"""Errors of the relay, beside those in `avatar_relay.errors`. Each carries the `Fault` that travels."""

from avatar_relay.errors import FaultError


class ConversationFault(FaultError):
    """Something is wrong with one conversation: reported in-band, the stream lives."""


class RequestError(FaultError):
    """What an operator asked of the relay cannot be done."""
