"""The colours that a person may choose: skin, hair, eyes and background of both faces. Pure.

A chosen colour takes the place of the one that was painted: what is painted lighter or darker stays so by the same factor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""
Picture = NDArray[np.uint8]

PAINTED_SKIN: Colour = (221, 170, 143)
"""What the head's texture has in the middle of the forehead."""
PAINTED_HAIR: Colour = (66, 41, 29)
"""The mean of the hair of the head's texture."""

_BARE_RED = 172
"""Skin is redder than this, lids included; what is darker has hair in it."""
_SWATCH_ROWS = 26
"""Rows at the bottom of the texture that hold teeth, gums and tongue."""


@dataclass(frozen=True, slots=True)
class FaceColours:
    """What is chosen; None stays as it was painted."""

    skin: Colour | None = None
    hair: Colour | None = None
    eyes: Colour | None = None
    background: Colour | None = None


AS_PAINTED = FaceColours()


def read_colour(text: str) -> Colour | None:
    """A colour written #rrggbb, None for an empty text. Raises `ValueError`."""
    if not text:
        return None
    match = re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text)
    if match is None:
        raise ValueError("takes a colour as #rrggbb, such as #8d5524")
    red, green, blue = (int(part, 16) for part in match.groups())
    return red, green, blue


def factor(chosen: Colour | None, painted: Colour) -> NDArray[np.float32]:
    """What the painted colour is multiplied by to be the chosen one, shape (3,)."""
    if chosen is None:
        return np.ones(3, np.float32)
    return np.asarray(np.array(chosen) / np.maximum(painted, 1), np.float32)


def tinted(colour: Colour, by: NDArray[np.float32]) -> Colour:
    """A painted colour times a factor, held within what can be shown."""
    red, green, blue = np.clip(np.rint(np.array(colour) * by), 0, 255).astype(int).tolist()
    return red, green, blue


def recoloured(paint: Picture, colours: FaceColours) -> Picture:
    """The head's texture (RGB, row 0 at the top) with the chosen skin and hair.

    What is dark and warm is hair (brows and lids too), what is light and warm is skin (lips keep half of their own colour),
    what is blue is the shirt.
    """
    if colours.skin is None and colours.hair is None:
        return paint
    red, green, blue = (paint[..., channel].astype(np.float32) for channel in range(3))
    hairs = np.clip((_BARE_RED - red) / (_BARE_RED - PAINTED_HAIR[0]), 0, 1)[..., None]
    light_of_hair, light_of_skin = hairs * np.array(PAINTED_HAIR, np.float32), (1 - hairs) * np.array(PAINTED_SKIN, np.float32)
    part = light_of_hair / (light_of_hair + light_of_skin)  # a texel in which both meet is between the two colours
    skin = 1 + (factor(colours.skin, PAINTED_SKIN) - 1) * np.where(green < 0.60 * red, 0.5, 1.0)[..., None]
    gain = np.where((red > blue + 4)[..., None], part * factor(colours.hair, PAINTED_HAIR) + (1 - part) * skin, 1.0)
    gain[-_SWATCH_ROWS:] = 1.0
    return np.clip(np.rint(paint * gain), 0, 255).astype(np.uint8)
