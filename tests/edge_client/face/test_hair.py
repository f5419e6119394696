"""Hair: its roots and its fall, and its visibility."""

from __future__ import annotations

import numpy as np
import pytest

from edge_client.choices import HairChoice
from edge_client.colours import FaceColours
from edge_client.face.detail import HeadLook
from edge_client.face.gles import GlesRenderer
from edge_client.face.hair import CUTS, grow
from edge_client.face.head import Head
from edge_client.face.renderer import Picture
from edge_client.face.window import start_sdl
from edge_client.motion.pose import neutral_pose
from tests.lab.face.pixels import changed_part, mouth_box


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
    assert hair.points[:, 1].min() > cut.ends_y - 0.35
    x, y, z = hair.points.T
    assert not ((np.abs(x) < 0.52) & (y > -0.9) & (y < 0.35) & (z > -0.2)).any()
    assert (x > 0.5).mean() > 0.1
    assert (x < -0.5).mean() > 0.1
    assert hair.triangles.max() < len(hair.points) < 65_536
    assert (grow(head, cut).points == hair.points).all()


def test_a_coarse_cut_costs_less_than_half(head: Head) -> None:
    """A coarse cut has less than half the triangles, for rendering by a CPU."""
    assert len(grow(head, CUTS["bob"].coarse).triangles) < 0.5 * len(grow(head, CUTS["bob"]).triangles)


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
