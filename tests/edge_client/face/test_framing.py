"""Layout for round screens, and the slow movement of the face that prevents burn-in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.face.camera import Camera
from edge_client.face.flat import FlatRenderer
from edge_client.face.framing import SHIFT_EVERY_S, WHOLE, Framing, Wander
from edge_client.face.head import Head
from edge_client.face.overlay import Overlay, Page
from edge_client.face.renderer import Picture, Renderer
from edge_client.face.screens import open_face
from edge_client.motion.pose import neutral_pose
from tests.edge_client.face.poses import pose_of

SIDE = 480
ROUND = Framing(is_round=True)
NOTICE = Overlay(Page("No connection", "The relay at 10.1.2.3:52000 does not answer. Trying again."), "no sound", ("figures",))


def opened(kind: str, size: tuple[int, int], framing: Framing) -> Renderer:
    choice = "flat" if kind == "flat" else "gles"
    return open_face(choice=choice, size=size, fullscreen=False, headless=True, framing=framing).renderer  # type: ignore[arg-type]


def drawn(renderer: Renderer, overlay: Overlay) -> Picture:
    renderer.draw(neutral_pose(), overlay=overlay)
    renderer.show()
    return renderer.read()


def outside_circle() -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    across, down = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.asarray(np.hypot(across, down) > SIDE / 2)


def test_a_tall_picture_ends_above_the_end_of_the_body() -> None:
    """A bust without anything below it stays at the lower edge; the layout of a wide picture is unchanged."""
    low = np.array([[0, -2.0, 0], [0, -2.75, 0]], np.float32)
    for size, inside in (((400, 1280), [True, False]), ((800, 480), [False, False])):
        rows = Camera(*size, end_y=-2.75).pixels(low)[:, 1]
        assert list(rows < size[1]) == inside
    assert (Camera(800, 480, end_y=-2.75).matrix == Camera(800, 480).matrix).all()


@pytest.mark.parametrize("kind", ["flat", "gles"])
def test_words_keep_within_a_round_screen(kind: str) -> None:
    """All bright letters are in the circle; on a rectangular screen the sign and the figures are in its corners."""
    for framing, lost in ((ROUND, False), (WHOLE, True)):
        renderer = opened(kind, (SIDE, SIDE), framing)
        letters = drawn(renderer, NOTICE).max(axis=2) > 200
        renderer.close()
        assert bool((letters & outside_circle()).any()) is lost


def test_a_round_screen_shows_the_whole_head(head: Head) -> None:
    """A round screen shows the whole head with some margin."""
    spots = Camera(SIDE, SIDE, is_round=True).pixels(head.points[head.points[:, 1] > -0.9])
    assert np.hypot(*(spots - SIDE / 2).T).max() < 0.47 * SIDE


def test_the_vector_face_has_a_body_in_a_tall_picture() -> None:
    """The eyes are near the middle, and the shirt covers the whole lower edge."""
    renderer = opened("flat", (200, 640), WHOLE)
    picture = drawn(renderer, Overlay())
    assert isinstance(renderer, FlatRenderer)
    assert 0.35 < renderer._centre[1] / 640 < 0.5
    renderer.close()
    assert (picture[520] == picture[-1]).all()
    assert len(np.unique(picture[-1].reshape(-1, 3), axis=0)) == 1


@given(st.floats(0, 1e7), st.integers(1, 64))
def test_the_face_wanders_within_its_bound(time_s: float, most_px: int) -> None:
    """It stays at one place for a minute."""
    times = iter([time_s, time_s // SHIFT_EVERY_S * SHIFT_EVERY_S])
    wander = Wander(Framing(wander_px=most_px), lambda: next(times))
    wander.moves(neutral_pose())
    assert np.hypot(*wander.shift) <= most_px + 1
    assert not wander.moves(neutral_pose())


def test_the_face_wanders_over_the_whole_bound_and_never_while_it_speaks() -> None:
    """It does not jump in the middle of a word."""
    now_s = 0.0
    wander = Wander(Framing(wander_px=8), lambda: now_s)
    places = set()
    for minute in range(600):
        now_s = minute * SHIFT_EVERY_S
        before = wander.shift
        assert not wander.moves(pose_of(jawOpen=0.3))
        assert wander.shift == before
        wander.moves(neutral_pose())
        places.add(wander.shift)
    assert len(places) > 120
    still = Wander(WHOLE, lambda: 1e6)
    assert not still.moves(neutral_pose())


@pytest.mark.parametrize("kind", ["flat", "gles"])
def test_a_picture_that_wanders_is_the_same_in_another_place(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moved by whole pixels, with the backdrop unchanged."""
    now_s = 0.0
    monkeypatch.setattr(f"edge_client.face.{'flat' if kind == 'flat' else 'gles'}.time.monotonic", lambda: now_s)
    renderer = opened(kind, (320, 320), Framing(wander_px=20))
    before = drawn(renderer, Overlay()).astype(int)
    now_s = 3 * SHIFT_EVERY_S
    after = drawn(renderer, Overlay()).astype(int)
    renderer.close()
    wander = Wander(Framing(wander_px=20), lambda: now_s)
    assert wander.moves(neutral_pose())
    right, down = wander.shift
    assert (right, down) != (0, 0)
    middle = before[100:200, 110:210]
    moved = after[100 + down : 200 + down, 110 + right : 210 + right]
    assert np.abs(moved - middle).mean() < 2 < np.abs(after[100:200, 110:210] - middle).mean()
    assert np.abs(after[:40, :40] - before[:40, :40]).mean() < 1
