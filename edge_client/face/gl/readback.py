"""Reads back the drawn picture, including smoothed edges."""

from __future__ import annotations

import numpy as np

from edge_client.face.gl.binding import GL
from edge_client.face.gl.frame import colour_frame
from edge_client.face.renderer import Picture


class Readback:
    """A plain buffer into which the samples of each pixel are averaged: drivers do not do that when the window itself is read."""

    def __init__(self, size: tuple[int, int]) -> None:
        """Make the buffer in the window's own format, which such a copy requires. Needs a current context."""
        self._frame: int | None = None
        self.fit(size)

    def fit(self, size: tuple[int, int]) -> None:
        """Adapt to the window's size."""
        if self._frame is not None:
            GL.glDeleteFramebuffers(1, [self._frame])
        self._size = size
        self._frame = colour_frame(size)

    def read(self) -> Picture:
        """Return the picture in the window's draw buffer."""
        width, height = self._size
        GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, self._frame)
        GL.glBlitFramebuffer(0, 0, width, height, 0, 0, width, height, GL.GL_COLOR_BUFFER_BIT, GL.GL_NEAREST)
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._frame)
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
        pixels = GL.glReadPixels(0, 0, width, height, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
        return np.ascontiguousarray(np.frombuffer(pixels, np.uint8).reshape(height, width, 4)[::-1, :, :3])
