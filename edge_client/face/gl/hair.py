"""Draws hair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_client.colours import PAINTED_HAIR, Colour, factor
from edge_client.face.gl.binding import GL
from edge_client.face.gl.meshes import attribute, upload, upload_texture
from edge_client.face.gl.program import Program
from edge_client.face.hair import Hair

_STRANDS, _LONG = 256, 64
_DARK, _LIGHT = np.array((0.175, 0.105, 0.076)), np.array((0.375, 0.235, 0.160))


class HairLocks:
    """Draws the locks of a head. Needs a current context."""

    def __init__(self, hair: Hair, chosen: Colour | None, *, is_high: bool) -> None:
        """Upload the hair. `chosen`: its colour. `is_high`: locks have soft edges, if there are several samples for each pixel."""
        self.program = Program("hair", is_high=is_high)
        self.program.use()
        self.program.set_integer("paint", 0)
        self._paint = upload_texture(strands_picture(chosen), levels=True)
        self._array = GL.glGenVertexArrays(1)
        GL.glBindVertexArray(self._array)
        vertices = np.concatenate([hair.points, hair.normals, hair.chart, hair.shade[:, None], hair.along], axis=1).astype(np.float32)
        self._buffers = [upload(GL.GL_ARRAY_BUFFER, vertices)]
        for place, (count, offset) in enumerate(((3, 0), (3, 3), (2, 6), (1, 8), (3, 9))):
            attribute(place, count, 12, offset)
        self._buffers.append(upload(GL.GL_ELEMENT_ARRAY_BUFFER, hair.triangles))
        self._count = hair.triangles.size

    def free(self) -> None:
        """Release all resources; it cannot be drawn afterwards."""
        self.program.free()
        GL.glDeleteTextures([self._paint])
        GL.glDeleteVertexArrays(1, [self._array])
        GL.glDeleteBuffers(2, self._buffers)

    def draw(self, turn: NDArray[np.float32]) -> None:
        """Draw over the head drawn before; both sides are visible."""
        GL.glDisable(GL.GL_CULL_FACE)
        GL.glColorMask(True, True, True, False)
        GL.glEnable(GL.GL_SAMPLE_ALPHA_TO_COVERAGE)  # has no effect with one sample for each pixel
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._paint)
        self.program.use()
        self.program.set_matrix("turn", turn)
        GL.glBindVertexArray(self._array)
        GL.glDrawElements(GL.GL_TRIANGLES, self._count, GL.GL_UNSIGNED_SHORT, None)
        GL.glDisable(GL.GL_SAMPLE_ALPHA_TO_COVERAGE)
        GL.glColorMask(True, True, True, True)
        GL.glEnable(GL.GL_CULL_FACE)


def strands_picture(chosen: Colour | None) -> NDArray[np.uint8]:
    """Strands side by side, RGBA, (64, 256, 4), row 0 at the roots: their colour, and the strength of the highlight. Pure."""
    chance = np.random.default_rng(3)
    fine, wide = chance.random(_STRANDS), chance.random(_STRANDS // 8)
    at = np.arange(_STRANDS) / 8
    cell = at.astype(int)
    smooth = wide[cell] * (1 - (at - cell)) + wide[(cell + 1) % len(wide)] * (at - cell)
    level = 0.30 * fine + 0.70 * smooth
    along = np.linspace(0, 1, _LONG)[:, None]
    light = np.clip(level[None, :] * 0.85 + 0.20 * along - 0.06, 0, 1)
    colour = (_DARK + (_LIGHT - _DARK) * light[..., None]) * factor(chosen, PAINTED_HAIR)
    shine = np.broadcast_to(0.35 + 0.65 * fine, light.shape)
    pixels = np.concatenate([colour, shine[..., None]], axis=2) * 255
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)
