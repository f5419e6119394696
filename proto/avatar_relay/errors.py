"""Errors that both programs and the publisher library share.

ConfigError    a setting has a value that cannot work
SoundError     encoded sound is not what it should be
FaultError     carries a `Fault`: what the other end is told, with its stable reason
└── PeerError  the other end broke the rules of its stream; the stream ends with the fault
"""

from __future__ import annotations

from avatar_relay.reasons import Fault


class ConfigError(Exception):
    """A setting has a value that cannot work. The text names the setting, where it was given, and what it takes."""


class SoundError(Exception):
    """Encoded sound is not what it is declared to be, or cannot be decoded here; the text says what was wrong, and where."""


class FaultError(Exception):
    """An error with a stable reason; `fault` is what the other end is told."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.reason}: {fault.text}")
        self.fault = fault


class PeerError(FaultError):
    """The other end broke the rules of its stream, which ends with this fault."""
