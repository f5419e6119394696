"""The vector face's mouth: a pose's mouth weights as painted shapes, in face units (1/480 of the picture's height). Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar_relay.arkit import ARKIT_NAMES
from edge_client.face.curves import Colour, Points, between, bezier, ellipse, mix, step, stroke, taper
from edge_client.motion.pose import Pose

MOUTH_Y = 92.0
HALF_WIDTH = 45.0

LIP_UPPER: Colour = (188, 88, 86)
LIP_LOWER: Colour = (205, 104, 100)
LIP_SHINE: Colour = (222, 134, 126)
LIP_LINE: Colour = (150, 66, 64)
CAVITY: Colour = (66, 16, 24)
TEETH: Colour = (246, 242, 234)
TONGUE: Colour = (178, 72, 86)
FOLD: Colour = (206, 150, 124)


@dataclass(frozen=True, slots=True)
class Shape:
    """A filled outline."""

    colour: Colour
    outline: Points


Weights = dict[str, float]


def weights_of(pose: Pose) -> Weights:
    """The 52 weights by name, clamped to 0 to 1.2: beyond this the drawing would turn inside out."""
    return dict(zip(ARKIT_NAMES, np.clip(pose[: len(ARKIT_NAMES)], 0.0, 1.2).tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Lips:
    """The four lip lines, each from the picture's left to its right."""

    upper_outer: Points
    upper_inner: Points
    lower_inner: Points
    lower_outer: Points

    @property
    def opening(self) -> float:
        """The gap between the inner lines in the middle, in face units; 0 if the lips are shut."""
        middle = len(self.upper_inner) // 2
        return float(self.lower_inner[middle, 1] - self.upper_inner[middle, 1])


def lips_of(weight: Weights) -> Lips:
    """The lip lines for the given weights."""
    w = weight
    shift = 15 * (w["mouthLeft"] - w["mouthRight"]) + 9 * (w["jawLeft"] - w["jawRight"])
    rounding = min(1.0, w["mouthPucker"] + 0.6 * w["mouthFunnel"])
    gap = 62 * max(0.0, w["jawOpen"] - w["mouthClose"]) + 11 * w["mouthFunnel"]
    press = (w["mouthPressLeft"] + w["mouthPressRight"]) / 2
    middle = MOUTH_Y - 5 * w["mouthShrugLower"] - 3 * w["mouthShrugUpper"] - 2 * rounding
    right, left = _corner(w, "Right", -1, shift, rounding, gap, middle), _corner(w, "Left", 1, shift, rounding, gap, middle)
    raised = {side: 9 * w[f"mouthUpperUp{side}"] + 3 * w[f"noseSneer{side}"] for side in ("Left", "Right")}
    lowered = {side: gap + 12 * w[f"mouthLowerDown{side}"] for side in ("Left", "Right")}
    fuller = 1 + 0.55 * rounding
    upper_lip = 9.5 * fuller * (1 - 0.65 * w["mouthRollUpper"]) * (1 - 0.35 * press) + 2 * w["mouthShrugUpper"]
    lower_lip = (12.5 * fuller + 3 * w["jawForward"]) * (1 - 0.65 * w["mouthRollLower"]) * (1 - 0.35 * press)
    reach = 0.42 * (left[0] - right[0]) / 2

    def line(rise_right: float, rise_left: float) -> Points:
        # 4/3: the middle of a Bézier curve is three quarters of the way to its handles
        return bezier(right, (shift - reach, middle + 4 / 3 * rise_right), (shift + reach, middle + 4 / 3 * rise_left), left, 25)

    upper_inner = line(-raised["Right"], -raised["Left"])
    lower_inner = line(lowered["Right"], lowered["Left"])
    lower_inner[:, 1] = np.maximum(lower_inner[:, 1], upper_inner[:, 1])
    profile = np.sin(np.pi * np.linspace(0, 1, 25))
    bow = 1 - 0.30 * np.exp(-(((np.linspace(-1, 1, 25)) / 0.16) ** 2)) * (1 - 0.6 * rounding)
    upper_outer = upper_inner - np.stack([0 * profile, upper_lip * profile**0.8 * bow], axis=1)
    lower_outer = lower_inner + np.stack([0 * profile, lower_lip * profile**0.9], axis=1)
    return Lips(upper_outer, upper_inner, lower_inner, lower_outer)


def _corner(w: Weights, side: str, sign: int, shift: float, rounding: float, gap: float, middle: float) -> tuple[float, float]:
    wide = 1 - 0.5 * rounding + 0.20 * w[f"mouthSmile{side}"] + 0.20 * w[f"mouthStretch{side}"] + 0.08 * w[f"mouthDimple{side}"]
    wide -= 0.07 * w[f"mouthPress{side}"] + 0.0012 * gap
    lift = 15 * w[f"mouthSmile{side}"] + 4 * w[f"mouthDimple{side}"] - 14 * w[f"mouthFrown{side}"] - 4 * w[f"mouthStretch{side}"]
    return (shift + sign * HALF_WIDTH * wide, middle - lift + 0.28 * gap)


def mouth_shapes(weight: Weights) -> list[Shape]:
    """Shapes from back to front: cavity, tongue, teeth, lips, and the folds around them."""
    lips = lips_of(weight)
    shapes = [Shape(CAVITY, np.concatenate([lips.upper_inner, lips.lower_inner[::-1]]))]
    if lips.opening > 1.0:
        shapes += _inside(weight, lips)
    shapes.append(Shape(LIP_UPPER, np.concatenate([lips.upper_outer, lips.upper_inner[::-1]])))
    shapes.append(Shape(LIP_LOWER, np.concatenate([lips.lower_inner, lips.lower_outer[::-1]])))
    shine = lips.lower_inner[8:17] * 0.55 + lips.lower_outer[8:17] * 0.45
    shapes.append(Shape(LIP_SHINE, stroke(shine, taper(9, 3.0, 0.1, 0.1))))
    shapes.append(Shape(LIP_LINE, stroke(lips.upper_inner, taper(25, 2.4, 0.5, 0.5))))
    if lips.opening > 1.0:
        shapes.append(Shape(mix(LIP_LOWER, CAVITY, 0.35), stroke(lips.lower_inner[2:-2], taper(21, 1.6))))
    return shapes + _tongue_out(weight, lips) + _folds(weight, lips)


def _inside(weight: Weights, lips: Lips) -> list[Shape]:
    gap = lips.opening
    left, right = lips.upper_inner[0], lips.upper_inner[-1]
    middle_x, width = (left[0] + right[0]) / 2, right[0] - left[0]
    floor = float(lips.lower_inner[12, 1])
    tongue = ellipse(middle_x, floor + 4 - 0.05 * gap, 0.34 * width, 0.42 * gap)
    inside = slice(3, 22)
    upper = lips.upper_inner[inside]
    shapes = [Shape(TONGUE, between(tongue, lips.upper_inner, lips.lower_inner))]
    teeth = np.concatenate([upper, upper[::-1] + step(0, min(11.0, 0.42 * gap + 1))])
    shapes.append(Shape(TEETH, between(teeth, lips.upper_inner, lips.lower_inner)))
    showing = max(0.0, (weight["mouthLowerDownLeft"] + weight["mouthLowerDownRight"]) / 2)
    if showing > 0.2:
        lower = lips.lower_inner[slice(5, 20)]
        row = np.concatenate([lower, lower[::-1] - (0, min(6.0, 0.3 * gap))])
        shapes.append(Shape(mix(TEETH, CAVITY, 0.15), between(row, lips.upper_inner, lips.lower_inner)))
    return shapes


def _tongue_out(weight: Weights, lips: Lips) -> list[Shape]:
    out = weight["tongueOut"]
    if out < 0.05:
        return []
    x, top = float(lips.upper_inner[12, 0]), float(lips.upper_inner[12, 1])
    length = lips.opening + 26 * out
    tip = ellipse(x, top + length * 0.55, 17, length * 0.55)
    tip[:, 1] = np.maximum(tip[:, 1], top)
    groove = np.stack([np.full(8, x), np.linspace(top + 2, top + 0.75 * length, 8)], axis=1)
    return [Shape((206, 100, 106), tip), Shape((182, 78, 88), stroke(groove, taper(8, 2.2)))]


def _folds(weight: Weights, lips: Lips) -> list[Shape]:
    shapes = []
    for side, sign, end in (("Right", -1, 0), ("Left", 1, -1)):
        x, y = lips.upper_inner[end]
        deep = min(1.0, weight[f"mouthSmile{side}"] + weight[f"mouthDimple{side}"] + 0.5 * weight[f"mouthStretch{side}"])
        if deep > 0.08:
            fold = bezier((x + sign * 5, y - 11), (x + sign * 10, y - 4), (x + sign * 10, y + 4), (x + sign * 6, y + 9), 12)
            shapes.append(Shape(FOLD, stroke(fold, taper(12, 3.4 * deep))))
    chin = float(lips.lower_outer[12, 1]) + 10 + 3 * weight["jawForward"]
    x = float(lips.lower_outer[12, 0])
    crease = bezier((x - 17, chin), (x - 8, chin + 4), (x + 8, chin + 4), (x + 17, chin), 12)
    shapes.append(Shape(FOLD, stroke(crease, taper(12, 2.6 + 1.6 * weight["mouthShrugLower"]))))
    return shapes
