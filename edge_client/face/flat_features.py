"""The vector face's eyes, brows, nose and cheeks as painted shapes, in face units. Pure."""

from __future__ import annotations

import numpy as np

from edge_client.face.curves import Colour, Points, between, bezier, ellipse, step, stroke, taper
from edge_client.face.flat_mouth import Shape, Weights
from edge_client.face.gaze import Gaze

EYE_X, EYE_Y = 60.0, -20.0
EYE_HALF_WIDTH = 30.0

WHITE: Colour = (250, 248, 246)
WHITE_SHADE: Colour = (222, 216, 218)
IRIS_RIM: Colour = (46, 78, 96)
IRIS: Colour = (82, 132, 150)
IRIS_GLOW: Colour = (132, 180, 184)
PUPIL: Colour = (18, 20, 26)
LASH: Colour = (56, 36, 32)
LID: Colour = (218, 164, 138)
CREASE: Colour = (192, 136, 112)
BROW: Colour = (70, 46, 36)
NOSE: Colour = (204, 148, 122)
BLUSH: Colour = (240, 176, 154)

_X = np.linspace(-1, 1, 25)
_ROOF = (1 - _X**2) ** 0.72  # an eye's upper edge is rounder than its lower edge
_FLOOR = 1 - _X**2
_LOOK_PX = 21.0  # iris shift per radian of gaze; a circle's edge moves less than the sine of a sphere would


def eye_shapes(weight: Weights, gaze: Gaze, side: str) -> list[Shape]:
    """Shapes of one eye with its lids; `side` is the face's: "Left" is on the picture's right."""
    sign = 1 if side == "Left" else -1
    x = sign * EYE_X
    wide, squint = weight[f"eyeWide{side}"], weight[f"eyeSquint{side}"]
    shut = min(1.0, weight[f"eyeBlink{side}"])
    roof_h = 17.5 * (1 + 0.28 * wide - 0.25 * squint) - 5.0 * max(0.0, gaze.pitch)
    floor_h = 10.5 * (1 + 0.15 * wide) - 6.5 * min(1.2, squint + 0.55 * weight[f"cheekSquint{side}"])
    along = x + _X * EYE_HALF_WIDTH
    tilt = -1.8 * sign * _X  # the outer corner is a little higher
    lower = np.stack([along, EYE_Y + tilt + floor_h * _FLOOR], axis=1)
    open_upper = np.stack([along, EYE_Y + tilt - roof_h * _ROOF], axis=1)
    upper = open_upper * (1 - shut) + lower * shut
    upper[:, 1] = np.minimum(upper[:, 1], lower[:, 1])
    shapes = [Shape(LID, np.concatenate([open_upper - (0, 3), lower[::-1]]))]
    shapes += _eyeball(x, gaze, upper, lower, sign)
    return shapes + _lids(upper, lower, open_upper, sign, shut)


def _eyeball(x: float, gaze: Gaze, upper: Points, lower: Points, sign: int) -> list[Shape]:
    height = float((lower[:, 1] - upper[:, 1]).max())
    if height < 1.0:
        return []
    cx, cy = x - 0.8 * sign + _LOOK_PX * float(np.clip(gaze.yaw, -0.8, 0.8)), EYE_Y - 2.5 + _LOOK_PX * float(np.clip(gaze.pitch, -0.7, 0.7))
    rings = (
        (WHITE, np.concatenate([upper, lower[::-1]])),
        (WHITE_SHADE, np.concatenate([upper, (upper + step(0, min(4.0, 0.2 * height)))[::-1]])),
        (IRIS_RIM, ellipse(cx, cy, 13.6, 13.6)),
        (IRIS, ellipse(cx, cy, 11.8, 11.8)),
        (IRIS_GLOW, ellipse(cx, cy + 4.2, 7.6, 6.0)),
        (PUPIL, ellipse(cx, cy, 6.0, 6.0)),
        ((255, 255, 255), ellipse(cx + 4.4, cy - 4.8, 3.1, 3.1)),
        ((214, 228, 232), ellipse(cx - 4.4, cy + 5.0, 1.6, 1.6)),
    )
    return [Shape(colour, between(outline, upper, lower)) for colour, outline in rings]


def _lids(upper: Points, lower: Points, open_upper: Points, sign: int, shut: float) -> list[Shape]:
    outward = upper if sign > 0 else upper[::-1]
    tip = outward[-1]
    lash = np.concatenate([outward, [tip + step(sign * 3.2, -1.6 + 3 * shut), tip + step(sign * 6.0, -4.2 + 7 * shut)]])
    thickness = np.interp(np.linspace(0, 1, len(lash)), (0, 0.35, 0.8, 1), (1.2, 3.2, 4.4, 0.4))
    crease = open_upper[3:-3] * (1 - 0.35 * shut) + upper[3:-3] * (0.35 * shut) - (0, 6.5)
    inner = lower[2:-2]
    return [
        Shape(CREASE, stroke(crease, taper(len(crease), 2.0, 0.1, 0.1))),
        Shape(CREASE, stroke(inner, taper(len(inner), 1.6))),
        Shape(LASH, stroke(lash, thickness)),
    ]


def brow_shape(weight: Weights, side: str) -> Shape:
    """Shape of one brow."""
    sign = 1 if side == "Left" else -1
    x, y = sign * EYE_X, EYE_Y - 40
    inner = 15 * weight["browInnerUp"] - 12 * weight[f"browDown{side}"] - 4 * weight[f"noseSneer{side}"]
    outer = 14 * weight[f"browOuterUp{side}"] - 5 * weight[f"browDown{side}"]
    together = -5 * weight[f"browDown{side}"] * sign
    start = (x - sign * 31 + together, y + 6 - inner)
    arch = bezier(start, (x - sign * 12, y - 6 - 0.7 * inner), (x + sign * 14, y - 10 - outer), (x + sign * 38, y + 7 - 0.8 * outer), 20)
    thickness = np.interp(np.linspace(0, 1, 20), (0, 0.12, 0.5, 1), (4.0, 8.0, 7.4, 1.0))
    return Shape(BROW, stroke(arch, thickness))


def nose_shapes(weight: Weights) -> list[Shape]:
    """Tip and wings of the nose, and a hint of the bridge."""
    tip = bezier((-11, 42), (-6, 48), (6, 48), (11, 42), 14)
    shapes = [Shape(NOSE, stroke(tip, taper(14, 3.0, 0.3, 0.3)))]
    for side, sign in (("Right", -1), ("Left", 1)):
        sneer = weight[f"noseSneer{side}"]
        wing = bezier(
            (sign * 17, 28 - 5 * sneer), (sign * 24, 34 - 6 * sneer), (sign * 22, 43 - 5 * sneer), (sign * 13, 43 - 2 * sneer), 14
        )
        shapes.append(Shape(NOSE, stroke(wing, taper(14, 2.8, 0.1, 0.3))))
        if sneer > 0.1:
            wrinkle = bezier((sign * 9, -2), (sign * 13, 4), (sign * 14, 10), (sign * 12, 16), 10)
            shapes.append(Shape(NOSE, stroke(wrinkle, taper(10, 3.0 * sneer))))
    return shapes


def cheek_shapes(weight: Weights) -> list[Shape]:
    """Folds that a raised or puffed cheek makes."""
    shapes = []
    for side, sign in (("Right", -1), ("Left", 1)):
        raised = min(1.0, weight[f"cheekSquint{side}"] + 0.45 * weight[f"mouthSmile{side}"])
        if raised > 0.1:
            fold = bezier((sign * 36, 6), (sign * 50, 13 - 3 * raised), (sign * 68, 13 - 3 * raised), (sign * 84, 3), 14)
            shapes.append(Shape(CREASE, stroke(fold, taper(14, 2.2 * raised))))
        puff = weight["cheekPuff"]
        if puff > 0.05:
            round_cheek = ellipse(sign * 82, 72, 26, 28)
            shapes.append(Shape(BLUSH, ellipse(sign * 82, 72, 24 * puff, 26 * puff)))
            outer_half = round_cheek[np.cos(np.linspace(0, 2 * np.pi, 40, endpoint=False)) * sign < -0.3]
            order = np.argsort(outer_half[:, 1])
            shapes.append(Shape(NOSE, stroke(outer_half[order], taper(len(order), 3.0 * puff))))
    return shapes
