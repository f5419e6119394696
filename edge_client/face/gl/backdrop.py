"""The background behind the head. In software it is drawn once and then copied, at a tenth of the cost of drawing it."""

from __future__ import annotations

import numpy as np

from edge_client.colours import Colour
from edge_client.face.gl.binding import GL
from edge_client.face.gl.frame import colour_frame
from edge_client.face.gl.program import Program

_MIDDLE = (69, 84, 105)
_RIM = 0.29  # fraction of the brightness in the middle


class Backdrop:
    """Fills the colours of the draw buffer. Needs a current context."""

    def __init__(self, size: tuple[int, int], chosen: Colour | None, *, copied: bool) -> None:
        """`copied`: draw it now and copy it later; else draw it each time, which is faster on a tile-based GPU."""
        self._copied = copied
        self._frame: int | None = None
        self._program = Program("back")
        self._program.use()
        middle = np.array(_MIDDLE if chosen is None else chosen, np.float32) / np.float32(255)
        self._program.set_vector("middle", middle)
        self._program.set_vector("rim", middle * np.float32(_RIM))
        self.fit(size)

    def fit(self, size: tuple[int, int]) -> None:
        """Adapt to the window's size; sets the viewport to cover it."""
        self._size = size
        self._program.use()
        self._program.set_vector("aspect", np.array((size[0] / size[1], 0, 0), np.float32))
        GL.glViewport(0, 0, *size)
        if self._frame is not None:
            GL.glDeleteFramebuffers(1, [self._frame])
        self._frame = self._drawn() if self._copied else None

    def draw(self) -> None:
        """Cover the colours of the draw buffer; depth is not changed."""
        if self._frame is None:
            self._fill()
            return
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._frame)
        GL.glBlitFramebuffer(0, 0, *self._size, 0, 0, *self._size, GL.GL_COLOR_BUFFER_BIT, GL.GL_NEAREST)
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, 0)

    def _drawn(self) -> int:
        frame = colour_frame(self._size)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, frame)
        self._fill()
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
        return frame

    def _fill(self) -> None:
        GL.glDisable(GL.GL_DEPTH_TEST)
        self._program.use()
        GL.glDrawArrays(GL.GL_TRIANGLES, 0, 3)
        GL.glEnable(GL.GL_DEPTH_TEST)
