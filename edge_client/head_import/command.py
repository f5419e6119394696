"""The command `edge-client import-head MODEL --out HEAD`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avatar_relay.command import CommandLine
from edge_client.errors import ModelError
from edge_client.head_import.build import import_model
from edge_client.head_import.glb import check_size


def import_head(arguments: Sequence[str]) -> int:
    """Make a head, its report and its pictures; returns the exit status. Raises `ModelError`, `OSError`."""
    parser = CommandLine(
        prog="edge-client import-head",
        description="Makes a head of a model in glTF 2.0 binary (.glb) or VRM (.vrm). Its report (.txt) and pictures (.jpg) lie beside it.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="the model")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the head (default: the model's name with the suffix .head)")
    read = parser.parse_args(arguments)
    out: Path = read.out or read.model.with_suffix(".head")
    if out.resolve() == read.model.resolve():
        raise ModelError(f"--out {out} is the model itself; name another file")
    head, report = _imported(read.model)
    _write(out, head)
    text = report + _pictures(out)
    out.with_suffix(".txt").write_text(text, encoding="utf-8")
    print(f"{text}head: {out}\nuse it: edge-client --head {out}")
    return 0


def _imported(model: Path) -> tuple[dict[str, np.typing.NDArray[np.generic]], str]:
    check_path(model)
    try:
        found = import_model(model.read_bytes())
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from error
    except MemoryError as error:
        raise ModelError(f"{model}: it does not fit into memory; reduce the mesh, or shrink its textures") from error
    return found.arrays, found.report.text()


def check_path(model: Path) -> None:
    """Raise `ModelError` for what is no file, or one that is too large, before a byte is read."""
    if not model.is_file():
        raise ModelError(f"{model}: there is no such file")
    try:
        check_size(model.stat().st_size)
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from error


def _write(out: Path, arrays: dict[str, np.typing.NDArray[np.generic]]) -> None:
    """The whole head or nothing: an edge client may be reading the file."""
    part = out.with_name(f"{out.name}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def _pictures(out: Path) -> str:
    """Draw them; the line of the report that says so, or why there are none."""
    from edge_client.head_import.pictures import PICTURE_ERRORS, draw_sheet

    sheet = out.with_suffix(".jpg")
    try:
        draw_sheet(out, sheet)
    except PICTURE_ERRORS as error:
        return f"pictures: none, for GLES does not draw here ({error})\n"
    return f"pictures: {sheet}\n"
