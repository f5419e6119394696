"""Models of other programs: other units, axes, names, number formats, VRM; fewer shapes than 52."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from edge_client.errors import ModelError
from edge_client.face.head import Head
from edge_client.face.rig import Rig
from edge_client.head_import.build import Imported, import_model
from edge_client.motion.pose import neutral_pose
from tests.edge_client.face.poses import pose_of
from tests.edge_client.head_import.conftest import Loader
from tests.lab.face.viseme_poses import viseme_pose
from tests.lab.models.odd_files import FEW, small_model, y_and_z_up
from tests.lab.models.own_head import Floats, arkit_shapes, own_head
from tests.lab.models.own_vrm import own_vrm

HALF = (*FEW, "mouthPucker", "mouthSmileLeft", "mouthSmileRight", "browInnerUp")


def _few(head: Head, names: tuple[str, ...] = FEW) -> dict[str, Floats]:
    shapes = arkit_shapes(head)
    return {name: shapes[name] for name in names}


def _same(head: Head, built_in: Head) -> None:
    """At rest and with its lids shut the head equals the built-in one."""
    assert np.allclose(head.points.min(0), built_in.points.min(0), atol=0.02)
    assert np.allclose(head.points.max(0), built_in.points.max(0), atol=0.02)
    for name in FEW:
        moved = [one.deltas.reshape(len(ARKIT_NAMES), one.moving, 6)[ARKIT_INDEX[name], :, :3] for one in (head, built_in)]
        middles = [
            (one.points[: one.moving] * np.abs(moves).sum(1)[:, None]).sum(0) / np.abs(moves).sum()
            for one, moves in zip((head, built_in), moved, strict=True)
        ]
        assert np.abs(middles[0] - middles[1]).max() < 0.03, name


@pytest.mark.parametrize(
    ("root", "said"),
    [
        (y_and_z_up(100.0), "centimetres"),
        (np.diag([-0.001, 0.001, -0.001, 1]), "another unit"),
    ],
    ids=["centimetres, z up", "facing away, tiny"],
)
def test_units_and_axes_do_not_matter(built_in: Head, loaded: Loader, root: np.ndarray, said: str) -> None:
    """The head has the built-in one's position, and the report lists the conversions."""
    found = import_model(own_head(built_in, _few(built_in), root=root).packed())
    assert said in found.report.text()
    assert "turned to face the viewer" in found.report.text()
    _same(loaded(found), built_in)


def test_sides_named_as_the_viewer_sees_them_are_exchanged(built_in: Head, loaded: Loader) -> None:
    """Lids, corners of the mouth and eyeballs are on the face's own sides."""
    shapes = _few(built_in, HALF)
    other = {"Left": "Right", "Right": "Left"}
    mirrored = {next((name.removesuffix(s) + other[s] for s in other if name.endswith(s)), name): moves for name, moves in shapes.items()}
    found = import_model(own_head(built_in, mirrored).packed())
    assert "exchanged" in found.report.text()
    _same(loaded(found), built_in)


def test_half_the_shapes_are_a_head_with_stand_ins(built_in: Head, loaded: Loader) -> None:
    """Missing shapes do not move; lips that cannot close shut with the jaw; the report names both."""
    found = import_model(own_head(built_in, _few(built_in, HALF)).packed())
    text = found.report.text()
    assert "shapes found: 7 of 52" in text
    assert "mouthClose: jawOpen, backwards" in text
    assert "mouthFunnel: mouthPucker" in text
    assert "noseSneerLeft" in found.report.table.missing
    rig = Rig(loaded(found))
    rest = rig.lip_gap(neutral_pose())
    assert rig.lip_gap(pose_of(jawOpen=0.5)) > rest + 0.1
    assert rig.lip_gap(pose_of(jawOpen=0.5, mouthClose=0.5)) == pytest.approx(rest, abs=0.005)


def test_spellings_are_those_of_motion(built_in: Head) -> None:
    """By the same table as names of weights; a shape for both sides is split."""
    shapes = _few(built_in)
    both = shapes.pop("eyeBlinkLeft") + shapes.pop("eyeBlinkRight")
    shapes = {"blendShape1." + name.replace("jawOpen", "JAW_OPEN"): moves for name, moves in (shapes | {"eyesClosed": both}).items()}
    found = import_model(own_head(built_in, shapes).packed())
    assert set(FEW) <= set(found.report.table.found)
    left, right = (
        found.arrays["moves"][ARKIT_INDEX[name]].astype(float) * found.arrays["move_scale"][ARKIT_INDEX[name]] for name in FEW[1:]
    )
    x = found.arrays["points"][:, 0].astype(float)
    assert np.abs(left[x < -0.11]).max() == np.abs(right[x > 0.11]).max() == 0
    assert np.abs(left[x > 0.11]).max() == pytest.approx(np.abs(right[x < -0.11]).max(), rel=0.01)


def test_a_shape_without_content_gives_way_to_what_has_some(built_in: Head, loaded: Loader) -> None:
    """As exporters of VRoid's models write it: `jawOpen` moves nothing, the viseme `aa` opens the mouth."""
    shapes = _few(built_in)
    shapes |= {"viseme_aa": shapes["jawOpen"] * np.float32(0.6), "jawOpen": shapes["jawOpen"] * np.float32(0)}
    found = import_model(own_head(built_in, shapes).packed())
    assert found.report.table.empty == ["jawOpen"]
    assert "jawOpen: viseme_aa" in found.report.text()
    rig = Rig(loaded(found))
    assert rig.lip_gap(pose_of(jawOpen=1)) > rig.lip_gap(neutral_pose()) + 0.1


def test_wide_indexes_and_quantised_numbers_are_read(built_in: Head, loaded: Loader) -> None:
    """uint32 corners, normals as signed bytes, texture coordinates as unsigned shorts."""
    model = own_head(built_in, _few(built_in), wide_indexes=True)
    attributes = model.json["meshes"][0]["primitives"][0]["attributes"]
    used = np.unique(built_in.triangles)
    attributes["NORMAL"] = model.accessor(np.rint(built_in.normals[used] * 127).astype(np.int8), normalized=True)
    uvs = np.clip(built_in.chart[used] * (1, -1) + (0, 1), 0, 1)
    attributes["TEXCOORD_0"] = model.accessor(np.rint(uvs * 65_535).astype(np.uint16), normalized=True)
    head = loaded(import_model(model.packed()))
    _same(head, built_in)
    assert np.allclose(np.linalg.norm(head.normals, axis=1), 1, atol=0.01)


@pytest.mark.parametrize("version", [0, 1])
def test_a_vrm_speaks_by_its_expressions(built_in: Head, loaded: Loader, version: int) -> None:
    """Vowels are as wide as the expressions, bilabials shut, each lid moves by itself, and the report names the sources."""
    found: Imported = import_model(own_vrm(built_in, version).packed())
    text = found.report.text()
    assert f"VRM {version}: " in text
    assert found.report.bones == ["head", "leftEye", "neck", "rightEye"]
    assert found.report.table.stand_ins["jawOpen"]
    rig, ours = Rig(loaded(found)), Rig(built_in)
    vowels = ("a", "ɪ", "u", "e", "o")
    gaps, wanted = ([one.lip_gap(viseme_pose(ipa)) - one.lip_gap(neutral_pose()) for ipa in vowels] for one in (rig, ours))
    assert np.corrcoef(gaps, wanted)[0, 1] > 0.95
    assert np.abs(np.array(gaps) - wanted).max() < 0.06
    assert rig.lip_gap(viseme_pose("p")) - rig.lip_gap(neutral_pose()) < 0.02
    head = loaded(found)
    moves = head.deltas.reshape(len(ARKIT_NAMES), head.moving, 6)[..., :3]
    for name, side in (("eyeBlinkLeft", 1), ("eyeBlinkRight", -1)):
        moved = np.abs(moves[ARKIT_INDEX[name]]).sum(1)
        assert moved[head.points[: head.moving, 0] * side > 0.1].max() > 0.1
        assert moved[head.points[: head.moving, 0] * side < -0.1].max(initial=0) < 0.02


def test_eyes_that_turn_about_a_far_point_stay_between_their_lids(built_in: Head, loaded: Loader) -> None:
    """The eye bones of drawn characters are deep in the head: their irises move as far as an eyeball's, not as far as the angle."""
    model = own_head(built_in, _few(built_in))
    for bone in (3, 4):
        model.json["nodes"][bone]["translation"][2] -= 0.04
        model.json["nodes"][model.json["nodes"][bone]["children"][0]]["translation"] = [0, 0, 0.04]
    head = loaded(import_model(model.packed()))
    assert head.eyeballs is not None
    assert head.gaze_scale < 0.35
    front = head.eyeballs[0].start + int(np.argmax(head.points[head.eyeballs[0], 2]))
    rig = Rig(head)
    moved = rig.vertices(pose_of(eyeLookOutLeft=1.0))[front, 0] - head.points[front, 0]
    assert 0.5 * built_in.eye_radius < moved < built_in.eye_radius


def test_a_targets_offsets_fit_its_vertices(built_in: Head) -> None:
    """A target whose length differs from that of the vertices is refused, with its name."""
    model = small_model(built_in)
    model.json["meshes"][0]["primitives"][0]["targets"][0]["POSITION"] = model.accessor(np.zeros((5, 3), np.float32))
    with pytest.raises(ModelError, match=r"target jawOpen has 5 offsets for \d+ vertices"):
        import_model(model.packed())
