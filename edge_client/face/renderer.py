"""The interface of renderers. A renderer belongs to the thread that made it (SDL and GL require the main thread)."""

from __future__ import annotations

import enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_client.face.overlay import NOTHING, Overlay
from edge_client.motion.pose import Pose

Picture = NDArray[np.uint8]
"""RGB, shape (height, width, 3), top row first."""


class Wish(enum.Enum):
    """A person's request at the window."""

    NONE = "none"
    LEAVE = "leave"
    """The window was closed, or Escape was pressed."""
    LOST = "lost"
    """Not a request: the display has disappeared."""
    FIGURES = "figures"
    """The key h: show or hide the figures."""


class Renderer(Protocol):
    """Draws the face into a window, on the console, or off-screen."""

    @property
    def name(self) -> str:
        """Human-readable: what draws, and where."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    def draw(self, pose: Pose, *, overlay: Overlay = NOTHING, stamp: int | None = None) -> None:
        """Start drawing a pose and its overlay; `show` follows at once or some milliseconds later.

        `stamp` (0 to 2³²−1) is drawn as a strip of black and white blocks, for screen tests.
        """
        ...

    def show(self) -> None:
        """Bring the drawn picture onto the screen; returns when it is there, as far as the system reports it."""
        ...

    def read(self) -> Picture:
        """Return the last picture drawn, as it was shown."""
        ...

    def poll(self) -> Wish:
        """Process the window's events; returns the person's request."""
        ...

    def close(self) -> None:
        """Close the window and release its resources."""
        ...
