"""The background behind the head: one of three scenes, each a fragment shader without textures. It is drawn once for each size
of the window, and then copied: at a tenth of the cost in software, and a GPU does not execute hundreds of instructions per pixel."""

from __future__ import annotations

import numpy as np

from edge_client.choices import BackgroundChoice
from edge_client.colours import Colour
from edge_client.face.camera import Camera
from edge_client.face.gl.binding import GL
from edge_client.face.gl.frame import colour_texture
from edge_client.face.gl.program import Program

_WALL: Colour = (69, 84, 105)


class Backdrop:
    """Fills the colours of the draw buffer. Needs a current context."""

    def __init__(self, camera: Camera, chosen: Colour | None, scene: BackgroundChoice, *, copied: bool) -> None:
        """`chosen`: the wall's colour. `copied`: by the driver, if the CPU draws; else as a texture, which also fills smooth edges."""
        self._copied = copied
        self._frame = self._texture = 0
        self._scene, self._shown = Program(scene, vertices="back"), Program("turned")
        self._scene.use()
        self._scene.set_vector("wall", np.array(_WALL if chosen is None else chosen, np.float32) / np.float32(255))
        self._shown.use()
        self._shown.set_vector("turn", np.array((1, 0, 0), np.float32))
        self._shown.set_integer("paint", 0)
        self.fit(camera)

    def fit(self, camera: Camera) -> None:
        """Adapt to the window's size and to what is seen; sets the viewport to cover it. The camera's `shift` has no effect."""
        self._size = camera.width, camera.height
        half = camera.room / 2
        self._scene.use()
        self._scene.set_vector("view", np.array((half * camera.width / camera.height, half, camera.viewer[1]), np.float32))
        GL.glViewport(0, 0, *self._size)
        if self._frame:
            GL.glDeleteFramebuffers(1, [self._frame])
            GL.glDeleteTextures([self._texture])
        self._texture, self._frame = colour_texture(self._size), GL.glGenFramebuffers(1)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._frame)
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_TEXTURE_2D, self._texture, 0)
        self._cover(self._scene, GL.GL_TRIANGLES, 3)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)

    def draw(self) -> None:
        """Cover the colours of the draw buffer; depth is not changed."""
        if self._copied:
            GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._frame)
            GL.glBlitFramebuffer(0, 0, *self._size, 0, 0, *self._size, GL.GL_COLOR_BUFFER_BIT, GL.GL_NEAREST)
            GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, 0)
        else:
            GL.glBindTexture(GL.GL_TEXTURE_2D, self._texture)
            self._cover(self._shown, GL.GL_TRIANGLE_STRIP, 4)

    def _cover(self, program: Program, kind: int, corners: int) -> None:
        GL.glDisable(GL.GL_DEPTH_TEST)
        GL.glDisable(GL.GL_CULL_FACE)
        program.use()
        GL.glDrawArrays(kind, 0, corners)
        GL.glEnable(GL.GL_CULL_FACE)
        GL.glEnable(GL.GL_DEPTH_TEST)
