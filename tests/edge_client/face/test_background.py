"""The backgrounds: without bands, in the chosen colour, and dark enough for text, on screens of every shape."""

from __future__ import annotations

from functools import cache
from typing import get_args

import numpy as np
import pytest

from edge_client.choices import BackgroundChoice
from edge_client.colours import Colour, FaceColours
from edge_client.face.detail import HeadLook
from edge_client.face.framing import Framing
from edge_client.face.gles import GlesRenderer
from edge_client.face.overlay import NOTHING, Overlay, Page
from edge_client.face.renderer import Picture
from edge_client.face.window import start_sdl
from edge_client.motion.pose import neutral_pose

SCENES: tuple[BackgroundChoice, ...] = get_args(BackgroundChoice)
SIZES = {"wide": (800, 480), "tall": (300, 500), "round": (400, 400)}
_WHITE, _AMBER = (255, 255, 255), (255, 190, 92)
TEXTS = (
    (Overlay(Page("No connection", "The relay does not answer.")), _WHITE),
    (Overlay(None, "no connection"), _AMBER),
    (Overlay(None, "", ("skew +1.2 ms", "buffer 1.62 s", "30.0 pictures/s")), _WHITE),
)
_LEAST_CONTRAST = 4.5
"""WCAG's level AA for text."""

each_scene = pytest.mark.parametrize("scene", SCENES)
each_shape = pytest.mark.parametrize("shape", SIZES)


@cache
def _drawn(scene: BackgroundChoice, shape: str, chosen: Colour | None = None) -> tuple[Picture, list[Picture]]:
    """The head before a background, without text and with each of `TEXTS`."""
    start_sdl("offscreen", {})
    framing, colours = Framing(shape == "round"), FaceColours(background=chosen)
    renderer = GlesRenderer(SIZES[shape], 0, "off-screen", look=HeadLook("low", "painted", scene), framing=framing, colours=colours)
    pictures = []
    for overlay in (NOTHING, *(overlay for overlay, _ in TEXTS)):
        renderer.draw(neutral_pose(), overlay=overlay)
        pictures.append(renderer.read().copy())
    renderer.close()
    return pictures[0], pictures[1:]


def _luminance(picture: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Relative luminance of sRGB colours, 0 to 1."""
    part = picture.astype(float) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ (0.2126, 0.7152, 0.0722))


@each_scene
def test_no_bands_are_seen(scene: BackgroundChoice) -> None:
    """No patch beside the head has one colour throughout, and noise is within one step of the screen's colours."""
    beside = _drawn(scene, "wide")[0][:360, :176].astype(float)
    patches = beside.reshape(360 // 8, 8, 176 // 8, 8, 3).swapaxes(1, 2).reshape(-1, 64, 3)
    assert (np.ptp(patches, axis=1) == 0).mean() < 0.05  # the corners are as dark as they get
    assert np.abs(beside[1:-1] - (beside[:-2] + beside[2:]) / 2).max() < 2.1


@each_scene
@each_shape
def test_text_over_it_is_readable(scene: BackgroundChoice, shape: str) -> None:
    """Letters of pages, signs and figures contrast with what their plates leave of the picture."""
    plain, texts = _drawn(scene, shape)
    for text, (overlay, letters) in zip(texts, TEXTS, strict=True):
        plate = text[(text < plain).all(2)]
        contrast = (_luminance(np.array(letters)) + 0.05) / (np.quantile(_luminance(plate), 0.98) + 0.05)
        assert contrast > _LEAST_CONTRAST, overlay


@each_scene
@each_shape
def test_the_face_stays_the_brightest(scene: BackgroundChoice, shape: str) -> None:
    """No background outshines the skin, or is black."""
    picture = _luminance(_drawn(scene, shape)[0])
    height, width = picture.shape
    rim = width // 12
    edge = np.concatenate([picture[: height // 2, :rim], picture[: height // 2, -rim:]])
    face = np.median(picture[height * 2 // 5 : height * 3 // 5, width * 9 // 20 : width * 11 // 20])
    assert 0.003 < edge.mean() < 0.7 * face
    assert edge.max() < face


@each_scene
def test_scenes_differ_and_take_the_chosen_colour(scene: BackgroundChoice) -> None:
    """Each differs from the others beside the head, not on it; a chosen colour changes its hue."""
    usual, green = (_drawn(scene, "round", chosen)[0].astype(int) for chosen in (None, (40, 100, 60)))
    wall = (slice(0, 200), slice(0, 40))
    assert np.ptp(green[wall].mean((0, 1))) > 5
    assert (green[wall] - usual[wall])[..., 1].mean() > (green[wall] - usual[wall])[..., 2].mean() + 5
    for rival in set(SCENES) - {scene}:
        other = _drawn(rival, "round")[0]
        assert np.abs(other[wall] - usual[wall]).mean() > 3
        assert (other[180:260, 160:240] == usual[180:260, 160:240]).all()
