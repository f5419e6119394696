"""What draws a pose. Lives on one thread: the one that made it (SDL and GL own the main thread)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_client.motion.pose import Pose

Picture = NDArray[np.uint8]
"""RGB, shape (height, width, 3), top row first."""


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

    def draw(self, pose: Pose, *, stamp: int | None = None) -> None:
        """Draw a pose. `stamp` (0 to 2³²−1) is written as a strip of black and white blocks, for screen tests."""
        ...

    def show(self) -> None:
        """Bring what was drawn onto the glass; returns when it is there, as far as the system tells."""
        ...

    def read(self) -> Picture:
        """The picture drawn last, as it was shown."""
        ...

    def poll(self) -> bool:
        """Take the window's events; False when a person closed it."""
        ...

    def close(self) -> None:
        """Give the window back."""
        ...
