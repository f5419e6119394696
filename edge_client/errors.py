"""Errors of the edge client, beside those in `avatar_relay.errors`.

EdgeError
├── NotUnderstoodError   the columns of a conversation's motion cannot be identified (the peer's fault)
├── UndecodableError     a payload does not match the format of its conversation (the peer's fault)
├── SinkError            the audio device failed (the device's fault)
├── ScreenError          no window, or no picture (the device's fault)
├── AssetError           a file of the face is missing or damaged
├── DiscoveryError       the network cannot be searched for relays
└── ModelError           a model cannot be made into a head (the file's fault)
"""


class EdgeError(Exception):
    """Root of all errors of this package."""


class UndecodableError(EdgeError):
    """A payload does not match the format of its conversation; the text describes the mismatch and its position."""


class NotUnderstoodError(EdgeError):
    """The columns of a conversation's motion cannot be identified; the text names them, and the accepted ones."""


class SinkError(EdgeError):
    """The audio device failed; the text names the device and the cause."""


class ScreenError(EdgeError):
    """No window, or no picture; the text gives the cause, and what to install or set."""


class AssetError(EdgeError):
    """A file of the face is missing or damaged."""


class DiscoveryError(EdgeError):
    """The network cannot be searched for relays; the text gives the cause, and what to install."""


class ModelError(EdgeError):
    """A model cannot be made into a head; the text describes the fault, its position and the remedy."""
