"""Converts AvatarKit's FLAME keyframes to poses.

Rotations are converted exactly: FLAME's axes are the pose's (x to the face's left, y up, z out of the face), and its
joints are ours. The jaw's rotation becomes the weight that turns the head's own jaw by the same angle. The meaning of each
expression coefficient in AvatarKit's basis is not public: a linear map, fitted to recorded conversations, converts
them to mouth weights (`scripts/assets/fit_flame_map.py`; its accuracy is in `assets/flame_map.md`).
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

import numpy as np
from numpy.typing import NDArray

from avatar_relay import avatarkit
from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.avatarkit import EXPRESSION, EYE_LID, EYE_POSE, JAW_POSE, NECK_POSE, ROTATION, AvatarKitError, Keyframes
from avatar_relay.reasons import Fault
from edge_client.errors import AssetError, UndecodableError
from edge_client.motion.borders import WindowedTrack
from edge_client.motion.pose import BLENDSHAPES, HEAD_ROTATION, LEFT_EYE_ROTATION, NECK_ROTATION, POSE_SIZE, RIGHT_EYE_ROTATION, Poses

JAW_OPEN_RAD = 0.443
"""Rotation of the jaw at `jawOpen` 1: 25.4°, measured on the ARKit "Face Units" of the head that is drawn."""
JAW_SIDE_RAD = 0.2
"""Sideways rotation of the jaw at `jawLeft` or `jawRight` 1: about 11°, the human range."""

MAX_NUMBER = 20.0
"""Numbers of a keyframe are clamped to ±20: coefficients reach 3, rotations 2π; beyond, sums could overflow."""

EXPRESSION_SIZE = EXPRESSION.stop - EXPRESSION.start
DEFAULT_MAP = "flame_map.npz"
MAX_MAP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class FlameMap:
    """Maps expression coefficients to ARKit weights: expression @ `matrix` + `offset` on the columns `targets` of a pose.

    Weights may be negative: `jawOpen` compensates for a jaw that hangs at rest. `matrix` has the shape
    (EXPRESSION_SIZE, targets).
    """

    matrix: NDArray[np.float32]
    offset: NDArray[np.float32]
    targets: NDArray[np.intp]

    def weights(self, expression: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weights of rows of coefficients, not yet clamped to 0 to 1."""
        weights: NDArray[np.float32] = expression @ self.matrix + self.offset
        return weights


def load_flame_map(file: Traversable) -> FlameMap:
    """Read a map (`matrix`, `offset`, `names` in an .npz). Raises `AssetError`."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_MAP_BYTES)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_MAP_BYTES:
                raise ValueError(f"it unpacks to more than {MAX_MAP_BYTES} bytes")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            matrix, offset = arrays["matrix"].astype(np.float32), arrays["offset"].astype(np.float32)
            names = [str(name) for name in arrays["names"]]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise AssetError(f"{file.name} is not a FLAME map: {error}") from error
    unknown = [name for name in names if name not in ARKIT_INDEX]
    if unknown or matrix.shape != (EXPRESSION_SIZE, len(names)) or offset.shape != (len(names),):
        raise AssetError(f"{file.name} is not a FLAME map: its matrix is {matrix.shape}, its unknown names are {unknown}")
    if not (np.isfinite(matrix).all() and np.isfinite(offset).all()):
        raise AssetError(f"{file.name} is not a FLAME map: it holds numbers that are not finite")
    return FlameMap(matrix, offset, np.array([ARKIT_INDEX[name] for name in names], np.intp))


@cache
def default_flame_map() -> FlameMap:
    """The map that ships with the package; read once. Raises `AssetError`."""
    return load_flame_map(resources.files("edge_client.motion") / "assets" / DEFAULT_MAP)


class AvatarKitDecoder:
    """Decodes AvatarKit v2 motion messages."""

    def __init__(self, flame_map: FlameMap) -> None:
        self._map = flame_map

    def decode(self, data: bytes) -> Poses:
        """See `MotionDecoder`."""
        try:
            keyframes = np.clip(avatarkit.read(data).keyframes, -MAX_NUMBER, MAX_NUMBER)
        except AvatarKitError as error:
            raise UndecodableError(f"motion payload: {error}") from error
        return self._poses(keyframes)

    def make_track(self, keyframes_per_second: float) -> WindowedTrack:
        """See `MotionDecoder`: the track expects the windows of the Motion Server."""
        return WindowedTrack(keyframes_per_second)

    def complaint(self) -> Fault | None:
        """See `MotionDecoder`: always None."""
        return None

    def _poses(self, keyframes: Keyframes) -> Poses:
        poses = np.zeros((len(keyframes), POSE_SIZE), np.float32)
        poses[:, self._map.targets] = self._map.weights(keyframes[:, EXPRESSION])
        jaw, lids = keyframes[:, JAW_POSE], keyframes[:, EYE_LID]
        poses[:, ARKIT_INDEX["jawOpen"]] += jaw[:, 0] / JAW_OPEN_RAD
        poses[:, ARKIT_INDEX["jawLeft"]] += jaw[:, 1] / JAW_SIDE_RAD
        poses[:, ARKIT_INDEX["jawRight"]] -= jaw[:, 1] / JAW_SIDE_RAD
        poses[:, ARKIT_INDEX["eyeBlinkLeft"]] += lids[:, 0]
        poses[:, ARKIT_INDEX["eyeBlinkRight"]] += lids[:, 1]
        np.clip(poses[:, BLENDSHAPES], 0.0, 1.0, out=poses[:, BLENDSHAPES])
        eyes = keyframes[:, EYE_POSE]
        poses[:, HEAD_ROTATION] = keyframes[:, ROTATION]
        poses[:, NECK_ROTATION] = keyframes[:, NECK_POSE]
        poses[:, LEFT_EYE_ROTATION] = eyes[:, :3]
        poses[:, RIGHT_EYE_ROTATION] = eyes[:, 3:]
        return poses
