"""The command `edge-client import-head MODEL --out HEAD`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avatar_relay.command import CommandLine
from edge_client.errors import ModelError
from edge_client.head_import.build import import_model
from edge_client.head_import.glb import check_size

PATIENCE_S = 120
"""Time limit for a driver that hangs; drawing itself is limited in CPU time."""


def import_head(arguments: Sequence[str]) -> int:
    """Write a head, its report and its pictures; returns the exit status. Raises `ModelError`, `OSError`."""
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
    """Raise `ModelError` if the path is not a file, or is too large, before any of it is read."""
    if not model.is_file():
        raise ModelError(f"{model}: there is no such file")
    try:
        check_size(model.stat().st_size)
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from error


def _write(out: Path, arrays: dict[str, np.typing.NDArray[np.generic]]) -> None:
    """Write the head atomically: an edge client may be reading the file."""
    part = out.with_name(f"{out.name}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def _pictures(out: Path) -> str:
    """Draw the pictures in a process that may crash or hang; returns the line of the report about them, or why there are none."""
    sheet = out.with_suffix(".jpg")
    command = [sys.executable, "-m", "edge_client.head_import.pictures", str(out), str(sheet)]
    try:
        drawn = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"pictures: none, for the driver did not draw them within {PATIENCE_S} s\n"
    if drawn.returncode == -signal.SIGXCPU:
        return "pictures: none, for they take too long: a device is too slow for this head, too; reduce its mesh\n"
    if drawn.returncode:
        said = drawn.stderr.strip().splitlines() or [f"it ended with {drawn.returncode}"]
        return f"pictures: none, for GLES does not draw here ({said[-1]})\n"
    return f"pictures: {sheet}\n"
