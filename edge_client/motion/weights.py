"""Converts rows of blendshape weights to poses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avatar_relay import weights
from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.columns import Columns, told
from avatar_relay.media import AngleUnit, MotionFormat
from avatar_relay.reasons import Fault, Reason
from avatar_relay.spellings import ANGLE_NAMES
from avatar_relay.weights import Rows, WeightsError
from edge_client.errors import UndecodableError
from edge_client.motion.angles import rotation_vectors
from edge_client.motion.pose import HEAD_ROTATION, LEFT_EYE_ROTATION, POSE_SIZE, RIGHT_EYE_ROTATION, Poses
from edge_client.motion.track import MotionTrack

LARGEST_WEIGHT = 2.0
"""A solver may exceed 1; larger weights indicate another scale, if they occur in `ROWS_TO_BE_SURE` rows."""
LARGEST_ANGLE_RAD = 2 * np.pi
ROWS_TO_BE_SURE = 5

_JOINTS = (HEAD_ROTATION, LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION)
assert len(ANGLE_NAMES) == 3 * len(_JOINTS)


class WeightsDecoder:
    """Decodes rows whose columns are named once, in any order; a blendshape without a column stays 0.

    Weights are divided by the declared scale and clamped to 0 to 1. `columns` has the meanings of the names, resolved once.
    """

    def __init__(self, motion_format: MotionFormat, columns: Columns) -> None:
        self._width = len(motion_format.blendshape_names)
        self._factor = np.float32(1 / motion_format.weight_scale)
        self._faults: list[Fault] = []
        if columns.left_out:
            text = (
                f"{len(columns.left_out)} of {self._width} columns move nothing, read as {columns.name_set.name}: {told(columns.left_out)}"
            )
            self._faults.append(Fault(Reason.MOTION_NOT_UNDERSTOOD, text, "open.motion_format.blendshape_names"))
        self._range_told = False
        self._large_rows = 0
        self._large_angle_rows = 0
        self._matrix = _matrix(columns, self._width)
        targets = list(columns.arkit.shapes) if self._matrix is None else list(range(len(ARKIT_INDEX)))
        self._pose_columns = _together(targets)
        self._row_columns = _together([sources[0] for sources in columns.arkit.shapes.values()])
        self._angles = dict(columns.arkit.angles)
        self._radians = np.pi / 180 if motion_format.angle_unit is AngleUnit.DEGREES else 1.0

    def decode(self, data: bytes) -> Poses:
        """See `MotionDecoder`."""
        return self._poses(self._read(data))

    def make_track(self, keyframes_per_second: float) -> MotionTrack:
        """See `MotionDecoder`."""
        return MotionTrack(keyframes_per_second)

    def complaint(self) -> Fault | None:
        """See `MotionDecoder`: reports columns that are ignored, and weights or angles of another scale."""
        return self._faults.pop() if self._faults else None

    def _read(self, data: bytes) -> Rows:
        try:
            return weights.read(data, self._width)
        except WeightsError as error:
            raise UndecodableError(f"motion payload: {error}") from error

    def _poses(self, rows: Rows) -> Poses:
        poses = np.zeros((len(rows), POSE_SIZE), np.float32)
        shapes = rows[:, self._row_columns] if self._matrix is None else rows @ self._matrix
        if self._factor != 1:
            shapes = shapes * self._factor
        if shapes.size and shapes.max() > LARGEST_WEIGHT:
            self._count_large(shapes)
        poses[:, self._pose_columns] = np.minimum(np.maximum(shapes, 0.0), 1.0)
        if self._angles:
            self._turn(poses, rows)
        return poses

    def _turn(self, poses: Poses, rows: Rows) -> None:
        """Rotate head and eyes by the columns that are angles."""
        angles = np.zeros((len(ANGLE_NAMES), len(rows)))
        for index, column in self._angles.items():
            angles[index] = rows[:, column]
        angles *= self._radians
        large = (np.abs(angles) > LARGEST_ANGLE_RAD).any(axis=0)
        if large.any():
            self._large_angle_rows += int(large.sum())
            text = f"{ROWS_TO_BE_SURE} rows or more have angles of more than a turn; in degrees? declare angle_unit"
            self._tell_range(self._large_angle_rows, text, "open.motion_format.angle_unit")
        for at, joint in enumerate(_JOINTS):
            poses[:, joint] = rotation_vectors(*angles[3 * at : 3 * at + 3])

    def _count_large(self, shapes: Rows) -> None:
        self._large_rows += int((shapes > LARGEST_WEIGHT).any(axis=1).sum())
        text = (
            f"{ROWS_TO_BE_SURE} rows or more have weights over {LARGEST_WEIGHT:g}, now {shapes.max():g}; percentages? declare weight_scale"
        )
        self._tell_range(self._large_rows, text, "open.motion_format.weight_scale")

    def _tell_range(self, rows: int, text: str, field: str) -> None:
        if rows >= ROWS_TO_BE_SURE and not self._range_told:
            self._range_told = True
            self._faults.append(Fault(Reason.MOTION_OUT_OF_RANGE, text, field))


def _together(indexes: Sequence[int]) -> slice | list[int]:
    """Indexes as a slice if they are consecutive: numpy is faster with it."""
    if indexes and list(indexes) == list(range(indexes[0], indexes[0] + len(indexes))):
        return slice(indexes[0], indexes[0] + len(indexes))
    return list(indexes)


def _matrix(columns: Columns, width: int) -> Rows | None:
    """The matrix from rows to ARKit's weights; None if each weight is just one column."""
    if not columns.expressions and all(len(sources) == 1 for sources in columns.arkit.shapes.values()):
        return None
    matrix = np.zeros((width, len(ARKIT_INDEX)), np.float32)
    for target, sources in columns.arkit.shapes.items():
        matrix[list(sources), target] = 1 / len(sources)
    for column, expression in columns.expressions.items():
        for name, weight in expression.items():
            matrix[column, ARKIT_INDEX[name]] = weight
    return matrix
