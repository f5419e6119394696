"""Rows of blendshape weights to poses."""

from __future__ import annotations

import numpy as np

from avatar_relay import weights
from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.weights import WeightsError
from edge_client.errors import UndecodableError
from edge_client.motion.pose import POSE_SIZE, Poses


class WeightsDecoder:
    """Decodes rows whose columns are named once, in any order; a blendshape that is not named stays 0.

    Names are ARKit's; spellings that differ in case, in underscores or in `_L`/`_R` for `Left`/`Right` are known too
    (Audio2Face-3D and exporters of avatars write them). Weights are held between 0 and 1.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._width = len(names)
        known: dict[int, int] = {}
        for column, name in enumerate(names):
            index = _INDEX_OF_SPELLING.get(_spelling(name))
            if index is not None:
                known.setdefault(index, column)
        self._pose_columns = list(known)
        self._row_columns = list(known.values())
        self.unknown_names = self._width - len(known)
        """Columns that are left out: names that are not ARKit's, or that were there before."""

    def decode(self, data: bytes) -> Poses:
        """See `MotionDecoder`."""
        try:
            rows = weights.read(data, self._width)
        except WeightsError as error:
            raise UndecodableError(f"motion payload: {error}") from error
        poses = np.zeros((len(rows), POSE_SIZE), np.float32)
        poses[:, self._pose_columns] = np.clip(rows[:, self._row_columns], 0.0, 1.0)
        return poses


def _spelling(name: str) -> str:
    plain = name.lower()
    if plain.endswith(("_l", "_r")):
        plain = plain[:-2] + {"l": "left", "r": "right"}[plain[-1]]
    return plain.replace("_", "")


_INDEX_OF_SPELLING = {_spelling(name): index for name, index in ARKIT_INDEX.items()}
