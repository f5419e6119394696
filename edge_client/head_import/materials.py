"""Materials: their colours and pictures, combined into one texture for the head. Pure."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_client.errors import ModelError
from edge_client.head_import.accessors import view_bytes
from edge_client.head_import.document import Document, extension, inner, name_of, number, numbers, whole

Floats = NDArray[np.float64]

MAX_SIDE = 4096
"""Limit for the sides of a texture in the file."""
MAX_MATERIALS = 60
_MARGIN = 8
_TILE, _SMALL_TILE, _SMALLEST_TILE = (side - 2 * _MARGIN for side in (1024, 512, 256))
_PLAIN_SIDE = 16
_STEP = 64
"""The height of the texture is a multiple of this, so that it can be halved."""
_REPEATS = 4.0
"""Limit on how often a texture may repeat across the region used."""


@dataclass(frozen=True, slots=True)
class Material:
    """The properties of a material that are used."""

    name: str
    colour: tuple[float, float, float, float]
    """Multiplied with the texture, as sRGB."""
    image: int | None
    wraps: tuple[int, int]
    """How the texture continues beyond its edges, across and down: glTF's constants."""
    is_sheer: bool
    """Whether its alpha is used."""
    is_double_sided: bool
    gloss: float


_REPEATED, _CLAMPED, _MIRRORED = 10497, 33071, 33648
PLAIN = Material("no material", (0.8, 0.8, 0.8, 1.0), None, (_REPEATED, _REPEATED), False, False, 0.1)


def read_material(document: Document, index: int | None) -> Material:
    """Read a material of the file. Raises `ModelError`."""
    if index is None:
        return PLAIN
    entry, where = document.entry("materials", index, "a primitive"), f"materials[{index}]"
    surface = inner(entry, "pbrMetallicRoughness", where)
    red, green, blue, alpha = numbers(surface.get("baseColorFactor", [1, 1, 1, 1]), f"{where}.baseColorFactor", 4)
    texture = inner(surface, "baseColorTexture", where)
    image, wraps = _image_of(document, whole(texture.get("index"), f"{where}.baseColorTexture.index")) if texture else (None, PLAIN.wraps)
    rough = min(1.0, max(0.0, number(surface.get("roughnessFactor", 1.0), f"{where}.roughnessFactor")))
    srgb = [min(1.0, max(0.0, part)) ** (1 / 2.2) for part in (red, green, blue)]
    return Material(
        name=name_of(entry, where),
        colour=(srgb[0], srgb[1], srgb[2], min(1.0, max(0.0, alpha))),
        image=image,
        wraps=wraps,
        is_sheer=entry.get("alphaMode") in ("BLEND", "MASK"),
        is_double_sided=entry.get("doubleSided") is True,
        gloss=0.08 + 0.4 * (1 - rough),
    )


def _image_of(document: Document, index: int) -> tuple[int, tuple[int, int]]:
    """A texture's image, and how it continues beyond its edges."""
    texture, where = document.entry("textures", index, "a material"), f"textures[{index}]"
    source = extension(texture, "EXT_texture_webp", where).get("source", texture.get("source"))
    if source is None:
        raise ModelError(f"{where} is KTX2 (Basis Universal); decompress it: gltf-transform ktxdecompress model.glb plain.glb")
    sampler = document.entry("samplers", whole(texture["sampler"], f"{where}.sampler"), where) if "sampler" in texture else {}
    across, down = (whole(sampler.get(axis, _REPEATED), f"{where}.sampler.{axis}") for axis in ("wrapS", "wrapT"))
    return whole(source, f"{where}.source"), (across, down)


def read_picture(document: Document, index: int) -> Image.Image:
    """Decode an image of the file as RGBA. Raises `ModelError`."""
    entry = document.entry("images", index, "a texture")
    where = f"images[{index}] ({name_of(entry, 'no name')})"
    if "bufferView" not in entry:
        raise ModelError(f"{where} lies in another file; export the model as one file (.glb)")
    data, _ = view_bytes(document, whole(entry["bufferView"], where), where)
    if bytes(data[:7]) == b"\xabKTX 20":
        raise ModelError(f"{where} is KTX2 (Basis Universal); decompress it: gltf-transform ktxdecompress model.glb plain.glb")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            if max(picture.size) > MAX_SIDE:
                wide, high = picture.size
                raise ModelError(
                    f"{where} has {wide}×{high} pixels, at most {MAX_SIDE} a side are read: gltf-transform resize --width {MAX_SIDE // 2}"
                )
            return picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ModelError(f"{where} is no PNG, JPEG or WebP that can be read ({error})") from error


@dataclass(frozen=True, slots=True)
class Region:
    """The region of a material's texture in use: from `low` to `high`, in texture coordinates, v down; beyond 0 to 1 it repeats."""

    low: tuple[float, float]
    high: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Paint:
    """The combined texture, and the place of each material in it."""

    pixels: NDArray[np.uint8]
    """RGBA, row 0 at the top."""
    places: tuple[tuple[Floats, Floats], ...]
    """For each material, scale and shift of its texture coordinates, v down, to fractions of the whole."""


def region_of(uvs: Floats) -> Region:
    """Return the region that texture coordinates (n, 2) use."""
    if not len(uvs):
        return Region((0.0, 0.0), (1.0, 1.0))
    low, high = uvs.min(0), uvs.max(0)
    high = np.minimum(np.maximum(high, low + 1e-3), low + _REPEATS)
    return Region((float(low[0]), float(low[1])), (float(high[0]), float(high[1])))


def paint(document: Document, materials: list[Material], regions: list[Region], face: int) -> Paint:
    """Draw all materials into one texture; that of the face keeps the largest share of its pixels. Raises `ModelError`."""
    if len(materials) > MAX_MATERIALS:
        raise ModelError(f"its head has {len(materials)} materials, at most {MAX_MATERIALS} are read; join them")
    textured = sum(material.image is not None for material in materials)
    others = _TILE if textured <= 3 else _SMALL_TILE if textured <= 12 else _SMALLEST_TILE
    tiles = [
        _tile(document, material, region, _TILE if place == face else others)
        for place, (material, region) in enumerate(zip(materials, regions, strict=True))
    ]
    side, spots = _packed([(tile.width + 2 * _MARGIN, tile.height + 2 * _MARGIN) for tile in tiles])
    high = max(top + tile.height + 2 * _MARGIN for tile, (_, top) in zip(tiles, spots, strict=True))
    pixels = np.zeros((-(-high // _STEP) * _STEP, side, 4), np.uint8)
    places = []
    for tile, region, (left, top) in zip(tiles, regions, spots, strict=True):
        padded = np.pad(np.asarray(tile), ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), "edge")
        pixels[top : top + len(padded), left : left + padded.shape[1]] = padded
        extent = np.array(region.high) - region.low
        whole_size = np.array((side, len(pixels)))
        scale = np.array(tile.size) / extent / whole_size
        places.append((scale, np.array((left + _MARGIN, top + _MARGIN)) / whole_size - np.array(region.low) * scale))
    return Paint(pixels, tuple(places))


def _tile(document: Document, material: Material, region: Region, most: int) -> Image.Image:
    colour = np.array(material.colour)
    if material.image is None:
        return Image.new("RGBA", (_PLAIN_SIDE, _PLAIN_SIDE), tuple(np.rint(colour * 255).astype(int).tolist()))
    picture = read_picture(document, material.image)
    extent = np.array(region.high) - region.low
    wanted = np.maximum(np.ceil(extent * picture.size), 1)
    shrunk = min(1.0, most / float(wanted.max()))
    size = tuple(int(max(4, round(side))) for side in wanted * shrunk)
    if shrunk < 1:
        picture = picture.resize([max(1, round(side * shrunk)) for side in picture.size], Image.Resampling.BOX)
    pixels = np.asarray(picture)
    across, down = (
        _texels(np.linspace(region.low[axis], region.high[axis], size[axis], endpoint=False), picture.size[axis], material.wraps[axis])
        for axis in (0, 1)
    )
    cut = pixels[down[:, None], across[None, :]]
    return Image.fromarray(cut if (colour == 1).all() else np.rint(cut * colour).astype(np.uint8), "RGBA")


def _texels(spots: Floats, count: int, wrap: int) -> NDArray[np.int64]:
    """The rows or columns of a picture at texture coordinates."""
    if wrap == _CLAMPED:
        inside = spots
    elif wrap == _MIRRORED:
        inside = 1 - np.abs(spots % 2.0 - 1)
    else:
        inside = spots % 1.0
    return np.clip((inside * count).astype(np.int64), 0, count - 1)


def _packed(sizes: list[tuple[int, int]]) -> tuple[int, list[tuple[int, int]]]:
    """Pack tiles of these sizes into a square, on shelves, tallest first; returns its side and the position of each tile."""
    side = 1 << math.ceil(math.log2(max(256, math.sqrt(sum(wide * high for wide, high in sizes)), *(max(size) for size in sizes))))
    while (spots := _shelved(sizes, side)) is None:
        side *= 2
    return side, spots


def _shelved(sizes: list[tuple[int, int]], side: int) -> list[tuple[int, int]] | None:
    spots = [(0, 0)] * len(sizes)
    left = top = shelf = 0
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place][1]):
        wide, high = sizes[place]
        if left + wide > side:
            left, top, shelf = 0, top + shelf, 0
        if wide > side or top + high > side:
            return None
        spots[place] = (left, top)
        left, shelf = left + wide, max(shelf, high)
    return spots
