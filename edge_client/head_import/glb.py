"""The container of a binary glTF file: a header, a JSON chunk, a binary chunk. Pure."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, NoReturn

from edge_client.errors import ModelError

MAX_FILE_BYTES = 128 << 20
MAX_JSON_BYTES = 8 << 20
"""Parsed JSON takes up to twenty times its size in memory."""

_HEADER, _CHUNK = struct.Struct("<4sII"), struct.Struct("<I4s")
_EXPORT = "export the model as glTF binary (.glb) or VRM"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The contents of a file."""

    json: dict[str, Any]
    binary: memoryview


def check_size(size: int) -> None:
    """Raise `ModelError` if a file is too large."""
    if size > MAX_FILE_BYTES:
        raise ModelError(
            f"it has {size / 2**20:.0f} MiB, at most {MAX_FILE_BYTES >> 20} are read; remove animations, or shrink its textures"
        )


def read_model_file(data: bytes) -> ModelFile:
    """Parse the container. Raises `ModelError`."""
    check_size(len(data))
    if len(data) < _HEADER.size:
        raise ModelError(f"it has {len(data)} bytes and is no model; {_EXPORT}")
    magic, version, length = _HEADER.unpack_from(data)
    if magic != b"glTF":
        hint = "it is glTF as text" if data.lstrip()[:1] == b"{" else "it does not begin with glTF"
        raise ModelError(f"{hint}; {_EXPORT}")
    if version != 2:
        raise ModelError(f"it is glTF {version}, only 2 is read; {_EXPORT}")
    if length > len(data):
        raise ModelError(f"it is cut short: {len(data)} of {length} bytes are there; copy or export it again")
    text, at = _chunk(data, _HEADER.size, length, b"JSON")
    binary = memoryview(b"")
    if at < length:
        binary, _ = _chunk(data, at, length, b"BIN\0")
    return ModelFile(_parsed(text), binary)


def _chunk(data: bytes, at: int, end: int, wanted: bytes) -> tuple[memoryview, int]:
    """Return a chunk's content, and the offset of the next."""
    name = wanted.strip(b"\0").decode()
    if at + _CHUNK.size > end:
        raise ModelError(f"its {name} chunk is missing; export it again")
    size, kind = _CHUNK.unpack_from(data, at)
    if kind != wanted:
        raise ModelError(f"at byte {at} a {name} chunk has to begin, not {kind!r}; export it again")
    start = at + _CHUNK.size
    if start + size > end:
        raise ModelError(f"its {name} chunk has {end - start} of {size} bytes; export it again")
    return memoryview(data)[start : start + size], start + size


def _parsed(text: memoryview) -> dict[str, Any]:
    if len(text) > MAX_JSON_BYTES:
        raise ModelError(f"its JSON has {len(text) / 2**20:.0f} MiB, at most {MAX_JSON_BYTES >> 20} are read; remove animations")
    try:
        found = json.loads(bytes(text), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"its JSON cannot be read ({error}); export it again") from error
    if not isinstance(found, dict):
        raise ModelError("its JSON is no object; export it again")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
