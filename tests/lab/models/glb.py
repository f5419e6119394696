"""Writes glTF 2.0 binary files."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CODES = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class ModelWriter:
    """Collects a model's JSON and bytes. `json` may be changed until `packed` is called."""

    def __init__(self) -> None:
        lists = ("nodes", "samplers", "meshes", "skins", "materials", "textures", "images", "accessors", "bufferViews")
        self.json: dict[str, Any] = {"asset": {"version": "2.0", "generator": "avatar-relay"}, "scene": 0}
        self.json |= {name: [] for name in lists}
        self._bytes = bytearray()

    def add(self, kind: str, entry: dict[str, Any]) -> int:
        """Append to a list; returns the index."""
        entries: list[Any] = self.json.setdefault(kind, [])
        entries.append(entry)
        return len(entries) - 1

    def view(self, data: bytes) -> int:
        """Add a buffer view of these bytes; returns its index."""
        self._bytes += b"\0" * (-len(self._bytes) % 4)
        start = len(self._bytes)
        self._bytes += data
        return self.add("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(data)})

    def accessor(self, array: NDArray[np.generic], *, normalized: bool = False) -> int:
        """Add an accessor of (n, width) numbers, or (n,) scalars; returns its index."""
        entry = self._described(array) | {"bufferView": self.view(array.tobytes())}
        return self.add("accessors", entry | ({"normalized": True} if normalized else {}))

    def sparse(self, array: NDArray[np.float32]) -> int:
        """Add an accessor that stores only the non-zero rows; returns its index."""
        rows = np.flatnonzero(np.abs(array).max(1) > 0)
        if not len(rows) or len(rows) > len(array) // 2:
            return self.accessor(array)
        places = {"bufferView": self.view(rows.astype(np.uint32).tobytes()), "componentType": 5125}
        held = {"count": len(rows), "indices": places, "values": {"bufferView": self.view(array[rows].tobytes())}}
        return self.add("accessors", self._described(array) | {"sparse": held})

    def texture(self, picture: bytes, mime: str) -> int:
        """Add a texture whose picture is embedded in the file; returns its index."""
        image = self.add("images", {"bufferView": self.view(picture), "mimeType": mime})
        clamped = self.add("samplers", {"wrapS": 10497, "wrapT": 33071})
        return self.add("textures", {"source": image, "sampler": clamped})

    def packed(self) -> bytes:
        """Serialize the file."""
        self.json["buffers"] = [{"byteLength": len(self._bytes)}]
        return packed(self.json, bytes(self._bytes))

    @staticmethod
    def _described(array: NDArray[np.generic]) -> dict[str, Any]:
        width = 1 if array.ndim == 1 else array.shape[1]
        return {"componentType": _CODES[array.dtype.name], "count": len(array), "type": _KINDS[width]}


def packed(document: dict[str, Any], binary: bytes) -> bytes:
    """Serialize a file from JSON and a binary chunk."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    header = struct.pack("<4sII", b"glTF", 2, length)
    return header + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
