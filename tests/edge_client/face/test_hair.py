"""Hair: its roots and its fall, and its visibility."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.cast import CAST, head_file
from edge_client.choices import HairChoice
from edge_client.colours import FaceColours
from edge_client.face.detail import HeadLook
from edge_client.face.gles import GlesRenderer
from edge_client.face.hair import CUTS, grow
from edge_client.face.head import Floats, Head, load_head
from edge_client.face.renderer import Picture
from edge_client.face.window import start_sdl
from edge_client.motion.pose import neutral_pose
from tests.lab.face.pixels import changed_part, mouth_box


@pytest.fixture(scope="module", params=CAST)
def head(request: pytest.FixtureRequest) -> Head:
    """Each built-in head: most of this draws nothing."""
    return load_head(head_file(request.param))


@pytest.mark.parametrize("name", sorted(CUTS))
@pytest.mark.parametrize("coarse", [False, True])
def test_hair_frames_the_face_and_leaves_it_free(head: Head, name: str, coarse: bool) -> None:
    """Finite, bounded, on both sides; none in front of eyes, nose or mouth; tips no lower than the cut; the same each time."""
    cut = CUTS[name].coarse if coarse else CUTS[name]
    hair = grow(head, cut)
    assert np.isfinite(hair.points).all()
    assert np.allclose(np.linalg.norm(hair.normals, axis=1), 1, atol=1e-3)
    assert np.abs(hair.points[:, 0]).max() < 1.15
    assert hair.points[:, 1].max() < 1.40
    assert hair.points[:, 1].min() > min(cut.ends_y) - 0.12
    x, y, z = hair.points.T
    assert not ((np.abs(x) < 0.46) & (y > -0.9) & (y < 0.28) & (z > -0.2)).any()
    assert (x > 0.5).mean() > 0.1
    assert (x < -0.5).mean() > 0.1
    assert hair.triangles.max() < len(hair.points) < 65_536
    assert (grow(head, cut).points == hair.points).all()


@pytest.mark.parametrize("name", sorted(CUTS))
def test_hair_begins_at_the_hairline_and_hides_the_skull(head: Head, name: str) -> None:
    """On the forehead it starts within a centimetre of the hairline; above it no vertex of the head is outside of the hair."""
    hair = grow(head, CUTS[name].coarse)
    assert head.hairline is not None
    forehead = head.hairline[head.hairline[:, 1] > 0.45]
    assert len(forehead) >= 4
    assert np.linalg.norm(hair.points[None] - forehead[:, None], axis=2).min(1).max() < 0.12
    middle = np.array((0.0, 0.15, -0.7), np.float32)
    skull = head.points[head.points[:, 1] > forehead[:, 1].max() + 0.08] - middle
    assert (_farthest(skull, hair.points[hair.triangles] - middle) > 1).mean() > 0.965  # but for the parting


@pytest.mark.parametrize("name", sorted(name for name, cut in CUTS.items() if cut.hug == 1))
@pytest.mark.parametrize("coarse", [False, True])
def test_short_hair_ends_on_the_neck(head: Head, name: str, coarse: bool) -> None:
    """The tips at the nape stand off the skin by less than a centimetre, and no strand of them is left there."""
    hair = grow(head, CUTS[name].coarse if coarse else CUTS[name])
    tips = (hair.points[:, 1] < -0.42) & (hair.points[:, 2] < -1.0) & (hair.cover[:, 1] > 4)
    assert tips.sum() > 3
    assert np.linalg.norm(hair.points[tips, None] - head.points[None], axis=2).min(1).max() < 0.125


@pytest.mark.parametrize("name", sorted(name for name, cut in CUTS.items() if not cut.shells))
def test_strands_look_round_without_fine_triangles(head: Head, name: str) -> None:
    """Nine of ten corners of a coarse cut's strands turn by less than 15.5 degrees, and both sides of a parting meet at the same height."""
    cut = CUTS[name].coarse
    points = grow(head, cut).points.reshape(cut.rows, cut.columns, 3)
    steps = np.diff(points, axis=0)
    steps /= np.linalg.norm(steps, axis=2, keepdims=True)
    turns = np.degrees(np.arccos(np.clip((steps[1:] * steps[:-1]).sum(2), -1, 1)))
    assert np.quantile(turns, 0.9) < 15.5
    if cut.parting_x is not None:
        assert np.abs(points[0] - points[0, ::-1]).max() < 1e-3


def test_what_is_blended_is_drawn_last(head: Head) -> None:
    """Triangles with translucent corners follow all others, from back to front: they do not hide what is drawn after them."""
    for cut in CUTS.values():
        hair = grow(head, cut.coarse)
        thin = hair.cover[hair.triangles, 1].max(1) > 0
        assert thin.any()
        assert (np.diff(thin.astype(int)) >= 0).all()
        assert (np.diff(hair.points[hair.triangles[thin], 2].mean(1)) >= -1e-5).all()


def _farthest(rays: Floats, tris: Floats) -> Floats:
    """Where rays from the origin, (n, 3), leave the triangles, (m, 3, 3), as multiples of the rays; 0 if nothing is hit."""
    one, other = tris[:, 1] - tris[:, 0], tris[:, 2] - tris[:, 0]
    turned = np.cross(-tris[:, 0], one)
    far = np.zeros(len(rays), np.float32)
    for place, ray in enumerate(rays):
        across = np.cross(ray, other)
        size = (one * across).sum(1)
        size[np.abs(size) < 1e-9] = np.inf
        u, v = (-tris[:, 0] * across).sum(1) / size, turned @ ray / size
        hit = (u >= 0) & (v >= 0) & (u + v <= 1)
        far[place] = ((other * turned).sum(1) / size)[hit].max(initial=0.0)
    return far


def test_a_coarse_cut_has_few_triangles(head: Head) -> None:
    """A coarse cut has less than a third of the triangles, and fewer than 1300, for rendering by a CPU."""
    for cut in CUTS.values():
        few, all_of_them = len(grow(head, cut.coarse).triangles), len(grow(head, cut).triangles)
        assert few < min(1_300, all_of_them / 3)


@pytest.mark.parametrize("name", CAST)
def test_a_head_has_a_cut_of_its_own(name: str) -> None:
    """`auto` draws the cut that the head was made with."""
    head = load_head(head_file(name))
    assert head.usual_cut in CUTS
    assert head.hairline is not None


def _drawn(hair: HairChoice, colours: FaceColours | None = None) -> Picture:
    start_sdl("offscreen", {})
    renderer = GlesRenderer((400, 400), 0, "off-screen", look=HeadLook("low", hair), colours=colours or FaceColours())
    renderer.draw(neutral_pose())
    picture = renderer.read()
    renderer.close()
    return picture


def test_hair_is_seen_and_takes_the_chosen_colour() -> None:
    """Locks differ from painted hair, the mouth is unchanged, and a chosen colour tints the locks."""
    painted, bob, red = _drawn("painted"), _drawn("bob"), _drawn("bob", FaceColours(hair=(150, 40, 30)))
    assert changed_part(painted, bob) > 0.05
    assert mouth_box(bob) == mouth_box(painted)
    temple = (slice(60, 100), slice(70, 110))
    assert red[temple].mean((0, 1))[0] > 1.3 * bob[temple].mean((0, 1))[0]
