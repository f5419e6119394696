"""Draws hair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_client.colours import PAINTED_HAIR, Colour, factor
from edge_client.face.gl.binding import GL
from edge_client.face.gl.meshes import attribute, halved, upload, upload_texture
from edge_client.face.gl.program import Program
from edge_client.face.hair import Hair

_STRANDS, _LONG = 512, 32
_SHEEN, _DULL = (0.50, 0.44, 0.38), (0.10, 0.09, 0.08)
_DARK, _LIGHT = np.array((0.175, 0.105, 0.076)), np.array((0.375, 0.235, 0.160))


class HairLocks:
    """Draws the locks of a head. Needs a current context."""

    def __init__(self, hair: Hair, chosen: Colour | None, *, curls: bool, is_high: bool) -> None:
        """Upload the hair. `chosen`: its colour. `curls`: it has tight curls. `is_high`: fine strands, with highlights for each pixel."""
        self.program = Program("hair", is_high=is_high)
        self.program.use()
        self.program.set_integer("paint", 0)
        picture = curls_picture(chosen) if curls else strands_picture(chosen)
        if not is_high:  # about as many texels as pixels, which saves choosing a level
            picture = halved(picture, 1 if curls else 2)
        self._paint = upload_texture(picture, levels=is_high, tiled=curls)
        self.program.set_vector("sheen", np.array(_DULL if curls else _SHEEN, np.float32))
        self._array = GL.glGenVertexArrays(1)
        GL.glBindVertexArray(self._array)
        vertices = np.concatenate([hair.points, hair.normals, hair.chart, hair.shade[:, None], hair.along, hair.cover], axis=1).astype(
            np.float32
        )
        self._buffers = [upload(GL.GL_ARRAY_BUFFER, vertices)]
        for place, (count, offset) in enumerate(((3, 0), (3, 3), (2, 6), (1, 8), (3, 9), (2, 12))):
            attribute(place, count, 14, offset)
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
        soft = GL.GL_SAMPLE_ALPHA_TO_COVERAGE if int(GL.glGetIntegerv(GL.GL_SAMPLES)) > 1 else GL.GL_BLEND
        GL.glEnable(soft)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._paint)
        self.program.use()
        self.program.set_matrix("turn", turn)
        GL.glBindVertexArray(self._array)
        GL.glDrawElements(GL.GL_TRIANGLES, self._count, GL.GL_UNSIGNED_SHORT, None)
        GL.glDisable(soft)
        GL.glColorMask(True, True, True, True)
        GL.glEnable(GL.GL_CULL_FACE)


def strands_picture(chosen: Colour | None) -> NDArray[np.uint8]:
    """Strands side by side, RGBA, (32, 512, 4), row 0 at the roots: their colour, and the strength of the highlight. Pure."""
    chance = np.random.default_rng(3)
    fine = chance.random(_STRANDS)
    level = 0.30 + 0.16 * fine + sum(share * _wide(chance, cells) for share, cells in ((0.14, _STRANDS // 4), (0.18, _STRANDS // 16)))
    along = np.linspace(0, 1, _LONG)[:, None]
    light = np.clip(level[None, :] * 0.80 + 0.20 * along - 0.02, 0, 1)
    colour = (_DARK + (_LIGHT - _DARK) * light[..., None]) * factor(chosen, PAINTED_HAIR)
    shine = np.broadcast_to((0.35 + 0.65 * fine) * (1 - 0.5 * min(1.0, float(colour.mean()))), light.shape)
    pixels = np.concatenate([colour, shine[..., None]], axis=2) * 255
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


def curls_picture(chosen: Colour | None) -> NDArray[np.uint8]:
    """Tight curls, RGBA, (128, 128, 4): their colour, and how far each stands out. It repeats both ways. Pure."""
    size, chance = 128, np.random.default_rng(5)
    waves = np.fft.fftfreq(size)
    far = np.hypot(waves[:, None], waves[None, :])
    level = np.zeros((size, size, 1))
    for waves_across, share in ((0.075, 0.55), (0.15, 0.45)):
        field = np.fft.ifft2(np.fft.fft2(chance.normal(0, 1, (size, size))) * np.exp(-(((far - waves_across) / 0.03) ** 2))).real
        level[..., 0] += share * np.clip(1 - 0.8 * np.abs(field) / field.std(), 0, 1)  # ridges along the zero lines of noise
    colour = (_DARK * 0.7 + (_LIGHT - 0.7 * _DARK) * level * 0.8) * factor(chosen, PAINTED_HAIR)
    return np.asarray(np.clip(np.rint(np.concatenate([colour, level], axis=2) * 255), 0, 255), np.uint8)


def _wide(chance: np.random.Generator, cells: int) -> NDArray[np.float64]:
    """Smooth random levels over all strands, 0 to 1, that repeat."""
    at = np.arange(_STRANDS) * cells / _STRANDS
    cell, levels = at.astype(int), chance.random(cells)
    return np.asarray(levels[cell] * (1 - at + cell) + levels[(cell + 1) % cells] * (at - cell))
