"""Reading the drawn picture back, smoothed edges included."""

from __future__ import annotations

import numpy as np

from edge_client.face.gl.binding import GL
from edge_client.face.renderer import Picture


class Readback:
    """A plain buffer that the many samples of each pixel are averaged into: drivers do not do that when the window itself is read."""

    def __init__(self, size: tuple[int, int]) -> None:
        """Make the buffer, in the window's own format, which such a copy asks for; needs a current context."""
        self._size = size
        self._frame = GL.glGenFramebuffers(1)
        store = GL.glGenRenderbuffers(1)
        has_alpha = int(GL.glGetIntegerv(GL.GL_ALPHA_BITS)) > 0
        GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, store)
        GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, GL.GL_RGBA8 if has_alpha else GL.GL_RGB8, *size)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._frame)
        GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_RENDERBUFFER, store)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)

    def read(self) -> Picture:
        """What is in the window's drawing buffer."""
        width, height = self._size
        GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, self._frame)
        GL.glBlitFramebuffer(0, 0, width, height, 0, 0, width, height, GL.GL_COLOR_BUFFER_BIT, GL.GL_NEAREST)
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._frame)
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
        pixels = GL.glReadPixels(0, 0, width, height, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
        return np.ascontiguousarray(np.frombuffer(pixels, np.uint8).reshape(height, width, 4)[::-1, :, :3])
