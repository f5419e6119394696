"""Messages between parent and child besides questions and answers: `FaceStart` first, then the child's reports, as JSON."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_client.config import EdgeConfig

MAX_START_BYTES = 128 << 10


@dataclass(frozen=True, slots=True)
class Watcher:
    """A `PictureObserver` that runs in the face's process and gets pixels: `MODULE:NAME`, called with `argument`."""

    path: str
    argument: str = ""


@dataclass(frozen=True, slots=True)
class FaceStart:
    """All that the child needs to start."""

    config: EdgeConfig
    name: str
    """Seeds the idle motion."""
    watchers: tuple[Watcher, ...] = ()
    is_filmed: bool = False
    """Whether a descriptor for the film was inherited."""
    avoid: frozenset[str] = frozenset()
    """Kinds of renderer that crashed."""
    known: dict[str, Any] = field(default_factory=dict)
    """GL drivers found by earlier children, see `Drawing`."""
    is_dark: bool | None = None
    """Last state set for the screen: whether it sleeps; None if none was set in this run."""
    search_s: float = 3.0
    """Interval at which a face drawn off-screen looks for a display, if a window is wanted."""
    is_watched: bool = True
    """Whether the parent needs reports of pictures that are drawn off-screen."""

    def pack(self) -> bytes:
        """Encode as a packet. It is a pickle: only a parent may send it."""
        return pickle.dumps(self)


@dataclass(frozen=True, slots=True)
class Trying:
    """A way to draw is about to be tried, which may end the process."""

    kind: str
    addresses: tuple[str | tuple[str, int], ...] = ()
    """Where its display listens, as in `DesktopDisplay`."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The renderer is open."""

    name: str
    kind: str
    where: str
    reasons: tuple[str, ...] = ()
    """Why no better way was chosen."""
    known: dict[str, Any] = field(default_factory=dict)
    """The GL driver, keyed by the place where it was tried."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """The child ends on its own."""

    why: str
    """`closed` by a person, the display was `lost`, a `screen` is available now, or it `failed`."""
    reason: str


Message = Trying | Drawing | Leaving
_TYPES: dict[str, type[Trying] | type[Drawing] | type[Leaving]] = {kind.__name__: kind for kind in (Trying, Drawing, Leaving)}


def pack_message(message: Message) -> bytes:
    """Encode as a packet that begins with a brace."""
    return json.dumps({type(message).__name__: asdict(message)}).encode()


def unpack_message(packet: bytes) -> Message:
    """Decode a packet of `pack_message`. Raises ValueError, KeyError and TypeError."""
    ((kind, fields),) = json.loads(packet).items()
    lists = {name: tuple(map(_hashable, value)) for name, value in fields.items() if isinstance(value, list)}
    return _TYPES[kind](**fields | lists)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
