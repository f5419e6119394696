"""Errors that both programs and the publisher library share.

ConfigError    a setting has an invalid value
SoundError     encoded audio is not as declared
FaultError     carries a `Fault`: the report to the other end, with its stable reason
└── PeerError  the other end broke the rules of its stream; the stream ends with the fault
"""

from __future__ import annotations

from avatar_relay.reasons import Fault


class ConfigError(Exception):
    """A setting has an invalid value. The text names the setting, where it was set, and the accepted values."""


class SoundError(Exception):
    """Encoded audio is not as declared, or cannot be decoded here; the text describes the error and its position."""


class FaultError(Exception):
    """An error with a stable reason; `fault` is reported to the other end."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.reason}: {fault.text}")
        self.fault = fault


class PeerError(FaultError):
    """The other end broke the rules of its stream, which ends with this fault."""
