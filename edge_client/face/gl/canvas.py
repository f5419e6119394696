"""The buffer drawn to: the window's own, or a separate one that is turned or scaled up to the window when it is shown."""

from __future__ import annotations

import math

import numpy as np

from edge_client.face.gl.binding import GL
from edge_client.face.gl.frame import colour_texture
from edge_client.face.gl.program import Program


class Canvas:
    """The target of drawing. Needs a current context."""

    def __init__(self, rotation: int) -> None:
        """`rotation`: pictures are shown turned by this many degrees clockwise, a multiple of 90."""
        self._program: Program | None = None
        if rotation:
            angle = -math.radians(rotation)
            self._program = Program("turned")
            self._program.use()
            self._program.set_integer("paint", 0)
            self._program.set_vector("turn", np.array((round(math.cos(angle)), round(math.sin(angle)), 0), np.float32))
            self._array = GL.glGenVertexArrays(1)
        self._frame = self._depth = self._texture = 0
        self._size = self._window = (0, 0)

    def fit(self, size: tuple[int, int], window: tuple[int, int]) -> None:
        """Set the `size` of pictures, and the size of the window in which they are shown."""
        if self._frame:
            GL.glDeleteFramebuffers(1, [self._frame])
            GL.glDeleteRenderbuffers(1, [self._depth])
            GL.glDeleteTextures([self._texture])
        self._size, self._window = size, window
        self._frame = self._depth = self._texture = 0
        if size != window or self._program is not None:
            self._make_frame()

    def bind(self) -> None:
        """Make it the target of drawing and reading."""
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._frame)

    def show(self) -> None:
        """Copy the picture to the window's buffer."""
        if not self._frame:
            return
        if self._program is None:
            GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._frame)
            GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, 0)
            GL.glBlitFramebuffer(0, 0, *self._size, 0, 0, *self._window, GL.GL_COLOR_BUFFER_BIT, GL.GL_LINEAR)
        else:
            self._draw_turned(self._program)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)

    def _draw_turned(self, program: Program) -> None:
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
        GL.glViewport(0, 0, *self._window)
        GL.glDisable(GL.GL_DEPTH_TEST)
        program.use()
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._texture)
        GL.glBindVertexArray(self._array)
        GL.glDrawArrays(GL.GL_TRIANGLE_STRIP, 0, 4)
        GL.glEnable(GL.GL_DEPTH_TEST)
        GL.glViewport(0, 0, *self._size)

    def _make_frame(self) -> None:
        self._texture = colour_texture(self._size)
        self._depth = GL.glGenRenderbuffers(1)
        GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, self._depth)
        GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, GL.GL_DEPTH_COMPONENT24, *self._size)
        self._frame = GL.glGenFramebuffers(1)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._frame)
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_TEXTURE_2D, self._texture, 0)
        GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, GL.GL_DEPTH_ATTACHMENT, GL.GL_RENDERBUFFER, self._depth)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
