"""The vector face's head without features (background, shoulders, neck, hair, ears, skin), in face units. Pure."""

from __future__ import annotations

import numpy as np

from edge_client.face.curves import Colour, Points, bezier, ellipse, mix, stroke, taper
from edge_client.face.flat_mouth import Shape

BACKGROUND_TOP: Colour = (44, 54, 72)
BACKGROUND_BOTTOM: Colour = (20, 25, 36)
SKIN: Colour = (236, 190, 162)
SKIN_SHADE: Colour = (214, 160, 134)
SKIN_DEEP: Colour = (196, 140, 116)
BLUSH: Colour = (238, 174, 150)
HAIR: Colour = (66, 44, 36)
HAIR_BACK: Colour = (48, 32, 27)
HAIR_SHINE: Colour = (98, 68, 54)
HAIR_HALF_SHINE = mix(HAIR, HAIR_SHINE, 0.6)
CHEEKS = tuple(mix(SKIN, BLUSH, step / 8) for step in range(1, 7))
_FAR_BELOW = 4_000
SHIRT: Colour = (58, 92, 108)
SHIRT_SHADE: Colour = (46, 74, 90)


def background(width: int, height: int, chosen: Colour | None = None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A soft vertical gradient, shape (width, height, 3) like pygame's surface arrays."""
    part = np.linspace(0, 1, height)[None, :, None]
    top = BACKGROUND_TOP if chosen is None else chosen
    bottom = BACKGROUND_BOTTOM if chosen is None else mix(chosen, (0, 0, 0), 0.55)
    column = np.asarray(top) * (1 - part) + np.asarray(bottom) * part
    return np.broadcast_to(column, (width, height, 3)).round().astype(np.uint8)


def body_shapes() -> list[Shape]:
    """Shoulders and neck, which do not move. In a tall picture the body extends further down."""
    shoulders = np.concatenate(
        [
            np.array([(-250.0, _FAR_BELOW)]),
            bezier((-250, 260), (-215, 205), (-120, 205), (-62, 186), 20),
            bezier((62, 186), (120, 205), (215, 205), (250, 260), 20),
            np.array([(250.0, _FAR_BELOW)]),
        ]
    )
    neckline = np.concatenate([bezier((-62, 186), (-50, 228), (50, 228), (62, 186), 20)])
    neck = np.concatenate(
        [bezier((-56, 100), (-54, 160), (-56, 180), (-66, 190), 12), bezier((66, 190), (56, 180), (54, 160), (56, 100), 12)]
    )
    return [
        Shape(SHIRT, shoulders),
        Shape(SHIRT_SHADE, stroke(neckline, 16)),
        Shape(SKIN_SHADE, np.concatenate([neckline, [(62, 180), (-62, 180)]])),
        Shape(SKIN_SHADE, neck),
    ]


def back_hair_shapes() -> list[Shape]:
    """The hair behind the head."""
    mass = np.concatenate(
        [
            bezier((-128, 96), (-196, 40), (-176, -206), (0, -206), 24),
            bezier((0, -206), (176, -206), (196, 40), (128, 96), 24),
        ]
    )
    return [Shape(HAIR_BACK, mass)]


def skin_shapes(chin_drop: float) -> list[Shape]:
    """Ears, the shadow below the chin, the face and its blush. `chin_drop`: how far the jaw hangs, in face units."""
    shapes = [Shape(SKIN_DEEP, _face(chin_drop) * (0.90, 1.0) + (0, 13))]
    for sign in (-1, 1):
        shapes.append(Shape(SKIN_SHADE, ellipse(sign * 139, 4, 20, 34)))
        shapes.append(Shape(SKIN_DEEP, ellipse(sign * 142, 5, 10, 21)))
    shapes.append(Shape(SKIN, _face(chin_drop)))
    for sign in (-1, 1):
        shapes += [Shape(CHEEKS[step - 1], ellipse(sign * 84, 46, 40 - 4 * step, 29 - 3 * step)) for step in range(1, 7)]
    return shapes


def fringe_shapes() -> list[Shape]:
    """The hair in front: swept from a parting, with two highlights."""
    sweep = np.concatenate(
        [
            bezier((-147, 6), (-150, -60), (-120, -96), (-62, -112), 20),
            bezier((-62, -112), (0, -100), (96, -112), (132, -52), 20),
            bezier((132, -52), (140, -34), (144, -16), (147, 6), 10),
            bezier((147, 6), (186, -120), (110, -200), (0, -200), 24),
            bezier((0, -200), (-110, -200), (-186, -120), (-147, 6), 24),
        ]
    )
    light = bezier((-52, -168), (10, -182), (84, -164), (114, -112), 20)
    light_two = bezier((-70, -150), (-40, -166), (30, -164), (70, -142), 20)
    parting = bezier((-62, -112), (-58, -140), (-44, -170), (-20, -192), 14)
    return [
        Shape(HAIR, sweep),
        Shape(HAIR_SHINE, stroke(light, taper(20, 9, 0.0, 0.0))),
        Shape(HAIR_HALF_SHINE, stroke(light_two, taper(20, 6, 0.0, 0.0))),
        Shape(HAIR_BACK, stroke(parting, taper(14, 3.0, 0.3, 0.0))),
    ]


def _face(chin_drop: float) -> Points:
    """The outline of the face: an egg whose lower half moves with the jaw."""
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    x, y = np.cos(turn), np.sin(turn)
    down = np.maximum(0.0, y)
    narrow = 1 - 0.20 * down**2.2
    return np.stack([142 * x * narrow, np.where(y < 0, 170 * y, (176 + chin_drop) * y)], axis=1)
