"""What is drawn on: the window's own buffer, or a smaller one that is scaled up to the window when it is shown."""

from __future__ import annotations

from edge_client.face.gl.binding import GL
from edge_client.face.gl.frame import colour_frame


class Canvas:
    """Needs a current context."""

    def __init__(self) -> None:
        self._frame = self._depth = 0
        self._size = self._window = (0, 0)

    def fit(self, size: tuple[int, int], window: tuple[int, int]) -> None:
        """Pictures have `size` from now on, and are shown in a window of its own size."""
        if self._frame:
            GL.glDeleteFramebuffers(1, [self._frame])
            GL.glDeleteRenderbuffers(1, [self._depth])
        self._size, self._window = size, window
        self._frame = self._depth = 0
        if size != window:
            self._frame = colour_frame(size)
            self._depth = GL.glGenRenderbuffers(1)
            GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, self._depth)
            GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, GL.GL_DEPTH_COMPONENT24, *size)
            GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._frame)
            GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, GL.GL_DEPTH_ATTACHMENT, GL.GL_RENDERBUFFER, self._depth)

    def bind(self) -> None:
        """Draw on it, and read from it."""
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._frame)

    def show(self) -> None:
        """Bring the picture into the window's buffer."""
        if not self._frame:
            return
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._frame)
        GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, 0)
        GL.glBlitFramebuffer(0, 0, *self._size, 0, 0, *self._window, GL.GL_COLOR_BUFFER_BIT, GL.GL_LINEAR)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
