"""Errors of the edge client, beside those in `avatar_relay.errors`.

EdgeError
├── NotUnderstoodError   nobody can tell what the columns of a conversation's motion are (the peer's fault)
├── UndecodableError     a payload is not what its conversation's format says (the peer's fault)
├── SinkError            the audio device failed (the device's fault)
├── ScreenError          no window, or no picture (the device's fault)
├── AssetError           a file of the face is missing or damaged
 ├── DiscoveryError       no relay can be looked for in the network
 └── ModelError           a model cannot be made into a head (the file's fault)
"""


class EdgeError(Exception):
    """Root of all errors of this package."""


class UndecodableError(EdgeError):
    """A payload is not what its conversation's format says; the text says what was wrong, and where."""


class NotUnderstoodError(EdgeError):
    """What the columns of a conversation's motion are cannot be told; the text names them, and what they may be."""


class SinkError(EdgeError):
    """The audio device failed; the text says which, and why."""


class ScreenError(EdgeError):
    """No window, or no picture; the text says why, and what to install or set."""


class AssetError(EdgeError):
    """A file of the face is missing or damaged."""


class DiscoveryError(EdgeError):
    """No relay can be looked for; the text says why, and what to install."""


class ModelError(EdgeError):
    """A model cannot be made into a head; the text says what is wrong with it, where, and what to do."""
