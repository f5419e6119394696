"""The baked head: the contents of the asset, and what happens without it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from edge_client.cast import CAST, DEFAULT_HEAD, head_file
from edge_client.colours import AS_PAINTED
from edge_client.errors import AssetError
from edge_client.face.head import MAX_BYTES, Head, load_head

HEAD_FILE = head_file(DEFAULT_HEAD)


@pytest.fixture(scope="module", params=CAST)
def head(request: pytest.FixtureRequest) -> Head:
    """Each built-in head: nothing is drawn here."""
    return load_head(head_file(request.param))


def test_all_52_shapes_move_the_mesh(head: Head) -> None:
    """The asset has ARKit's names in our order (otherwise it is refused), and no shape is empty."""
    moves = np.abs(head.deltas.reshape(len(ARKIT_NAMES), head.moving, 6)[..., :3]).max((1, 2))
    assert dict(zip(ARKIT_NAMES, moves > 0.005, strict=True)) == dict.fromkeys(ARKIT_NAMES, True)


@pytest.mark.parametrize("name", [name for name in ARKIT_NAMES if name.endswith("Left") and name not in ("jawLeft", "mouthLeft")])
def test_left_is_the_faces_left(head: Head, name: str) -> None:
    """A shape of the left side moves the side with x > 0 more, and its twin the other."""
    deltas = np.abs(head.deltas.reshape(len(ARKIT_NAMES), head.moving, 6)[..., :3]).sum(2)
    left_side = head.points[: head.moving, 0] > 0
    for shape, side in ((name, left_side), (name.removesuffix("Left") + "Right", ~left_side)):
        moved = deltas[ARKIT_INDEX[shape]]
        assert moved[side].sum() > 1.5 * moved[~side].sum()


def test_the_mesh_is_whole(head: Head) -> None:
    """Triangles name existing vertices; normals have unit length; sizes suit a small device."""
    assert int(max(head.triangles.max(), head.lash_triangles.max())) < len(head.points) <= 8000
    assert np.allclose(np.linalg.norm(head.normals, axis=1), 1, atol=0.01)
    assert all(np.isfinite(array).all() for array in (head.points, head.chart, head.shade, head.deltas))


@pytest.mark.parametrize("name", CAST)
def test_a_head_that_ships_is_small_and_known_by_its_colours(name: str) -> None:
    """Their colours are in the table, for the face drawn without their files; the default's are those of both faces."""
    head = load_head(head_file(name))
    assert head_file(name).stat().st_size < 1_000_000
    assert head.is_built_in
    assert head.painted is not None
    colours = CAST[name]
    if name == DEFAULT_HEAD:
        assert colours == AS_PAINTED
    else:
        assert (colours.skin, colours.hair) == (head.painted.skin, head.painted.hair)


@pytest.mark.parametrize("name", CAST)
def test_teeth_are_modelled_and_lower_ones_follow_the_jaw(name: str) -> None:
    """Eight upper and six lower teeth with their gums: the upper never move, the lower fall with the jaw, and lips hide both at rest."""
    head = load_head(head_file(name))
    is_tooth = (np.abs(head.chart[:, 0] - 0.60) < 1e-3) & (head.chart[:, 1] < 0.03)
    is_gum = (np.abs(head.chart[:, 0] - 0.43) < 1e-3) & (head.chart[:, 1] < 0.03)
    assert (int(is_tooth.sum()), int(is_gum.sum())) == (14 * 20, 14 * 8)
    falls = head.deltas.reshape(len(ARKIT_NAMES), head.moving, 6)[ARKIT_INDEX["jawOpen"], :, 1]
    lower = np.flatnonzero(is_tooth[: head.moving] & (falls < -0.1))
    upper = np.flatnonzero(is_tooth)[np.flatnonzero(is_tooth) >= head.moving]
    assert len(lower) == 6 * 20
    assert len(upper) == 8 * 20
    lips = head.points[list(head.lips), 2].min()
    assert head.points[is_tooth | is_gum, 2].max() < lips - 0.02


def test_heads_are_told_by_name_or_file(tmp_path: Path) -> None:
    """A built-in name has precedence over a file of that name; a path with a folder means the file."""
    assert head_file(DEFAULT_HEAD) == HEAD_FILE
    assert head_file("./maya") == Path("maya")
    assert head_file(f"{tmp_path}/mine.head") == tmp_path / "mine.head"
    for wrong in ("", "a\0b"):
        with pytest.raises(ValueError, match="maya, kofi, hana, henrik"):
            head_file(wrong)


def test_a_missing_head_is_an_asset_error(tmp_path: Path) -> None:
    """The error names the file and the remedy."""
    with pytest.raises(AssetError, match=r"none\.npz.*import-head"):
        load_head(tmp_path / "none.npz")


@pytest.mark.parametrize("keep", [0, 100, 200_000])
def test_a_damaged_head_is_an_asset_error(tmp_path: Path, keep: int) -> None:
    """A truncated file is refused, at any length."""
    broken = tmp_path / "head.npz"
    broken.write_bytes(HEAD_FILE.read_bytes()[:keep])
    with pytest.raises(AssetError):
        load_head(broken)


def test_a_head_for_other_shapes_is_refused(tmp_path: Path) -> None:
    """The names in the file must be ARKit's, in order."""
    with np.load(HEAD_FILE) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["names"] = arrays["names"][::-1]
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(AssetError, match="52"):
        load_head(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("triangles", np.full((4, 3), 60_000, np.uint16), "names vertices"),
        ("points", np.full((7526, 3), np.nan, np.float32), "not finite"),
        ("moves", np.zeros((52, 5, 3), np.int16), "shape"),
        ("lash_triangles", np.array(90_000), "fewer triangles"),
        ("eye_radius", np.array("x"), "cannot be read"),
        ("hairline", np.zeros((1, 3), np.float32), "shape"),
        ("usual_cut", np.array("mullet"), "unknown haircut"),
    ],
)
def test_a_head_whose_arrays_do_not_fit_is_refused(tmp_path: Path, name: str, value: NDArray[np.generic], says: str) -> None:
    """A head may be untrusted: no part of it reaches the driver unchecked."""
    with np.load(HEAD_FILE) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(tmp_path / "other.npz", **(arrays | {name: value}))
    with pytest.raises(AssetError, match=says):
        load_head(tmp_path / "other.npz")


def test_a_head_that_unpacks_to_a_gigabyte_is_refused(tmp_path: Path) -> None:
    """A head that would unpack to a gigabyte is refused before it is unpacked."""
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("points.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(MAX_BYTES // (1 << 24) + 1):
            file.write(bytes(1 << 24))
    with pytest.raises(AssetError, match="unpacks to"):
        load_head(tmp_path / "bomb.npz")
