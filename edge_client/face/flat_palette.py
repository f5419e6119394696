"""The colours of the vector face, with those that the user chose. Pure.

A painted colour that belongs to skin, hair or iris is scaled like its group's main colour; all others stay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_client.colours import Colour, FaceColours, factor, tinted
from edge_client.face import flat_features, flat_head, flat_mouth

_SKIN = (
    *(flat_head.SKIN, flat_head.SKIN_SHADE, flat_head.SKIN_DEEP, flat_head.BLUSH, *flat_head.CHEEKS),
    *(flat_features.LID, flat_features.CREASE, flat_features.NOSE, flat_features.BLUSH, flat_mouth.FOLD),
)
_HAIR = (
    *(flat_head.HAIR, flat_head.HAIR_BACK, flat_head.HAIR_SHINE, flat_head.HAIR_HALF_SHINE),
    flat_features.BROW,
)
_IRIS = (flat_features.IRIS_RIM, flat_features.IRIS, flat_features.IRIS_GLOW)
_LIPS = (flat_mouth.LIP_UPPER, flat_mouth.LIP_LOWER, flat_mouth.LIP_SHINE, flat_mouth.LIP_LINE)


class Palette:
    """Maps painted colours to the colours shown."""

    def __init__(self, colours: FaceColours) -> None:
        self.background = colours.background
        skin = factor(colours.skin, flat_head.SKIN)
        groups: tuple[tuple[tuple[Colour, ...], NDArray[np.float32]], ...] = (
            (_SKIN, skin),
            (_HAIR, factor(colours.hair, flat_head.HAIR)),
            (_IRIS, factor(colours.eyes, flat_features.IRIS)),
            (_LIPS, np.asarray((1 + skin) / 2, np.float32)),
        )
        self._shown = {colour: tinted(colour, by) for painted, by in groups for colour in painted}

    def of(self, painted: Colour) -> Colour:
        """Return the colour shown for a painted colour."""
        return self._shown.get(painted, painted)
