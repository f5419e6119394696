"""The vector face: a renderer without GL, for machines without GL and for tests that do not need it.

The picture has three layers: background and body (painted once), the head (repainted when it has moved by half a pixel or the
jaw by a unit), and the features (painted each time). Each layer is painted at twice the size and scaled down, which smooths its
edges; only the box that holds the changes goes to the screen. The overlay is drawn on the screen alone, so that it can be
removed again.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import pygame

from edge_client.choices import LARGEST_SOFT
from edge_client.colours import AS_PAINTED, FaceColours
from edge_client.face.curves import Points
from edge_client.face.flat_features import brow_shape, cheek_shapes, eye_shapes, nose_shapes
from edge_client.face.flat_head import back_hair_shapes, background, body_shapes, fringe_shapes, skin_shapes
from edge_client.face.flat_mouth import Shape, mouth_shapes, weights_of
from edge_client.face.flat_palette import Palette
from edge_client.face.framing import WHOLE, Framing, Wander
from edge_client.face.gaze import left_gaze, right_gaze
from edge_client.face.lettering import Lettering, Piece
from edge_client.face.overlay import NOTHING, Overlay
from edge_client.face.picture_size import bounded
from edge_client.face.picture_stamp import BLOCK_PX, STAMP_BLOCKS, stamp_blocks
from edge_client.face.renderer import Picture, Wish
from edge_client.face.window import poll_window
from edge_client.motion.pose import HEAD_ROTATION, NECK_ROTATION, Pose

UNITS_HIGH, UNITS_WIDE = 480.0, 400.0
_UPPER = 0.45
"""Share of a tall picture's extra height that is added above the head."""
_ROUND = 0.9
"""Scale of a head that is shown in a circle."""
_SMOOTHING = 2
_HEAD_BOX = (-230.0, -240.0, 230.0, 226.0)  # left, top, right, bottom of everything that turns, in face units
_FEATURE_BOX = (-112.0, -92.0, 112.0, 176.0)
_NECK_Y = 150.0  # the head rolls about this point
_SKULL_SHIFT, _FEATURE_SHIFT = 26.0, 74.0  # units per radian of turning: nearer parts move further
_TURN_LIMIT_RAD = 0.6
_JAW_DROP = 16.0


@dataclass(frozen=True, slots=True)
class _Turn:
    """Rotation of the head in radians, rounded so that rest compares equal to rest."""

    yaw: float
    pitch: float
    roll: float
    jaw: float

    @classmethod
    def of(cls, pose: Pose) -> _Turn:
        pitch, yaw, roll = np.clip(pose[HEAD_ROTATION] + pose[NECK_ROTATION], -_TURN_LIMIT_RAD, _TURN_LIMIT_RAD).tolist()
        jaw = max(0.0, min(1.2, weights_of(pose)["jawOpen"]))
        return cls(round(yaw, 2), round(pitch, 2), round(roll, 3), round(jaw * _JAW_DROP) / _JAW_DROP)


class FlatRenderer:
    """Draws onto a pygame display surface; made by `open_renderer`. One at a time in a process."""

    def __init__(
        self,
        screen: pygame.Surface,
        name: str,
        *,
        colours: FaceColours = AS_PAINTED,
        largest: tuple[int, int] = LARGEST_SOFT,
        rotation: int = 0,
        framing: Framing = WHOLE,
    ) -> None:
        """Take over the display surface `screen` (32 bits a pixel). `largest`, `rotation` (clockwise): see `bounded`."""
        self._palette = Palette(colours)
        self._largest, self._rotation = largest, rotation
        self._framing, self._wander = framing, Wander(framing, time.monotonic)
        self.name = name
        """See `Renderer`."""
        self._fit(screen)

    def _fit(self, display: pygame.Surface) -> None:
        """Adapt the layout to a display surface, and paint the static parts."""
        size = bounded(display.get_size(), self._largest, self._rotation)
        self._display = display
        is_direct = size == display.get_size() and not self._rotation
        screen = self._screen = display if is_direct else pygame.Surface(size, 0, display)
        self._face = screen.copy()
        self._lettering = Lettering(screen.get_size(), self._framing)
        self._overlay = NOTHING
        self._pieces: list[Piece] = []
        width, height = screen.get_size()
        self._unit = min(height / UNITS_HIGH, width / UNITS_WIDE) * (_ROUND if self._framing.is_round else 1.0)
        spare = height - UNITS_HIGH * self._unit
        self._centre = np.array([width / 2, 240 * self._unit + _UPPER * spare]) + self._wander.shift
        self._body = self._paint_body(width, height)
        self._head_box = self._pixel_box(_HEAD_BOX)
        self._fine = pygame.Surface((self._head_box.w * _SMOOTHING, self._head_box.h * _SMOOTHING), 0, 32)
        self._head = pygame.Surface(self._fine.get_size(), 0, 32)
        self._turn: _Turn | None = None
        self._dirty = [screen.get_rect()]
        self._face.blit(self._body, (0, 0))
        screen.blit(self._body, (0, 0))

    @property
    def size(self) -> tuple[int, int]:
        """See `Renderer`."""
        return self._screen.get_size()

    def draw(self, pose: Pose, *, overlay: Overlay = NOTHING, stamp: int | None = None) -> None:
        """See `Renderer`."""
        if self._wander.moves(pose):
            self._fit(self._display)
        turn = _Turn.of(pose)
        moved = turn != self._turn
        if moved:
            self._turn = turn
            self._paint_head(turn)
        box = self._head_box if moved else self._feature_box(turn)
        self._paint_features(pose, turn, box)
        if overlay != self._overlay:
            self._overlay, self._pieces = overlay, self._lettering.pieces(overlay)
            box = self._screen.get_rect()
        self._lay(box)
        self._dirty.append(box)
        if stamp is not None:
            self._paint_stamp(stamp)

    def show(self) -> None:
        """See `Renderer`; only changes are sent, unless the picture is scaled up or turned."""
        if self._screen is self._display:
            pygame.display.update(self._dirty)
        else:
            turned = pygame.transform.rotate(self._screen, -self._rotation) if self._rotation else self._screen
            pygame.transform.scale(turned, self._display.get_size(), self._display)
            pygame.display.update()
        self._dirty.clear()

    def read(self) -> Picture:
        """See `Renderer`."""
        return np.ascontiguousarray(pygame.surfarray.array3d(self._screen).swapaxes(0, 1))

    def poll(self) -> Wish:
        """See `Renderer`."""
        return poll_window(self._follow_window)

    def close(self) -> None:
        """See `Renderer`."""
        pygame.display.quit()

    def _follow_window(self) -> None:
        """Switch to SDL's new surface after a change of size; it is still empty."""
        screen = pygame.display.get_surface()
        if screen is not None:
            self._fit(screen)

    def _lay(self, box: pygame.Rect) -> None:
        """Copy the face and the overlay to a part of the screen."""
        self._screen.blit(self._face, box, box)
        self._screen.set_clip(box)
        for piece in self._pieces:
            self._screen.blit(piece.surface, (piece.x, piece.y))
        self._screen.set_clip(None)

    def _paint_body(self, width: int, height: int) -> pygame.Surface:
        fine = pygame.surfarray.make_surface(background(width * _SMOOTHING, height * _SMOOTHING, self._palette.background))
        self._fill(fine, body_shapes(), np.zeros(2), 0.0, (0, 0))
        return pygame.transform.smoothscale(fine, (width, height)).convert(self._screen)

    def _paint_head(self, turn: _Turn) -> None:
        origin = self._head_box.topleft
        pygame.transform.scale(self._body.subsurface(self._head_box), self._head.get_size(), self._head)
        skull = np.array([turn.yaw, turn.pitch]) * _SKULL_SHIFT
        face = np.array([turn.yaw, turn.pitch]) * (_SKULL_SHIFT + _FEATURE_SHIFT) / 2
        self._fill(self._head, back_hair_shapes(), skull * 0.6, turn.roll, origin)
        self._fill(self._head, skin_shapes(_JAW_DROP * turn.jaw), skull, turn.roll, origin)
        self._fill(self._head, fringe_shapes(), (skull + face) / 2 * (1, 0.7), turn.roll, origin)

    def _paint_features(self, pose: Pose, turn: _Turn, box: pygame.Rect) -> None:
        weight = weights_of(pose)
        shapes = cheek_shapes(weight) + nose_shapes(weight) + mouth_shapes(weight)
        shapes += eye_shapes(weight, right_gaze(pose), "Right") + eye_shapes(weight, left_gaze(pose), "Left")
        shapes += [brow_shape(weight, "Right"), brow_shape(weight, "Left")]
        corner = (box.x - self._head_box.x) * _SMOOTHING, (box.y - self._head_box.y) * _SMOOTHING
        area = pygame.Rect(corner, (box.w * _SMOOTHING, box.h * _SMOOTHING))
        self._fine.blit(self._head, corner, area)
        self._fine.set_clip(area)
        shift = np.array([turn.yaw, turn.pitch]) * _FEATURE_SHIFT
        self._fill(self._fine, shapes, shift, turn.roll, self._head_box.topleft)
        self._fine.set_clip(None)
        pygame.transform.smoothscale(self._fine.subsurface(area), box.size, self._face.subsurface(box))

    def _fill(self, target: pygame.Surface, shapes: list[Shape], shift: Points, roll: float, origin: tuple[int, int]) -> None:
        """Fill outlines given in face units. A positive roll lowers the face's right side, as in the pose."""
        turned = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
        pivot = np.array([0.0, _NECK_Y])
        for shape in shapes:
            units = (shape.outline + shift - pivot) @ turned + pivot
            pixels = (self._centre + units * self._unit - origin) * _SMOOTHING
            pygame.draw.polygon(target, self._palette.of(shape.colour), pixels)

    def _pixel_box(self, units: tuple[float, float, float, float]) -> pygame.Rect:
        left, top, right, bottom = units
        corner = self._centre + np.array([left, top]) * self._unit
        size = np.array([right - left, bottom - top]) * self._unit
        box = pygame.Rect(*np.floor(corner).astype(int).tolist(), *np.ceil(size).astype(int).tolist())
        return box.clip(self._screen.get_rect())

    def _feature_box(self, turn: _Turn) -> pygame.Rect:
        shift = np.array([turn.yaw, turn.pitch]) * _FEATURE_SHIFT
        left, top, right, bottom = _FEATURE_BOX
        slant = 160 * abs(turn.roll)
        box = (left + shift[0] - slant, top + shift[1] - slant, right + shift[0] + slant, bottom + shift[1] + slant)
        return self._pixel_box(box).clip(self._head_box)

    def _paint_stamp(self, stamp: int) -> None:
        top = self._screen.get_height() - BLOCK_PX
        for place, white in enumerate(stamp_blocks(stamp)):
            self._screen.fill((255, 255, 255) if white else (0, 0, 0), (place * BLOCK_PX, top, BLOCK_PX, BLOCK_PX))
        self._dirty.append(pygame.Rect(0, top, STAMP_BLOCKS * BLOCK_PX, BLOCK_PX))
