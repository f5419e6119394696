"""Accessors: typed arrays in a model's bytes, including interleaved, normalised and sparse ones. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.errors import ModelError
from edge_client.head_import.document import Document, Entry, inner, whole

MAX_ELEMENTS = 3_000_000
"""Limit for one accessor: vertices, or corners of triangles."""

_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_TYPES: dict[int, np.dtype[Any]] = {
    5120: np.dtype("<i1"),
    5121: np.dtype("<u1"),
    5122: np.dtype("<i2"),
    5123: np.dtype("<u2"),
    5125: np.dtype("<u4"),
    5126: np.dtype("<f4"),
}


def read_floats(document: Document, index: int, kind: str, user: str) -> NDArray[np.float32]:
    """Read an accessor of type `kind` as float32, (count, width); normalised integers are converted to fractions.

    Raises `ModelError`, also if a value is not finite.
    """
    raw, accessor = _read(document, index, kind, user)
    found = raw.astype(np.float32)
    if accessor.get("normalized") is True and raw.dtype.kind != "f":
        found = np.maximum(found / np.float32(np.iinfo(raw.dtype).max), np.float32(-1))
    if not np.isfinite(found).all() or np.abs(found).max(initial=0) > 1e9:
        at = int(np.argwhere(~(np.abs(found) <= 1e9))[0][0])
        raise ModelError(
            f"{user} (accessors[{index}]) has {found[at].tolist()} in row {at}: not finite, or beyond a billion; repair the model"
        )
    return found


def read_whole(document: Document, index: int, kind: str, user: str, below: int) -> NDArray[np.int64]:
    """Read an accessor of integers from 0 to less than `below`, (count, width). Raises `ModelError`."""
    raw, _ = _read(document, index, kind, user)
    if raw.dtype.kind != "u":
        raise ModelError(f"{user} (accessors[{index}]) has to be of unsigned whole numbers")
    if raw.size and int(raw.max()) >= below:
        raise ModelError(f"{user} (accessors[{index}]) names {int(raw.max())}, and there are {below}")
    return raw.astype(np.int64)


def accessor_count(document: Document, index: int, user: str) -> int:
    """Return the number of elements of an accessor, without reading them. Raises `ModelError`."""
    return whole(document.entry("accessors", index, user).get("count"), f"accessors[{index}].count", MAX_ELEMENTS)


def view_bytes(document: Document, index: int, user: str) -> tuple[memoryview, int]:
    """Return a buffer view's bytes and its stride, 0 if its elements are packed. Raises `ModelError`."""
    view, where = document.entry("bufferViews", index, user), f"bufferViews[{index}]"
    for name in ("EXT_meshopt_compression", "KHR_meshopt_compression"):
        if name in inner(view, "extensions", where):
            raise ModelError(f"{where} is compressed with meshopt; decompress it: gltf-transform copy model.glb plain.glb")
    buffer = whole(view.get("buffer"), f"{where}.buffer")
    entry = document.entry("buffers", buffer, where)
    if buffer != 0 or "uri" in entry:
        raise ModelError(f"{where} lies in another file; export the model as one file (.glb)")
    start = whole(view.get("byteOffset", 0), f"{where}.byteOffset")
    size = whole(view.get("byteLength"), f"{where}.byteLength")
    if start + size > len(document.binary):
        raise ModelError(f"{where} ends at byte {start + size}, and there are {len(document.binary)}; export the model again")
    return document.binary[start : start + size], whole(view.get("byteStride", 0), f"{where}.byteStride", 252)


def _read(document: Document, index: int, kind: str, user: str) -> tuple[NDArray[Any], Entry]:
    accessor, where = document.entry("accessors", index, user), f"accessors[{index}]"
    if accessor.get("type") != kind:
        raise ModelError(f"{user} ({where}) has to be {kind}")
    code = accessor.get("componentType")
    dtype = _TYPES.get(code) if isinstance(code, int) else None
    if dtype is None:
        raise ModelError(f"{where}.componentType is none of glTF's")
    count, width = accessor_count(document, index, user), _WIDTHS[kind]
    shape = (count, width)
    found = _strided(document, accessor, where, dtype, shape) if "bufferView" in accessor else np.zeros(shape, dtype)
    if "sparse" in accessor:
        found = _with_sparse(document, inner(accessor, "sparse", where), f"{where}.sparse", found)
    return found, accessor


def _strided(document: Document, accessor: Entry, where: str, dtype: np.dtype[Any], shape: tuple[int, int]) -> NDArray[np.generic]:
    """Elements of a view, `byteStride` apart."""
    data, stride = view_bytes(document, whole(accessor.get("bufferView"), f"{where}.bufferView"), where)
    start, element = whole(accessor.get("byteOffset", 0), f"{where}.byteOffset"), dtype.itemsize * shape[1]
    step = stride or element
    if step < element or (shape[0] and start + step * (shape[0] - 1) + element > len(data)):
        raise ModelError(f"{where} reaches beyond its buffer view; export the model again")
    return np.ndarray(shape, dtype, data, start, (step, dtype.itemsize)) if shape[0] else np.zeros(shape, dtype)


def _with_sparse(document: Document, sparse: Entry, where: str, found: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the elements, with those that a sparse accessor names replaced."""
    count = whole(sparse.get("count"), f"{where}.count", len(found))
    places, values = inner(sparse, "indices", where), inner(sparse, "values", where)
    code = places.get("componentType")
    if code not in (5121, 5123, 5125):
        raise ModelError(f"{where}.indices.componentType is none of glTF's")
    rows = _strided(document, places, f"{where}.indices", _TYPES[code], (count, 1))[:, 0].astype(np.int64)
    if count and int(rows.max()) >= len(found):
        raise ModelError(f"{where}.indices names {int(rows.max())}, and there are {len(found)}")
    whole_array = found.copy()
    whole_array[rows] = _strided(document, values, f"{where}.values", found.dtype, (count, found.shape[1]))
    return whole_array
