"""Draws an overlay over the picture. Its pieces are painted and uploaded only when the overlay changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pygame

from edge_client.face.framing import Framing
from edge_client.face.gl.binding import GL
from edge_client.face.gl.program import Program
from edge_client.face.lettering import Lettering, Piece
from edge_client.face.overlay import NOTHING, Overlay


@dataclass(frozen=True, slots=True)
class _Uploaded:
    texture: int
    corner: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    extent: np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Board:
    """Draws overlays. Needs a current context."""

    def __init__(self, size: tuple[int, int], framing: Framing) -> None:
        self._framing = framing
        self._program = Program("board")
        self._program.use()
        self._program.set_integer("paint", 0)
        self._array = GL.glGenVertexArrays(1)
        self._overlay = NOTHING
        self._uploaded: list[_Uploaded] = []
        self.fit(size)

    def fit(self, size: tuple[int, int]) -> None:
        """Adapt to the window's size; the overlay is painted again."""
        self._size = size
        self._lettering = Lettering(size, self._framing)
        self._take([], NOTHING)

    def draw(self, overlay: Overlay) -> None:
        """Draw over the picture; depth is not changed."""
        if overlay != self._overlay:
            self._take(self._lettering.pieces(overlay), overlay)
        if not self._uploaded:
            return
        GL.glDisable(GL.GL_DEPTH_TEST)
        GL.glDisable(GL.GL_CULL_FACE)
        GL.glEnable(GL.GL_BLEND)
        GL.glBindVertexArray(self._array)
        self._program.use()
        for piece in self._uploaded:
            GL.glBindTexture(GL.GL_TEXTURE_2D, piece.texture)
            self._program.set_vector("corner", piece.corner)
            self._program.set_vector("extent", piece.extent)
            GL.glDrawArrays(GL.GL_TRIANGLE_STRIP, 0, 4)
        GL.glDisable(GL.GL_BLEND)
        GL.glEnable(GL.GL_CULL_FACE)
        GL.glEnable(GL.GL_DEPTH_TEST)

    def _take(self, pieces: list[Piece], overlay: Overlay) -> None:
        if self._uploaded:
            GL.glDeleteTextures([piece.texture for piece in self._uploaded])
        self._uploaded, self._overlay = [self._upload(piece) for piece in pieces], overlay

    def _upload(self, piece: Piece) -> _Uploaded:
        texture: int = GL.glGenTextures(1)
        GL.glBindTexture(GL.GL_TEXTURE_2D, texture)
        width, height = piece.surface.get_size()
        pixels = pygame.image.tobytes(piece.surface, "RGBA")
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
        GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, GL.GL_RGBA8, width, height, 0, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, pixels)
        for name, value in (
            (GL.GL_TEXTURE_MIN_FILTER, GL.GL_NEAREST),
            (GL.GL_TEXTURE_MAG_FILTER, GL.GL_NEAREST),
            (GL.GL_TEXTURE_WRAP_S, GL.GL_CLAMP_TO_EDGE),
            (GL.GL_TEXTURE_WRAP_T, GL.GL_CLAMP_TO_EDGE),
        ):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, name, value)
        across, down = self._size
        corner = np.array((2 * piece.x / across - 1, 1 - 2 * piece.y / down, 0), np.float32)
        return _Uploaded(texture, corner, np.array((2 * width / across, 2 * height / down, 0), np.float32))
