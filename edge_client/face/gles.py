"""The head drawn by GLES 3.0: in a window, on the console, or off-screen; by a GPU or by Mesa's software renderer.

Blendshapes are computed by the CPU (`rig`): cheaper than in a vertex shader on software GL and on small GPUs that run it twice, and it
lets tests predict pixels from the same mesh.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pygame

from edge_client.choices import LARGEST_SOFT
from edge_client.colours import AS_PAINTED, FaceColours
from edge_client.errors import ScreenError
from edge_client.face.camera import Camera
from edge_client.face.detail import USUAL_LOOK, DetailLevel, HeadLook
from edge_client.face.framing import WHOLE, Framing, Wander
from edge_client.face.gl.backdrop import Backdrop
from edge_client.face.gl.binding import GL
from edge_client.face.gl.board import Board
from edge_client.face.gl.canvas import Canvas
from edge_client.face.gl.context import driver_name, is_gles3, is_software
from edge_client.face.gl.eyes import Eyes
from edge_client.face.gl.hair import HairLocks
from edge_client.face.gl.head_paint import head_paint
from edge_client.face.gl.meshes import HeadBuffers, halved, halvings, upload_texture
from edge_client.face.gl.opening import open_window
from edge_client.face.gl.program import Program
from edge_client.face.gl.readback import Readback
from edge_client.face.gl.skin import creases, opening, pores_picture
from edge_client.face.hair import CUTS, grow
from edge_client.face.head import lengthened, load_head
from edge_client.face.overlay import NOTHING, Overlay
from edge_client.face.picture_size import bounded
from edge_client.face.picture_stamp import BLOCK_PX, stamp_blocks
from edge_client.face.renderer import Picture, Wish
from edge_client.face.rig import Rig
from edge_client.face.window import poll_window
from edge_client.motion.pose import Pose, neutral_pose


class GlesRenderer:
    """Draws a head; made by `open_renderer`. One at a time in a process."""

    def __init__(
        self,
        size: tuple[int, int],
        flags: int,
        where: str,
        *,
        samples: int = 0,
        vsync: bool = False,
        monitor: int = 0,
        colours: FaceColours = AS_PAINTED,
        largest: tuple[int, int] = LARGEST_SOFT,
        rotation: int = 0,
        framing: Framing = WHOLE,
        head_file: Path | None = None,
        look: HeadLook = USUAL_LOOK,
    ) -> None:
        """Open the display and upload the head. SDL's video must be started. Raises `pygame.error`, `ScreenError`, `AssetError`.

        `samples`, `vsync`, `monitor`: see `open_window`. `largest`: see `bounded`; only if the CPU draws. `rotation`: see `Canvas`.
        `head_file`: the head to draw instead of the default one; an imported head uses only the background of `colours`.
        """
        head = load_head(head_file)
        head = lengthened(head) if head.is_built_in else head  # an imported head may end in hair, or anything else
        window = open_window(size, flags, samples=samples, vsync=vsync, monitor=monitor)
        if not is_gles3():
            raise ScreenError(f"asked for GLES 3.0, the driver gives {driver_name()}")
        self.name = f"{driver_name()}, {where} ({pygame.display.get_driver()})"
        """See `Renderer`."""
        self._largest = largest if is_software() else None
        self._rotation = rotation
        self._framing, self._wander = framing, Wander(framing, time.monotonic)
        self.size = bounded(window, self._largest, rotation)
        """See `Renderer`."""
        self._canvas = Canvas(rotation)
        self._canvas.fit(self.size, window)
        self._rig = Rig(head)
        self._end_y = float(head.points[:, 1].min())
        copied = is_software() and samples < 2
        self._backdrop = Backdrop(self._camera(), colours.background, look.background, copied=copied)
        self._detail = DetailLevel(look.detail, software=is_software())
        self._skin, self._lash = self._make_skin(), Program("lash")
        self._sheer = Program("sheer", vertices="skin") if head.sheer_triangles.size else None
        self._lit = [program for program in (self._skin, self._sheer) if program is not None]
        self._head_buffers = HeadBuffers(head)
        self._eyes = Eyes(head, colours.eyes) if head.eyeballs is None else None
        self._cut = CUTS.get(head.usual_cut if look.hair == "auto" else look.hair) if head.hairline is not None else None
        self._hair_colour, self._head = colours.hair or (head.painted.hair if head.painted else None), head
        self._hair = self._grown()
        self._inside = 1.0 if head.is_built_in else 0.0  # only built-in paint has rows for the mouth, and places for creases
        GL.glActiveTexture(GL.GL_TEXTURE1)
        upload_texture(pores_picture(), levels=True, tiled=True)
        GL.glActiveTexture(GL.GL_TEXTURE0)
        self._is_double_sided = head.is_double_sided
        self._paint_high = head.paint_high
        self._paint_pixels = head_paint(head, colours)[::-1]
        self._paint, self._halvings = 0, -1
        self._board = Board(self.size, framing)
        self._readback = Readback(self.size)
        self._last: tuple[Pose, Overlay, int | None] = (neutral_pose(), NOTHING, None)
        self._shown, self._drew_s = True, 0.0
        self._set_up()
        self._fit_view()

    def draw(self, pose: Pose, *, overlay: Overlay = NOTHING, stamp: int | None = None) -> None:
        """See `Renderer`."""
        self._last, self._shown = (pose.copy(), overlay, stamp), False
        began_s = time.monotonic()
        if self._wander.moves(pose):
            self._fit_view()
        moved = self._rig.vertices(pose)
        self._head_buffers.write(moved)
        turn = self._rig.turn(pose)
        self._canvas.bind()
        GL.glDepthMask(True)
        GL.glClear(GL.GL_DEPTH_BUFFER_BIT)
        self._backdrop.draw()
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._paint)
        self._skin.use()
        self._skin.set_matrix("turn", turn)
        self._skin.set_vector("mouth", np.array((opening(pose), self._inside, 0), np.float32))
        self._skin.set_vector("creases", creases(pose) * np.float32(self._inside))
        if self._is_double_sided:
            GL.glDisable(GL.GL_CULL_FACE)
        self._head_buffers.draw_skin()
        GL.glEnable(GL.GL_CULL_FACE)
        if self._eyes is not None:  # before the skin, so that only the part between the lids is shaded
            self._eyes.draw(turn, self._rig.eyes(pose), moved)
        if self._hair is not None:
            self._hair.draw(turn)
        self._draw_lashes(turn)
        if self._sheer is not None:
            self._draw_sheer(self._sheer, turn)
        self._board.draw(overlay)
        if stamp is not None:
            self._draw_stamp(stamp)
        GL.glFlush()  # it may be some time before it is shown
        self._drew_s = time.monotonic() - began_s

    def show(self) -> None:
        """See `Renderer`. Waits until the GPU is done, so that a time taken after it is the time on the screen, except for one refresh."""
        began_s = time.monotonic()
        self._canvas.show()
        if self._detail.is_watched:
            GL.glFinish()  # so that the following refresh is not timed
            if self._detail.falls(self._drew_s + time.monotonic() - began_s):
                self._fall()
        pygame.display.flip()
        GL.glFinish()
        self._shown = True

    def read(self) -> Picture:
        """See `Renderer`. A picture that was already shown is no longer in the draw buffer and is drawn again."""
        if self._shown:
            pose, overlay, stamp = self._last
            self.draw(pose, overlay=overlay, stamp=stamp)
            self._shown = True
        self._canvas.bind()
        return self._readback.read()

    def poll(self) -> Wish:
        """See `Renderer`."""
        return poll_window(self._follow_window)

    def close(self) -> None:
        """See `Renderer`."""
        pygame.display.quit()

    def _set_up(self) -> None:
        GL.glEnable(GL.GL_CULL_FACE)
        GL.glEnable(GL.GL_DEPTH_TEST)
        GL.glBlendFunc(GL.GL_SRC_ALPHA, GL.GL_ONE_MINUS_SRC_ALPHA)
        GL.glActiveTexture(GL.GL_TEXTURE0)
        for program in self._lit:
            program.use()
            program.set_integer("paint", 0)

    def _follow_window(self) -> None:
        window = pygame.display.get_window_size()
        self.size = bounded(window, self._largest, self._rotation)
        self._canvas.fit(self.size, window)
        self._backdrop.fit(self._camera())
        for sized in (self._board, self._readback):
            sized.fit(self.size)
        self._fit_view()

    def _make_skin(self) -> Program:
        program = Program("skin", is_high=self._detail.level == "high")
        program.use()
        program.set_integer("paint", 0)
        program.set_integer("relief", 1)
        return program

    def _grown(self) -> HairLocks | None:
        if self._cut is None:
            return None
        is_high = self._detail.level == "high"
        hair = grow(self._head, self._cut if is_high else self._cut.coarse)
        return HairLocks(hair, self._hair_colour, curls=self._cut.shells > 0, is_high=is_high)

    def _fall(self) -> None:
        """Switch to the coarse level of detail."""
        self._skin.free()
        self._skin = self._lit[0] = self._make_skin()
        if self._hair is not None:
            self._hair.free()
            self._hair = self._grown()
        self._fit_view()

    def _camera(self) -> Camera:
        return Camera(*self.size, end_y=self._end_y, is_round=self._framing.is_round, shift=self._wander.shift)

    def _fit_view(self) -> None:
        """Adapt the camera and the head's texture to the window's size."""
        camera = self._camera()
        parts = [part.program for part in (self._eyes, self._hair) if part is not None]
        shaded = [*self._lit, *parts]
        for program in (*shaded, self._lash):
            program.use()
            program.set_matrix("camera", camera.matrix)
        for program in shaded:
            program.use()
            program.set_vector("viewer", camera.viewer)
        self._fit_paint(self._paint_high * self.size[1] / camera.room)

    def _fit_paint(self, texels: float) -> None:
        """Upload the texture: in software at the one size that suits the picture, else once with mipmaps."""
        software = is_software()
        times = halvings(len(self._paint_pixels), texels) if software else 0
        if times == self._halvings:
            return
        if self._paint:
            GL.glDeleteTextures([self._paint])
        self._paint = upload_texture(halved(self._paint_pixels, times), levels=not software)
        self._halvings = times

    def _draw_lashes(self, turn: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        GL.glEnable(GL.GL_BLEND)
        GL.glDisable(GL.GL_CULL_FACE)
        GL.glDepthMask(False)
        self._lash.use()
        self._lash.set_matrix("turn", turn)
        self._head_buffers.draw_lashes()
        GL.glDepthMask(True)
        GL.glEnable(GL.GL_CULL_FACE)
        GL.glDisable(GL.GL_BLEND)

    def _draw_sheer(self, program: Program, turn: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        """Draw the opaque parts, then the translucent ones without writing depth."""
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._paint)
        GL.glDisable(GL.GL_CULL_FACE)
        program.use()
        program.set_matrix("turn", turn)
        program.set_integer("solid", 1)
        self._head_buffers.draw_sheer()
        GL.glEnable(GL.GL_BLEND)
        GL.glDepthMask(False)
        program.set_integer("solid", 0)
        self._head_buffers.draw_sheer()
        GL.glDepthMask(True)
        GL.glDisable(GL.GL_BLEND)
        GL.glEnable(GL.GL_CULL_FACE)

    def _draw_stamp(self, stamp: int) -> None:
        GL.glEnable(GL.GL_SCISSOR_TEST)
        for place, white in enumerate(stamp_blocks(stamp)):
            GL.glScissor(place * BLOCK_PX, 0, BLOCK_PX, BLOCK_PX)
            level = 1.0 if white else 0.0
            GL.glClearColor(level, level, level, 1.0)
            GL.glClear(GL.GL_COLOR_BUFFER_BIT)
        GL.glDisable(GL.GL_SCISSOR_TEST)
