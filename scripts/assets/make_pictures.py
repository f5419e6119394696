"""Draw the pictures of the face for the documentation into `docs/pictures/face*.jpg`.

Needs no screen, but the history of the repository, for the head as it was. All poses, colours and texts are defined in this file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.media import Expression, ExpressionPreset
from edge_client.cast import CAST, DEFAULT_HEAD, head_file
from edge_client.choices import BackgroundChoice, HairChoice
from edge_client.colours import AS_PAINTED, FaceColours
from edge_client.face.detail import HeadLook
from edge_client.face.gl.opening import SMOOTH_SAMPLES
from edge_client.face.gles import GlesRenderer
from edge_client.face.overlay import Overlay, Page
from edge_client.face.renderer import Picture, Renderer
from edge_client.face.screens import RendererChoice, open_renderer
from edge_client.face.window import start_sdl
from edge_client.motion.expressions import mood_weights, with_mood
from edge_client.motion.pose import HEAD_ROTATION, LEFT_EYE_ROTATION, RIGHT_EYE_ROTATION, Pose, neutral_pose
from scripts.assets.blind_pairs import drawn
from scripts.bench.face_against import checkout
from tests.lab.face.viseme_poses import VISEMES, viseme_pose
from tests.lab.tool import command_line

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"

_SIZE = (960, 720)
_TILE = (264, 330)

Turn = tuple[float, float, float]


PAGES = (
    Overlay(Page("Starting", "Looking for the relay")),
    Overlay(Page("No connection", "The relay at 192.0.2.10:52000 does not answer. Trying again.")),
    Overlay(Page("No sound", "No sound device was found: the face speaks without sound.")),
)
SIGN = Overlay(None, "no connection")
FIGURES = Overlay(
    None,
    "",
    (
        "skew +1.2 ms, p99 14.8 ms",
        "buffer 1.62 s",
        "30.0 pictures/s",
        "underruns 0",
        "link: attached to 192.0.2.10:52000",
        "version 0.1.0",
    ),
)
COLOURS = (
    FaceColours(skin=(124, 82, 58), hair=(26, 20, 18), eyes=(86, 54, 30), background=(96, 78, 66)),
    FaceColours(skin=(236, 198, 178), hair=(176, 130, 72), eyes=(74, 116, 84), background=(70, 96, 92)),
    FaceColours(skin=(196, 148, 112), hair=(88, 84, 86), eyes=(70, 92, 120), background=(74, 66, 98)),
)


def main() -> int:
    """Draw strips of expressions, visemes, screens and colours, and the drawn head at the sizes of common screens."""
    parser = command_line("assets/make_pictures", __doc__)
    parser.add_argument("--against", default="2f3c5da", metavar="COMMIT", help="the head before, to compare with (default: 2f3c5da)")
    against = parser.parse_args().against
    FOLDER.mkdir(parents=True, exist_ok=True)
    for choice, name in (("gles", "face.jpg"), ("flat", "face-2d.jpg")):
        _save(_strip("gles" if choice == "gles" else "flat"), FOLDER / name)
    _save(_visemes(), FOLDER / "face-visemes.jpg")
    _save(_moods(), FOLDER / "face-moods.jpg")
    _save(_screens(), FOLDER / "face-screens.jpg")
    _save(_colours(), FOLDER / "face-colours.jpg")
    _save(_hair(), FOLDER / "face-hair.jpg")
    _save(_cast(), FOLDER / "face-cast.jpg")
    _save(_backgrounds(), FOLDER / "face-backgrounds.jpg")
    for width, height in ((800, 480), (1024, 600), (1280, 720), (480, 800)):
        renderer = _open("gles", (width, height))
        _save(_draw(renderer, _poses()[0]), FOLDER / f"face-{width}x{height}.jpg")
        renderer.close()
    with checkout(against) as root:
        for size in ((1080, 1080), (800, 480), (480, 800)):
            _save(_before_after(root, size), FOLDER / f"face-before-after-{size[0]}x{size[1]}.jpg")
    return 0


def _before_after(root: Path, size: tuple[int, int]) -> Picture:
    """Six poses on a screen of this size, as drawn by the client in `root` and by this one: before, `high` and `low`."""
    poses = [pose for place, pose in enumerate(_poses()) if place != 3]
    with tempfile.TemporaryDirectory() as name:
        tiles = list(drawn(root, {}, Path(name), poses, size))
    for detail in ("high", "low"):
        renderer = _open("gles", size, background="plain", is_high=detail == "high")
        tiles += [_draw(renderer, pose) for pose in poses]
        renderer.close()
    width = 288 if size[0] >= size[1] else 216
    return _grid(tiles, len(poses), (width, width * size[1] // size[0]))


def _visemes() -> Picture:
    """Ten visemes in two rows: the lower half of the face."""
    renderer = _open("gles", (1280, 960))
    tiles = [_draw(renderer, viseme_pose(ipa))[460:860, 430:850] for ipa in VISEMES]
    renderer.close()
    return _grid(tiles, 5, (210, 200))


def _moods() -> Picture:
    """Each mood with an open mouth and with closed lips."""
    renderer = _open("gles", (960, 720))
    moods = [mood_weights(Expression(preset)) for preset in ExpressionPreset if preset is not ExpressionPreset.NEUTRAL]
    tiles = [_draw(renderer, with_mood(viseme_pose(ipa), mood))[60:690, 200:760] for ipa in ("ɛ", "p") for mood in moods]
    renderer.close()
    return _grid(tiles, len(moods), (224, 252))


def _screens() -> Picture:
    """Text over the face: three pages, a sign during speech, the figures, and a page over the vector face."""
    speaking = _pose(jawOpen=0.35, mouthLowerDown=0.3)
    tiles: list[Picture] = []
    for choice, overlays in (("gles", (*PAGES, SIGN, FIGURES)), ("flat", (FIGURES,))):
        renderer = _open("gles" if choice == "gles" else "flat", (800, 480))
        for overlay in overlays:
            renderer.draw(speaking if overlay.page is None else _poses()[0], overlay=overlay)
            tiles.append(renderer.read())
        renderer.close()
    return _grid(tiles, 3, (400, 240))


def _cast() -> Picture:
    """The built-in heads, in one row."""
    poses = [
        _pose(mouthSmile=0.05),
        _pose(head=(0.0, 0.6, 0.0)),
        _pose(jawOpen=0.6, head=(0.0, -0.35, 0.0)),
        _pose(mouthSmile=0.7, cheekSquint=0.5, eyeSquint=0.2),
        _pose(eyeBlink=1.0, mouthPucker=0.6),
    ]
    tiles: list[Picture] = []
    for name, colours in CAST.items():
        renderer = _open("gles", (720, 720), colours, head=name)
        tiles += [_draw(renderer, pose)[:, 60:660] for pose in poses]
        renderer.close()
    return _grid(tiles, len(poses), (250, 300))


def _colours() -> Picture:
    """Both faces in custom colours."""
    tiles: list[Picture] = []
    for choice in ("gles", "flat"):
        for colours in COLOURS:
            renderer = _open("gles" if choice == "gles" else "flat", (640, 480), colours)
            tiles.append(_draw(renderer, _pose(mouthSmile=0.4))[:, 110:530])
            renderer.close()
    return _grid(tiles, 6, (210, 240))


def _hair() -> Picture:
    """All haircuts on all heads, turned to the side."""
    tiles: list[Picture] = []
    hairs: tuple[HairChoice, ...] = ("bob", "short", "swept", "curls", "painted")
    for name, colours in CAST.items():
        for hair in hairs:
            renderer = _open("gles", (640, 640), colours, hair, name)
            tiles.append(_draw(renderer, _pose(mouthSmile=0.3, head=(0.03, -0.45, 0.0))))
            renderer.close()
    return _grid(tiles, len(hairs), (250, 250))


def _backgrounds() -> Picture:
    """The backgrounds on a wide, a square and a tall screen."""
    columns: list[Picture] = []
    for size in ((800, 480), (480, 480), (288, 480)):
        tiles: list[Picture] = []
        for background in get_args(BackgroundChoice):
            renderer = _open("gles", size, background=background)
            tiles.append(_draw(renderer, _pose(mouthSmile=0.3)))
            renderer.close()
        columns.append(_grid(tiles, 1, (size[0] // 2, size[1] // 2)))
    return np.concatenate(columns, axis=1)


def _grid(tiles: list[Picture], across: int, size: tuple[int, int]) -> Picture:
    small = [np.asarray(Image.fromarray(tile).resize(size, Image.Resampling.LANCZOS)) for tile in tiles]
    rows = [np.concatenate(small[start : start + across], axis=1) for start in range(0, len(small), across)]
    return np.concatenate(rows, axis=0)


def _poses() -> list[Pose]:
    """Poses: rest, three speech shapes, a smile, a blink with rounded lips, and a look to the side."""
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


def _open(
    choice: RendererChoice,
    size: tuple[int, int],
    colours: FaceColours = AS_PAINTED,
    hair: HairChoice = "auto",
    head: str = DEFAULT_HEAD,
    background: BackgroundChoice = "studio",
    is_high: bool = True,
) -> Renderer:
    """An off-screen renderer; if `is_high`, the drawn head has smooth edges, as on a GPU."""
    if choice == "gles":
        start_sdl("offscreen", {})
        look, samples = HeadLook("high" if is_high else "low", hair, background), SMOOTH_SAMPLES if is_high else 0
        return GlesRenderer(size, 0, "off-screen", samples=samples, colours=colours, look=look, largest=size, head_file=head_file(head))
    return open_renderer(choice=choice, size=size, fullscreen=False, headless=True, colours=colours)


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
    Image.fromarray(picture).save(path, quality=90, optimize=True, progressive=True)
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
