"""Draw pairs of crops of the head, as of an earlier commit and as now, in random order, for somebody who does not know which is which.

Both are drawn in the same poses, at twice the size, and scaled down. `pairs/` gets the pictures, `key.json` says on which side the new one
is: give away only the former.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from edge_client.face.camera import Camera
from edge_client.motion.pose import HEAD_ROTATION, LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION, Pose, neutral_pose
from scripts.bench.face_against import checkout
from tests.lab.data import PROJECT_ROOT
from tests.lab.face.viseme_poses import viseme_pose
from tests.lab.programs import ProgramError
from tests.lab.tool import command_line

CROPS = {
    "eyes": (-0.66, 0.26, 0.66, -0.26),
    "hair": (-1.12, 1.24, 1.12, 0.15),
    "mouth": (-0.46, -0.30, 0.46, -0.95),
    "whole": (-1.2, 1.24, 1.2, -1.24),
}
"""Left, top, right and bottom, in head units."""
Pictures = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
_SIDE, _GAP = 1080, 24
_CHILD = Path(__file__).parent / "blind_child.py"
_LIMIT_S = 300


def poses() -> list[Pose]:
    """Rest, two visemes, a smile, turned, and a look to the side."""
    turned, aside = neutral_pose(), neutral_pose()
    turned[HEAD_ROTATION] = (0.03, -0.40, 0.0)
    aside[LEFT_EYE_ROTATION] = aside[RIGHT_EYE_ROTATION] = (0.05, 0.30, 0.0)
    return [neutral_pose(), viseme_pose("ɛ"), viseme_pose("i"), turned, aside]


def drawn(root: Path, look: Mapping[str, str], folder: Path, them: Sequence[Pose], size: tuple[int, int]) -> Pictures:
    """Poses as drawn by the edge client in `root`, (poses, height, width, 3). Raises `ProgramError`."""
    np.save(folder / "poses.npy", np.stack(them))
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'proto'}"}
    command = [
        sys.executable,
        "-P",
        str(_CHILD),
        str(folder / "poses.npy"),
        *map(str, size),
        json.dumps(dict(look)),
        str(folder / "out.npy"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode:
        raise ProgramError(f"drawing ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return np.asarray(np.load(folder / "out.npy"))


def cropped(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], crop: tuple[float, float, float, float]) -> Image.Image:
    """A crop at half the size. Pure."""
    side = len(picture)
    corners = np.array([(crop[0], crop[1], 0.0), (crop[2], crop[3], 0.0)], np.float32)
    left, top, right, bottom = np.clip(Camera(side, side).pixels(corners), 0, side).round().astype(int).ravel().tolist()
    part = Image.fromarray(np.ascontiguousarray(picture[top:bottom, left:right]))
    return part.resize((part.width // 2, part.height // 2), Image.Resampling.LANCZOS)


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Both in one picture. Pure."""
    sheet = Image.new("RGB", (left.width + _GAP + right.width, max(left.height, right.height)), (128, 128, 128))
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + _GAP, 0))
    return sheet


def main() -> int:
    """Write the pairs and the key."""
    parser = command_line("assets/blind_pairs", __doc__)
    parser.add_argument("folder", type=Path, help="written to")
    parser.add_argument("--against", default="2f3c5da", metavar="COMMIT", help="the earlier commit (default: 2f3c5da)")
    parser.add_argument("--detail", choices=("low", "high"), default="low", help="of the new head (default: low)")
    parser.add_argument("--background", default="plain", help="of the new head (default: plain, as before)")
    parser.add_argument("--seed", type=int, help="of the order (default: random)")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with checkout(arguments.against) as root, tempfile.TemporaryDirectory() as name:
        size, look = (2 * _SIDE, 2 * _SIDE), {"detail": arguments.detail, "background": arguments.background}
        before, now = (drawn(at, its_look, Path(name), poses(), size) for at, its_look in ((root, {}), (PROJECT_ROOT, look)))
    order = [(pose, crop) for pose in range(len(now)) for crop in CROPS]
    chance.shuffle(order)
    (arguments.folder / "pairs").mkdir(parents=True, exist_ok=True)
    key = {}
    for number, (pose, crop) in enumerate(order, 1):
        new_side = chance.choice(("left", "right"))
        pair = [cropped(pictures[pose], CROPS[crop]) for pictures in (now, before)]
        file = f"{number:02d}-{crop}.png"
        beside(*(pair if new_side == "left" else pair[::-1])).save(arguments.folder / "pairs" / file, compress_level=1)
        key[file] = new_side
    (arguments.folder / "key.json").write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
    print(f"{len(order)} pairs in {arguments.folder / 'pairs'}; the sides of the new one in {arguments.folder / 'key.json'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ProgramError as error:
        sys.exit(f"scripts/assets/blind_pairs: {error}")
