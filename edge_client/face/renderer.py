"""What draws a pose. Lives on one thread: the one that made it (SDL and GL own the main thread)."""

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
    """What a person asks of the face, at its window."""

    NONE = "none"
    LEAVE = "leave"
    """The window was closed, or Escape was pressed."""
    LOST = "lost"
    """Nobody wishes anything: the display is gone."""
    FIGURES = "figures"
    """The key h: show the figures, or hide them."""


class Renderer(Protocol):
    """Draws the face into a window, onto the console, or off-screen."""

    @property
    def name(self) -> str:
        """For people: what draws and where."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    def draw(self, pose: Pose, *, overlay: Overlay = NOTHING, stamp: int | None = None) -> None:
        """Draw a pose and what is written over it. `stamp` (0 to 2³²−1) is drawn as a strip of black and white blocks, for screen tests.

        Begins the work; `show` follows at once or some milliseconds later.
        """
        ...

    def show(self) -> None:
        """Bring what was drawn onto the glass; returns when it is there, as far as the system tells."""
        ...

    def read(self) -> Picture:
        """The picture drawn last, as it was shown."""
        ...

    def poll(self) -> Wish:
        """Take the window's events; what a person wants."""
        ...

    def close(self) -> None:
        """Give the window back."""
        ...
