"""Draw the pictures of the face for the documentation: `python -m scripts.make_pictures` writes `docs/pictures/face*.png`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.face.gles import GlesRenderer
from edge_client.face.renderer import Picture, Renderer
from edge_client.face.screens import RendererChoice, open_renderer
from edge_client.face.window import start_sdl
from edge_client.motion.pose import HEAD_ROTATION, LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION, Pose, neutral_pose

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"

_SIZE = (960, 720)
_TILE = (264, 330)

Turn = tuple[float, float, float]


def main() -> int:
    """Both strips, and the drawn head at the sizes of common screens."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for choice, name in (("gles", "face.png"), ("flat", "face-2d.png")):
        _save(_strip("gles" if choice == "gles" else "flat"), FOLDER / name)
    for width, height in ((800, 480), (1024, 600), (1280, 720), (480, 800)):
        renderer = _open("gles", (width, height))
        _save(_draw(renderer, _poses()[0]), FOLDER / f"face-{width}x{height}.png")
        renderer.close()
    return 0


def _poses() -> list[Pose]:
    """Rest, three mouths of speech, a smile, a blink with rounded lips, a look to the side."""
    return [
        _pose(mouthSmile=0.12),
        _pose(jawOpen=0.62, mouthStretch=0.1, browInnerUp=0.2),
        _pose(mouthStretch=0.55, jawOpen=0.16, mouthUpperUp=0.35, mouthLowerDown=0.5),
        _pose(mouthFunnel=0.75, mouthPucker=0.3, jawOpen=0.2, browInnerUp=0.3),
        _pose(mouthSmile=0.75, cheekSquint=0.5, eyeSquint=0.25, jawOpen=0.08, mouthUpperUp=0.3, head=(-0.03, 0.10, 0.05)),
        _pose(eyeBlink=1.0, mouthPucker=0.65, browInnerUp=0.2),
        _pose(mouthSmileLeft=0.35, browOuterUp=0.5, head=(0.02, -0.38, 0.0), gaze=0.30),
    ]


def _pose(*, head: Turn = (0, 0, 0), gaze: float = 0.0, **weights: float) -> Pose:
    pose = neutral_pose()
    for name, weight in weights.items():
        for full in (name,) if name in ARKIT_INDEX else (f"{name}Left", f"{name}Right"):
            pose[ARKIT_INDEX[full]] = weight
    pose[HEAD_ROTATION] = head
    pose[LEFT_EYE_ROTATION] = pose[RIGHT_EYE_ROTATION] = (0, gaze, 0)
    return pose


def _open(choice: RendererChoice, size: tuple[int, int]) -> Renderer:
    """Off-screen; the drawn head with smooth edges, as on a GPU."""
    if choice == "gles":
        start_sdl("offscreen")
        return GlesRenderer(size, 0, "off-screen", smooth=True)
    return open_renderer(choice=choice, size=size, fullscreen=False, headless=True)


def _draw(renderer: Renderer, pose: Pose) -> Picture:
    renderer.draw(pose)
    return renderer.read()


def _strip(choice: RendererChoice) -> Picture:
    renderer = _open(choice, _SIZE)
    tiles = []
    for pose in _poses():
        picture = _draw(renderer, pose)
        height, width = picture.shape[:2]
        half = height * _TILE[0] // _TILE[1] // 2
        middle = Image.fromarray(picture[:, width // 2 - half : width // 2 + half])
        tiles.append(np.asarray(middle.resize(_TILE, Image.Resampling.LANCZOS)))
    renderer.close()
    return np.concatenate(tiles, axis=1)


def _save(picture: Picture, path: Path) -> None:
    """As a small file: with a palette that is chosen for the face rather than for the background around it."""
    pixels = picture.reshape(-1, 3)
    of_the_face = pixels[:, 0] > pixels[:, 2]
    chosen = np.concatenate([pixels[of_the_face], pixels[~of_the_face][::6]])
    side = int(len(chosen) ** 0.5)
    sample = Image.fromarray(chosen[: side * side].reshape(side, side, 3))
    palette = sample.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=2)
    Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
