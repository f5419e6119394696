"""Messages between parent and child: small JSON objects, one a packet, over a SOCK_SEQPACKET pair.

The parent sends `Settings` once, then nothing; closing its end ends the child. The child answers `DeviceOpened` or `Failed`, and `Failed`
again when the device is lost, before it ends.
"""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, field

from edge_client.choices import Side

_MAX_MESSAGE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Settings:
    """What the child opens. `device` is a name that `outputs.choose` accepts; empty for the default. Frames are at `rate_hz`."""

    device: str
    rate_hz: int
    buffer_frames: int
    side: Side = "both"
    """Which channels of a two-channel device play; `left` and `right` need two channels."""
    keep_alive: bool = False
    """Never output digital silence."""
    mixer: str = ""
    """The volume control of the card to use; empty: samples are scaled."""
    learned: dict[str, int] = field(default_factory=dict)
    """The frames that a card is known to need, by its key."""


@dataclass(frozen=True, slots=True)
class DeviceOpened:
    """The stream runs."""

    device: str
    """The name by which ALSA opened it."""
    key: str
    """The key under which data of the card is stored."""
    rate_hz: int
    """The card's own rate."""
    channels: int
    buffer_frames: int
    """Frames of a callback, at the rate of `Settings`."""
    period_us: int
    """Sound that the card takes at once."""
    why: str = ""
    """Why no better output is used; empty if none is better."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The device could not be opened, or was lost."""

    reason: str


Message = Settings | DeviceOpened | Failed
_TYPES: dict[str, type[Settings] | type[DeviceOpened] | type[Failed]] = {kind.__name__: kind for kind in (Settings, DeviceOpened, Failed)}


def send(channel: socket.socket, message: Message) -> None:
    """Send one message. Raises `OSError` if the other end is gone."""
    channel.send(json.dumps({type(message).__name__: asdict(message)}).encode())


def receive(channel: socket.socket) -> Message | None:
    """The next message; None if the other end is closed. Raises `TimeoutError` after the socket's time-out."""
    try:
        packet = channel.recv(_MAX_MESSAGE_BYTES)
    except ConnectionResetError:
        return None
    if not packet:
        return None
    ((kind, fields),) = json.loads(packet).items()
    return _TYPES[kind](**fields)
