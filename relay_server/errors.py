"""All errors of the relay.

RelayError
├── ConfigError          the configuration says something that can not be
├── PeerError            a peer broke the rules of its stream: the stream ends with the fault
├── ConversationFault    something is wrong with one conversation: reported in-band, the stream lives
└── RequestError         what a person asked of the relay can not be done
"""

from avatar_relay.reasons import Fault


class RelayError(Exception):
    """Root of all errors of this package."""


class ConfigError(RelayError):
    """The configuration says something that can not be; the text names the setting and what it takes."""


class FaultError(RelayError):
    """An error that travels: it carries the `Fault` that the peer gets."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.reason}: {fault.text}")
        self.fault = fault


class PeerError(FaultError):
    """A peer broke the rules of its stream, which ends with this fault."""


class ConversationFault(FaultError):
    """Something is wrong with one conversation; everybody else goes on."""


class RequestError(FaultError):
    """What a person asked of the relay can not be done."""
