"""The background behind the head: one of three scenes, each a fragment shader without textures. In software it is drawn once and then
copied, at a tenth of the cost of drawing it."""

from __future__ import annotations

import numpy as np

from edge_client.choices import BackgroundChoice
from edge_client.colours import Colour
from edge_client.face.camera import Camera
from edge_client.face.gl.binding import GL
from edge_client.face.gl.frame import colour_frame
from edge_client.face.gl.program import Program

_WALL: Colour = (69, 84, 105)


class Backdrop:
    """Fills the colours of the draw buffer. Needs a current context."""

    def __init__(self, camera: Camera, chosen: Colour | None, scene: BackgroundChoice, *, copied: bool) -> None:
        """`chosen`: the wall's colour. `copied`: draw it now and copy it later; else draw it each time: faster on a tile-based GPU."""
        self._copied = copied
        self._frame: int | None = None
        self._program = Program(scene, vertices="back")
        self._program.use()
        self._program.set_vector("wall", np.array(_WALL if chosen is None else chosen, np.float32) / np.float32(255))
        self.fit(camera)

    def fit(self, camera: Camera) -> None:
        """Adapt to the window's size and to what is seen; sets the viewport to cover it. The camera's `shift` has no effect."""
        self._size = camera.width, camera.height
        self._program.use()
        half = camera.room / 2
        self._program.set_vector("view", np.array((half * camera.width / camera.height, half, camera.viewer[1]), np.float32))
        GL.glViewport(0, 0, *self._size)
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
