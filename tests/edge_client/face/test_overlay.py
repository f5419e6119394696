"""Text over the face, in both renderers: present, readable, and removed without a trace."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pygame
import pytest

from edge_client.colours import FaceColours, read_colour
from edge_client.face.lettering import Lettering, qr_code, wrapped
from edge_client.face.overlay import DARK, Overlay, Page
from edge_client.face.renderer import Picture, Renderer
from edge_client.face.screens import RendererChoice, open_renderer
from edge_client.motion.pose import Pose, neutral_pose
from tests.edge_client.face.poses import pose_of

PAGE = Overlay(Page("No connection", "UNAVAILABLE: is the relay running at that address?"))


def _drawn(renderer: Renderer, pose: Pose, overlay: Overlay | None = None) -> Picture:
    renderer.draw(pose, overlay=overlay) if overlay is not None else renderer.draw(pose)
    return renderer.read().astype(np.int16)


@pytest.fixture(params=["gles", "flat"], scope="module")
def renderer(request: pytest.FixtureRequest) -> Iterator[Renderer]:
    """Each renderer, off-screen; one at a time."""
    found = open_renderer(choice=request.param, size=(800, 480), fullscreen=False, headless=True)
    yield found
    found.close()


def test_a_page_covers_the_face_and_goes_without_a_trace(renderer: Renderer) -> None:
    """Dark, with white letters in the middle; the face behind it still moves; afterwards every pixel is as before."""
    before = _drawn(renderer, neutral_pose())
    page = _drawn(renderer, neutral_pose(), PAGE)
    assert page.mean() < 0.6 * before.mean()
    assert (page.min(2) > 240).sum() > 2_000
    assert (_drawn(renderer, pose_of(eyeBlink=1.0), PAGE) != page).any()
    assert (_drawn(renderer, neutral_pose()) == before).all()


def test_a_screen_that_sleeps_is_black(renderer: Renderer) -> None:
    """The whole picture is black, and the face is back at once."""
    before = _drawn(renderer, neutral_pose())
    assert _drawn(renderer, neutral_pose(), DARK).max() == 0
    assert (_drawn(renderer, neutral_pose()) == before).all()


def test_letters_of_the_title_are_large_enough_for_two_metres(renderer: Renderer) -> None:
    """6 mm on a panel that is 86 mm high: 7 % of the picture's height; small letters of the reason are half of that."""
    page = _drawn(renderer, neutral_pose(), Overlay(Page("HHHH")))
    rows = np.flatnonzero((page.min(2) > 240).sum(1) > 8)
    assert rows[-1] - rows[0] > 0.07 * page.shape[0]


def test_a_sign_and_figures_stay_in_their_corners(renderer: Renderer) -> None:
    """The face itself is unchanged by a sign and figures."""
    before = _drawn(renderer, neutral_pose())
    after = _drawn(renderer, neutral_pose(), Overlay(None, "no connection", ("skew +1.0 ms", "buffer 0.10 s")))
    changed = np.abs(after - before).max(2) > 0
    height, width = changed.shape
    assert changed[: height // 5, -width // 4 :].any()
    assert changed[: height // 5, : width // 3].any()
    assert not changed[height // 5 :].any()
    assert not changed[:, round(0.45 * width) : round(0.6 * width)].any()


def test_an_overlay_that_changes_is_painted_anew(renderer: Renderer) -> None:
    """A changed overlay is painted again, an unchanged one is not."""
    one = _drawn(renderer, neutral_pose(), Overlay(None, "", ("buffer 0.10 s",)))
    assert (_drawn(renderer, neutral_pose(), Overlay(None, "", ("buffer 0.10 s",))) == one).all()
    assert (_drawn(renderer, neutral_pose(), Overlay(None, "", ("buffer 0.20 s",))) != one).any()


def test_long_words_and_texts_stay_within_the_picture() -> None:
    """A reason is untrusted text: it is wrapped, and cut if necessary."""
    lettering = Lettering((320, 240))
    (piece,) = lettering.pieces(Overlay(Page("No connection", "x" * 500 + " " + "word " * 200)))
    assert piece.surface.get_size() == (320, 240)
    pygame.font.init()
    font = pygame.font.Font(None, 20)
    lines = wrapped("one two three " + "y" * 300, font, 100)
    assert all(font.size(line)[0] <= 100 for line in lines)
    assert lines[0].startswith("one")


def test_a_code_is_shown_whole_with_a_qr_code_beside_it() -> None:
    """Every letter of it: a title that is too wide gets smaller letters. The QR code has dark and light modules on white."""
    shown = "raspberrypi-7f3a-314159"
    lettering = Lettering((800, 480))
    title = lettering._fitting(shown, 480)
    assert title.size(shown)[0] <= 480 and wrapped(shown, title, 480) == [shown]
    assert lettering._fitting("lobby", 480) is lettering._title
    with_qr, without = (lettering.pieces(Overlay(Page(shown, "Let this device in", qr)))[0].surface for qr in (shown, ""))
    right = pygame.surfarray.array3d(with_qr)[560:, 100:380].min(2)
    assert (right == 255).mean() > 0.3 and (right == 0).mean() > 0.2
    assert not (pygame.surfarray.array3d(without)[560:, 100:380].min(2) == 0).any()
    assert qr_code(shown, 10) is None


@pytest.mark.parametrize("choice", ["gles", "flat"])
def test_chosen_colours_are_seen(choice: RendererChoice) -> None:
    """Skin, hair, eyes and background each get their own colour, and the others are unchanged."""
    size = (480, 480)

    def picture(colours: FaceColours) -> Picture:
        renderer = open_renderer(choice=choice, size=size, fullscreen=False, headless=True, colours=colours)
        drawn = _drawn(renderer, neutral_pose())
        renderer.close()
        return drawn

    painted = picture(FaceColours())
    places = {"skin": (150, 240), "hair": (40, 240), "background": (240, 8)}
    for name, chosen in (("skin", (110, 70, 45)), ("hair", (190, 160, 100)), ("background", (30, 90, 60)), ("eyes", (110, 60, 20))):
        changed = np.abs(picture(FaceColours(**{name: chosen})) - painted).max(2) > 12
        assert changed.any()
        for place, (y, x) in places.items():
            patch = changed[y - 3 : y + 4, x - 3 : x + 4]
            assert patch.mean() > 0.6 if place == name else patch.mean() < 0.1, (name, place)


def test_colours_are_read_from_text() -> None:
    """#rrggbb; empty means as painted."""
    assert read_colour("#8d5524") == (0x8D, 0x55, 0x24)
    assert read_colour("") is None
    for wrong in ("8d5524", "#8d552", "red", "#8d55zz"):
        with pytest.raises(ValueError, match="#rrggbb"):
            read_colour(wrong)
