"""Paints the skin of the head: the colour of a texel depends on its position in space and the base mesh's masks. Pure numpy.

The texture is a map of the head seen from its axis: u is the angle about the axis (the front gets more texels than the back),
v is the height, and above the brow the angle to the crown. Hair and shirt are painted on the same skin, so the resolution of
their edges is that of the texture, not of the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.assets.bake_lines import age_lines, stubble
from scripts.assets.bake_mesh import Floats, Ints, rasterise
from scripts.assets.people import Cut, Person

SIZE = 1024
LOW, HIGH = -2.05, 1.62
"""Heights of the texture's bottom and top; everything below is shirt."""
SWATCH_V = 0.012
SWATCHES = {"tongue": 0.25, "mouth": 0.35, "gum": 0.43}
"""Horizontal positions of plain colours in the texture's lowest rows."""
TEETH_U, TEETH_HIGH_V = 0.60, 0.021
"""Position of the teeth's colours in these rows, from the tip upwards, and their height."""

_LOWEST_V = 0.035  # above the swatches
_DOME_Y, _DOME_R = 0.45, 0.78
_FRONT_GAIN = 0.10

_PLAIN = {"tongue": (0.76, 0.37, 0.45), "mouth": (0.36, 0.11, 0.135), "gum": (0.68, 0.335, 0.385)}
_TOOTH, _TOOTH_ROOT, _TOOTH_TIP = np.array((1.0, 0.98, 0.93)), np.array((0.93, 0.86, 0.775)), np.array((0.94, 0.94, 0.92))


@dataclass(frozen=True, slots=True)
class Skin:
    """Mesh data of the default person for painting; a texture position is the same part of every face.

    Positions are relative to the centre level of the eyes, in mesh units.
    """

    points: Floats
    uvs: Floats
    """The base mesh's own texture coordinates, for its masks."""
    tris: Ints
    masks: dict[str, NDArray[np.float64]]
    lid_edges: Floats
    """Points along the roots of the upper lashes."""
    seal: Floats
    """Points along the line where the lips meet."""


def chart(points: Floats) -> Floats:
    """Texture coordinates of positions, (n, 2), 0 to 1. The seam is at the back of the head."""
    ahead = points[:, 2] - axis_z(points)
    turn = np.arctan2(points[:, 0], ahead)
    u = 0.5 + turn / (2 * np.pi) + _FRONT_GAIN * np.sin(turn)
    out = np.hypot(points[:, 0], ahead)
    dome = _DOME_Y + _DOME_R * np.arctan2(points[:, 1] - _DOME_Y, np.maximum(out, 1e-6))
    height = np.where(points[:, 1] > _DOME_Y, dome, points[:, 1])
    return np.stack([u, np.maximum(_LOWEST_V, (height - LOW) / (HIGH - LOW))], axis=1)


def axis_z(points: Floats) -> Floats:
    """z of the axis at the height of each position; it runs through the head and, further back, through the neck."""
    return np.asarray(-0.45 - 0.45 * _smooth(points[:, 1], -0.80, -1.30))


def hair_depth(points: Floats, cut: Cut) -> Floats:
    """Depth of a position inside the hairline, in mesh units; negative on bare skin."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    brow_line = y - (cut.forehead - cut.falls * np.clip(x / 0.62, 0, 1.2) ** 2.4)
    brow_line = brow_line - cut.recedes * np.exp(-(((x - 0.40) / 0.17) ** 2))
    temple = (cut.temple - z) * 0.9 + 0.30 * np.clip(y - 0.05, -0.5, 0.5) - 0.02
    front = _smooth_max(brow_line, temple, 0.10)
    front = np.minimum(front, y - cut.lowest - 0.55 * np.maximum(0.0, -0.35 - z))
    nape = np.minimum(y - cut.nape - 0.9 * np.maximum(0.0, z + 1.12), (-0.74 - z) * 1.2)  # it rises towards the ear
    reach = np.sqrt(((x - 0.86) / 0.42) ** 2 + ((y + 0.20) / 0.31) ** 2 + ((z + 0.62) / 0.29) ** 2)
    ear = (reach - cut.ear) * 0.28
    return np.minimum(_smooth_max(np.where(z > -1.2, front, -1.0), nape, 0.08), np.where(z > -0.95, ear, 1.0))


def shirt_depth(points: Floats) -> Floats:
    """Depth of a position below the neckline, in mesh units; negative above."""
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    return np.asarray(-1.38 - 0.15 * np.clip((z + 0.6) / 0.5, -1, 1) + 0.10 * np.clip(np.abs(x) - 0.2, 0, 1.0) - y)


@dataclass(frozen=True, slots=True)
class PaintedTexture:
    """The painted texture of a head."""

    picture: NDArray[np.uint8]
    """The texture: RGB, (SIZE, SIZE, 3), row 0 at v = 0."""
    regions: NDArray[np.uint8]
    """Shares of skin (red) and hair (green), 0 to 255, at half the size; blue is 0."""
    colours: tuple[Floats, Floats]
    """The mean colours of skin and hair, 0 to 255."""


def paint(skin: Skin, person: Person) -> PaintedTexture:
    """Paint a person's texture at the positions of the default person."""
    plane = chart(skin.points)
    values = np.concatenate([skin.points, skin.uvs], axis=1)
    wide = np.ptp(plane[skin.tris][:, :, 0], axis=1) > 0.5
    spread = _across_the_seam(plane, values, skin.tris[wide])
    out = np.hypot(skin.points[:, 0], skin.points[:, 2] - axis_z(skin.points))
    image, front = rasterise(plane, out, values, skin.tris[~wide], SIZE)
    for part_plane, part_values, part_tris in spread:
        part_out = np.hypot(part_values[:, 0], part_values[:, 2] - axis_z(part_values))
        part, part_front = rasterise(part_plane, part_out, part_values, part_tris, SIZE)
        nearer = part_front > front
        image[nearer], front[nearer] = part[nearer], part_front[nearer]
    colour, regions = _colours(image, skin, person)
    bare, hairy = regions[..., 0] > 0.99, regions[..., 1] > 0.99
    means = tuple(np.rint(255 * colour[np.isfinite(front) & part].mean(0)) for part in (bare, hairy))
    regions = np.where(np.isfinite(front)[..., None], regions, 0.0)
    colour = _fill_holes(np.where(np.isfinite(front)[..., None], colour, np.nan), person)
    for name, u in SWATCHES.items():
        middle = int(u * SIZE)
        colour[:24, middle - 40 : middle + 40] = _PLAIN[name]
    middle = int(TEETH_U * SIZE)
    colour[:24, middle - 40 : middle + 40] = _teeth(24)
    regions[:26] = 0
    small = np.concatenate([regions.reshape(SIZE // 2, 2, SIZE // 2, 2, 2).mean((1, 3)), np.zeros((SIZE // 2, SIZE // 2, 1))], axis=2)
    return PaintedTexture(_bytes(colour), _bytes(small), (means[0], means[1]))


def _bytes(colour: Floats) -> NDArray[np.uint8]:
    return np.clip(np.rint(colour * 255), 0, 255).astype(np.uint8)


def _teeth(rows: int) -> Floats:
    """The colours of a tooth, (rows, 1, 3): its translucent tip in the lowest row, its darker root in the highest."""
    up = np.minimum(1.0, (np.arange(rows)[:, None, None] + 0.5) / (TEETH_HIGH_V * SIZE))
    return np.asarray(_TOOTH + (_TOOTH_ROOT - _TOOTH) * _smooth(up, 0.45, 1.1) + (_TOOTH_TIP - _TOOTH) * _smooth(up, 0.22, 0.0))


def _across_the_seam(plane: Floats, values: Floats, tris: Ints) -> list[tuple[Floats, Floats, Ints]]:
    parts = []
    for shift in (0.0, -1.0):
        corner_plane = plane[tris].reshape(-1, 2).copy()
        corner_plane[:, 0] += np.where(corner_plane[:, 0] < 0.5, 1.0, 0.0) + shift
        parts.append((corner_plane, values[tris].reshape(-1, values.shape[1]), np.arange(len(tris) * 3).reshape(-1, 3)))
    return parts


def _colours(image: Floats, skin: Skin, person: Person) -> tuple[Floats, Floats]:
    """The colour of each texel, (size, size, 3), and its shares of skin and hair, (size, size, 2)."""
    size, look = image.shape[0], person.palette
    place, uv = image[..., :3].reshape(-1, 3), image[..., 3:].reshape(-1, 2)
    x, y, z = np.abs(place[:, 0]), place[:, 1], place[:, 2]
    grain = 0.5 * _noise(size, 180) + 0.5 * _noise(size, 60)
    colour = np.array(look.skin) * (0.975 + 0.05 * grain.reshape(-1, 1))
    warm = np.array(look.warm)
    colour = _lay(colour, warm, person.flush * 0.42 * _blob(x - 0.50, 0.27, y + 0.36, 0.24))
    colour = _lay(colour, warm, person.flush * 0.34 * _blob(x, 0.17, y + 0.36, 0.17) * (z > 0.2))
    colour = _lay(colour, warm, person.flush * 0.16 * _blob(x, 0.30, y + 0.93, 0.16))
    ears = sample(skin.masks["ears"], uv)
    colour = _lay(colour, warm, 0.30 * ears)
    colour = _lay(colour, np.array(look.lid), 0.24 * sample(skin.masks["eyelids"], uv))
    colour = _lay(colour, np.array(look.hair_dark), 0.5 * person.stubble * stubble(place) * (0.7 + 0.6 * _noise(size, 500).reshape(-1)))
    colour = _lay(colour, np.array(look.seam), person.lines * age_lines(place))
    lips = lip_cover(place, sample(skin.masks["lips"], uv))
    colour = _lay(colour, np.array(look.lip) * (0.96 + 0.08 * _noise(size, 240).reshape(-1, 1)), 0.90 * lips)
    colour = _lay(colour, np.array(look.seam), 0.75 * np.exp(-((_nearest(place, skin.seal, 0.08) / 0.012) ** 2)))
    brow = 0.92 * _brow(place, person.brows)
    colour = _lay(colour, np.array(look.brow), brow)
    lash = 0.85 * _smooth(_nearest(place, skin.lid_edges, 0.08), 0.026, 0.006)
    colour = _lay(colour, np.array(look.lash), lash)
    hair = _hair_cover(place, person.cut)
    colour = _lay(colour, _hair(place, person), hair)
    cloth = shirt_depth(place)
    shirt = _smooth(cloth, -0.006, 0.006)
    colour = _lay(colour, np.array(look.shirt) * (0.97 + 0.06 * _noise(size, 300).reshape(-1, 1)) * _folds(place, cloth), shirt)
    colour = colour * (1 - 0.40 * np.exp(-(((cloth + 0.03) / 0.05) ** 2)) * (cloth < 0.09))[:, None]  # the shadow of the collar
    hairy = 1 - (1 - np.clip(brow, 0, 1)) * (1 - lash) * (1 - np.clip(hair, 0, 1))
    regions = np.stack([(1 - shirt) * (1 - hairy) * (1 - 0.5 * lips), (1 - shirt) * hairy], axis=1)
    return np.asarray(colour.reshape(size, size, 3)), np.asarray(regions.reshape(size, size, 2))


def _folds(place: Floats, cloth: Floats) -> Floats:
    """Light and shade of soft folds that run down and outwards from the collar, a factor, (n, 1)."""
    turn = np.arctan2(place[:, 0], place[:, 2] + 0.9)
    across = turn * 3.2 + 0.9 * np.sin(2.1 * turn) + 0.35 * np.sin(cloth * 5.0 + 4.0 * turn)
    deep = _stripes(across + 40, 7) - 0.5 + 0.5 * (_stripes(across * 2.3 + 90, 8) - 0.5)
    return np.asarray(1 + 0.22 * deep * _smooth(cloth, 0.04, 0.30))[:, None]


def _hair(place: Floats, person: Person) -> Floats:
    """Combed-back strands, which follow a fan of half-planes through an axis below the crown."""
    cut = person.cut
    dark, light = np.array(person.palette.hair_dark), np.array(person.palette.hair_light)
    fan = np.arctan2(place[:, 0], place[:, 1] + 0.30)
    wave = fan + 0.05 * np.sin(place[:, 2] * 5 + 3 * fan)
    strands = 0.6 * _stripes(wave * 60 * cut.strands, 1) + 0.4 * _stripes(wave * 140 * cut.strands, 2)
    sheen = np.exp(-(((place[:, 2] + 0.10) / 0.30) ** 2)) * np.clip(place[:, 1] - 0.4, 0, 1)
    part = np.clip(0.26 + 0.50 * strands * (0.55 + 0.8 * sheen) + 0.22 * sheen, 0, 1)
    edge = _smooth(hair_depth(place, cut), 0.16, 0.0)
    return np.asarray(dark + (light - dark) * (part * (1 - 0.15 * edge))[:, None])


def _hair_cover(place: Floats, cut: Cut) -> Floats:
    fan = np.arctan2(place[:, 0], place[:, 1] + 0.30)
    fringe = 0.5 * _stripes(fan * 80 * cut.strands, 3) + 0.5 * _stripes(fan * 170 * cut.strands, 4)
    return _smooth(hair_depth(place, cut) - 0.015 * fringe, -0.042, 0.036)


def _brow(place: Floats, full: float) -> Floats:
    """Brow hairs that lean outwards, denser in the lower half and thinning towards the tail."""
    x, y = np.abs(place[:, 0]), place[:, 1]
    t = (x - 0.105) / 0.40
    middle = 0.177 + 0.056 * np.sin(np.clip(t, 0, 1) * 2.3) - 0.018 * np.clip(t, 0, 1.2) ** 3
    half = full * np.interp(t, (-0.08, 0.10, 0.50, 1.04), (0.022, 0.033, 0.031, 0.006))
    off = (y - middle) / half
    leaning = x - y * np.interp(t, (0, 0.4, 1), (0.25, 0.9, 1.6))
    lean = 0.5 * _stripes(leaning * 150, 5) + 0.5 * _stripes(leaning * 330, 6)
    body = _smooth(np.abs(off), 1.25, 0.25)
    ends = _smooth(t, -0.10, 0.24) * _smooth(t, 1.06, 0.72)
    return np.asarray(np.clip(body * (0.66 + 0.60 * lean), 0, 1) * ends * (place[:, 2] > 0.0))


def lip_cover(place: Floats, masked: Floats) -> Floats:
    """How far positions are on the lips, 0 to 1: the base mesh's mask, without its other parts."""
    return np.asarray(masked * ((np.abs(place[:, 0]) < 0.36) & (np.abs(place[:, 1] + 0.62) < 0.22)))


def sample(mask: Floats, uv: Floats) -> Floats:
    """Values of a mask of the base mesh at its texture coordinates, (n, 2)."""
    height, width = mask.shape
    column = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1 - uv[:, 1]) * height).astype(int), 0, height - 1)
    return np.asarray(mask[row, column])


def _nearest(place: Floats, points: Floats, reach: float) -> Floats:
    """Distance to the nearest of some points, at most `reach`."""
    far = np.full(len(place), reach)
    low, high = points.min(0) - reach, points.max(0) + reach
    close = np.flatnonzero(((place > low) & (place < high)).all(1))
    for start in range(0, len(close), 20_000):
        chunk = close[start : start + 20_000]
        far[chunk] = np.minimum(reach, np.linalg.norm(place[chunk, None] - points[None], axis=2).min(1))
    return far


def _lay(under: Floats, over: Floats, part: Floats) -> Floats:
    return np.asarray(under + (over - under) * np.clip(part, 0, 1)[:, None])


def _blob(x: Floats, rx: float, y: Floats, ry: float) -> Floats:
    return np.asarray(np.exp(-((x / rx) ** 2) - (y / ry) ** 2))


def _smooth(value: Floats, zero: float, one: float) -> Floats:
    part = np.clip((value - zero) / (one - zero), 0, 1)
    return np.asarray(part * part * (3 - 2 * part))


def _smooth_max(one: Floats, other: Floats, width: float) -> Floats:
    part = np.clip(0.5 + 0.5 * (one - other) / width, 0, 1)
    return np.asarray(other + (one - other) * part + width * part * (1 - part))


def _stripes(across: Floats, voice: int) -> Floats:
    """Smooth random values from 0 to 1 that change once per unit of `across`."""
    chance = np.random.default_rng(voice).random(4096)
    cell = np.floor(across).astype(int)
    part = across - cell
    part = part * part * (3 - 2 * part)
    return np.asarray(chance[cell % 4096] * (1 - part) + chance[(cell + 1) % 4096] * part)


def _noise(size: int, cells: int) -> Floats:
    """Seamless soft noise from 0 to 1 over the texture, with `cells` bumps across."""
    chance = np.random.default_rng(cells).random((cells, cells))
    at = np.arange(size) * cells / size
    cell = at.astype(int)
    part = at - cell
    rows = chance[cell % cells] * (1 - part)[:, None] + chance[(cell + 1) % cells] * part[:, None]
    return np.asarray(rows[:, cell % cells] * (1 - part) + rows[:, (cell + 1) % cells] * part)


def _fill_holes(colour: Floats, person: Person) -> Floats:
    """Extend painted texels into unpainted ones, so that texture filtering does not pick up black at the borders."""
    for _ in range(24):
        rows, columns = np.nonzero(np.isnan(colour[..., 0]))
        beside = ((1, 0), (-1, 0), (0, 1), (0, -1))
        around = np.stack([colour[(rows + down) % SIZE, (columns + across) % SIZE] for down, across in beside])
        known = ~np.isnan(around[..., :1])
        total = np.where(known, around, 0).sum(0) / np.maximum(known.sum(0), 1)
        grow = known[..., 0].any(0)
        colour[rows[grow], columns[grow]] = total[grow]
    return np.where(np.isnan(colour), np.array(person.palette.skin), colour)
