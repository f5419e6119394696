"""The configurable colours: skin, hair, eyes and background of both faces. Pure.

A chosen colour replaces the painted one: lighter and darker shades keep their factor to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""
Picture = NDArray[np.uint8]


PAINTED_HAIR: Colour = (66, 41, 29)
"""Of the default head: about the mean of its hair."""


@dataclass(frozen=True, slots=True)
class FaceColours:
    """The chosen colours; None keeps the painted one."""

    skin: Colour | None = None
    hair: Colour | None = None
    eyes: Colour | None = None
    background: Colour | None = None


AS_PAINTED = FaceColours()


def read_colour(text: str) -> Colour | None:
    """Parse a colour written #rrggbb; None for an empty text. Raises `ValueError`."""
    if not text:
        return None
    match = re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text)
    if match is None:
        raise ValueError("takes a colour as #rrggbb, such as #8d5524")
    red, green, blue = (int(part, 16) for part in match.groups())
    return red, green, blue


def factor(chosen: Colour | None, painted: Colour) -> NDArray[np.float32]:
    """The factor from the painted colour to the chosen one, shape (3,)."""
    if chosen is None:
        return np.ones(3, np.float32)
    return np.asarray(np.array(chosen) / np.maximum(painted, 1), np.float32)


def tinted(colour: Colour, by: NDArray[np.float32]) -> Colour:
    """A painted colour times a factor, limited to the valid range."""
    red, green, blue = np.clip(np.rint(np.array(colour) * by), 0, 255).astype(int).tolist()
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Painted:
    """The colours in which a head's texture is painted."""

    skin: Colour
    hair: Colour
    """The mean of each."""
    regions: bytes
    """A map of the texture, as a JPEG file: skin is red (lips half of it); hair, including brows and lids, is green."""


def recoloured(paint: Picture, colours: FaceColours, painted: Painted, regions: Picture) -> Picture:
    """The head's texture (RGB, row 0 at the top) with the chosen skin and hair; lips keep half of their own colour.

    `regions`: the picture of `painted`, at half the size.
    """
    if colours.skin in (None, painted.skin) and colours.hair in (None, painted.hair):
        return paint
    skin, hair = (np.repeat(np.repeat(regions[..., channel], 2, 0), 2, 1)[..., None] / np.float32(255) for channel in (0, 1))
    skin_light, hair_light = (part * np.array(light, np.float32) for part, light in ((skin, painted.skin), (hair, painted.hair)))
    wanted = skin_light * factor(colours.skin, painted.skin) + hair_light * factor(colours.hair, painted.hair)
    light = skin_light + hair_light  # a texel that has both is between the two colours
    changed = np.clip(skin + hair, 0, 1)
    gain = 1 - changed + changed * wanted / np.maximum(light, 1)
    return np.clip(np.rint(paint * gain), 0, 255).astype(np.uint8)
