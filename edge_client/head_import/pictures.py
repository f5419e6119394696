"""Pictures of an imported head, for its report: `python -m edge_client.head_import.pictures HEAD JPEG` draws them off-screen."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, to_weights
from avatar_relay.mouth.visemes import visemes_of
from edge_client.face.gles import GlesRenderer
from edge_client.face.window import start_sdl
from edge_client.motion.pose import HEAD_ROTATION, Pose, neutral_pose

CPU_S = 20
"""Limit of CPU time; the built-in head's pictures take one or two seconds if the CPU draws."""
_SIZE, _CUT, _TILE = (960, 720), (150, 810), (330, 360)
_MOUTHS = "paiu"


def draw_sheet(head_file: Path, picture: Path) -> None:
    """Draw twelve poses as one JPEG: rest, lids, gaze, four mouths, brows, turned. Raises `pygame.error`, `ScreenError`, `AssetError`."""
    start_sdl("offscreen", {})
    renderer = GlesRenderer(_SIZE, 0, "off-screen", head_file=head_file)
    tiles = []
    for pose in _poses():
        renderer.draw(pose)
        drawn = Image.fromarray(renderer.read()[:, _CUT[0] : _CUT[1]])
        tiles.append(np.asarray(drawn.resize(_TILE, Image.Resampling.LANCZOS)))
    renderer.close()
    rows = [np.concatenate(tiles[start : start + 4], axis=1) for start in range(0, len(tiles), 4)]
    Image.fromarray(np.concatenate(rows)).save(picture, "JPEG", quality=90)


def _poses() -> list[Pose]:
    return [
        _pose(),
        _pose(eyeBlink=1.0),
        _pose(eyeLookOutLeft=0.8, eyeLookInRight=0.8),
        _pose(jawOpen=1.0),
        *(_spoken(phoneme) for phoneme in _MOUTHS),
        _pose(mouthSmile=0.9, cheekSquint=0.6),
        _pose(browInnerUp=1.0, browOuterUp=1.0, eyeWide=0.8),
        _pose(browDown=1.0, mouthFrown=0.8),
        _turned(_pose(mouthSmile=0.3)),
    ]


def _pose(**weights: float) -> Pose:
    """Make a pose; a name without a side sets both sides."""
    pose = neutral_pose()
    for name, weight in weights.items():
        for full in (name,) if name in ARKIT_INDEX else (f"{name}Left", f"{name}Right"):
            pose[ARKIT_INDEX[full]] = weight
    return pose


def _spoken(phoneme: str) -> Pose:
    pose = neutral_pose()
    pose[[ARKIT_INDEX[name] for name in BLENDSHAPE_NAMES]] = to_weights(visemes_of(phoneme)[0].mouth)
    return pose


def _turned(pose: Pose) -> Pose:
    pose[HEAD_ROTATION] = (0.05, -0.5, 0.0)
    return pose


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 1))
    draw_sheet(Path(sys.argv[1]), Path(sys.argv[2]))
