"""The eyeballs of a head without its own: spheres whose shader draws cornea, tears, the shadow of the lids and a reflected window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.colours import Colour
from edge_client.face.gl.binding import GL
from edge_client.face.gl.eye_paint import eye_picture
from edge_client.face.gl.meshes import EyeBuffers, upload_texture
from edge_client.face.gl.program import Program
from edge_client.face.head import Head

Floats = NDArray[np.float32]

_OPEN = (0.33, -0.33)
"""Default heights of the lids if none are found, on the unit sphere."""
_RIM_NEAR, _RIM_FAR, _RIM_ACROSS, _RIM_AHEAD = 0.98, 1.09, 0.35, 0.85
"""Where the lids' edges are at rest, in eyeball radii from its centre."""


@dataclass(frozen=True, slots=True)
class Rims:
    """The moving vertices in the middle of one eye's lid edges. Pure."""

    upper: NDArray[np.int64]
    lower: NDArray[np.int64]
    centre: Floats
    radius: float

    def heights(self, moved: Floats) -> tuple[float, float]:
        """Heights of the upper and lower lid's edge above the eyeball's centre, in its radii. `moved`: the vertices from the rig."""
        up, down = _OPEN
        if self.upper.size:
            up = float((moved[self.upper, 1].min() - self.centre[1]) / self.radius)
        if self.lower.size:
            down = float((moved[self.lower, 1].max() - self.centre[1]) / self.radius)
        return up, down


def lid_rims(head: Head) -> tuple[Rims, Rims]:
    """Find the lid edges of the left and the right eye."""
    found = []
    for centre in head.eye_centres:
        off = (head.points[: head.moving] - centre) / head.eye_radius
        far = np.linalg.norm(off, axis=1)
        rim = (far > _RIM_NEAR) & (far < _RIM_FAR) & (np.abs(off[:, 0]) < _RIM_ACROSS) & (off[:, 2] > _RIM_AHEAD)
        upper, lower = (np.flatnonzero(rim & side) for side in (off[:, 1] > 0, off[:, 1] < 0))
        found.append(Rims(upper, lower, centre, head.eye_radius))
    return found[0], found[1]


class Eyes:
    """Draws both eyeballs. Needs a current context."""

    def __init__(self, head: Head, chosen: Colour | None) -> None:
        """Paint and upload them. `chosen`: the colour of the iris."""
        self.program = Program("eye")
        self._buffers = EyeBuffers()
        self._rims = lid_rims(head)
        self._paint = upload_texture(eye_picture(chosen), levels=True)
        self.program.use()
        self.program.set_vector("radius", np.full(3, head.eye_radius, np.float32))
        self.program.set_integer("paint", 0)

    def draw(self, turn: Floats, gazes: Floats, moved: Floats) -> None:
        """Draw both, turned by `gazes` (2, 3, 3), between the lids of `moved`."""
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._paint)
        self.program.use()
        self.program.set_matrix("turn", turn)
        for rims, gaze in zip(self._rims, gazes, strict=True):
            nose = 1.0 if rims.centre[0] > 0 else -1.0
            self.program.set_vector("centre", rims.centre)
            self.program.set_vector("lids", np.array((*rims.heights(moved), nose), np.float32))
            self.program.set_matrix("gaze", gaze)
            self._buffers.draw()
