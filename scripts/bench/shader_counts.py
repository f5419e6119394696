"""`scripts/bench/shaders`: instructions and texture fetches of each shader of the head, as a table for docs/notebook/face.md.

Mesa compiles the shaders and prints its intermediate code (NIR) just before a driver translates it: scalar and optimised, as v3d's compiler
gets it too. Counted are arithmetic instructions, those among them that a GPU's special function unit executes (reciprocals, roots,
exponentials, sines), texture fetches, and components that are interpolated. This is static: it is no measurement, and v3d's own compiler
schedules two instructions at a time, and adds some for each interpolated component.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_client.face.gl import program
from edge_client.face.gl.opening import open_window
from edge_client.face.gl.program import Program
from edge_client.face.window import start_sdl
from tests.lab.programs import ProgramError
from tests.lab.tool import command_line

SHADERS = Path(program.__file__).parent / "shaders"
_OTHER_VERTICES = {"sheer": "skin", "plain": "back", "studio": "back", "window": "back"}
_COMPILE = "compile"
"""Argument of the child process."""
_SPECIAL = {"frcp": 1, "frsq": 1, "fsqrt": 1, "fexp2": 1, "flog2": 1, "fsin": 1, "fcos": 1, "fdiv": 1, "fpow": 2}
_SHADER = re.compile(r"^shader: MESA_SHADER_(VERTEX|FRAGMENT)\n(?:.*\n)*?name: GLSL(\d+)\n", re.MULTILINE)
_INPUT = re.compile(r"^decl_var shader_in \S+ (?:\w+ )?(?:float|vec(\d)) (\S+)", re.MULTILINE)
_OPERATION = re.compile(r"^\s*(?:vec(\d+)|con|div)? ?.*? = (?:\(\w+\))?([a-z]\w*)(.*)$", re.MULTILINE)
_NO_ARITHMETIC = {"load_const", "deref_var", "deref_array", "intrinsic", "mov", "vec2", "vec3", "vec4", "undefined", "phi"}


@dataclass(frozen=True, slots=True)
class ShaderCounts:
    """Of one shader."""

    arithmetic: int
    special: int
    """Those for the special function unit; included in `arithmetic`."""
    fetches: int
    interpolated: int
    """Components of inputs, of a fragment shader."""


def counted(nir: str) -> ShaderCounts:
    """Count one shader's NIR. Pure. Raises `ProgramError` if it has a loop, whose passes are not known."""
    if "loop {" in nir:
        raise ProgramError("a shader has a loop that Mesa did not unroll")
    arithmetic = special = fetches = 0
    for width, name, _ in _OPERATION.findall(nir):
        if name.startswith("tx") or name == "tex":
            fetches += 1
        elif name not in _NO_ARITHMETIC:
            lanes = int(width or 1)
            arithmetic += lanes
            special += lanes * _SPECIAL.get(name, 0)
    inputs = sum(int(width or 1) for width, name in _INPUT.findall(nir) if not name.startswith("gl_"))
    return ShaderCounts(arithmetic, special, fetches, inputs)


def shader_texts() -> dict[str, tuple[str, str]]:
    """NIR of vertex and fragment shader of each program and level, from a process that compiles them all. Raises `ProgramError`."""
    command = [sys.executable, "-P", "-m", "scripts.bench.shader_counts", _COMPILE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    whole = done.stderr + done.stdout
    names = dict(re.findall(r"^program (\d+) (.+)$", whole, re.MULTILINE))
    parts = list(_SHADER.finditer(whole))
    texts: dict[tuple[str, str], str] = {}
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        texts[part[2], part[1]] = whole[part.start() : following.start() if following else len(whole)]
    if done.returncode or not texts:
        raise ProgramError(f"Mesa printed no intermediate code (ended with {done.returncode}): {done.stderr.strip()[-500:]}")
    return {name: (texts[number, "VERTEX"], texts[number, "FRAGMENT"]) for number, name in names.items()}


def table() -> list[str]:
    """The lines of the table."""
    lines = ["| shader | vertex | fragment | special | fetches | interpolated |", "|---|---|---|---|---|---|"]
    for name, texts in shader_texts().items():
        vertex, fragment = map(counted, texts)
        lines.append(
            f"| {name} | {vertex.arithmetic} | {fragment.arithmetic} | {fragment.special} | {fragment.fetches} | {fragment.interpolated} |"
        )
    return lines


def _programs() -> Iterator[tuple[str, str, bool]]:
    """Name, vertex shader, and whether it is the level `high`."""
    for file in sorted(SHADERS.glob("*.frag")):
        vertices = _OTHER_VERTICES.get(file.stem, file.stem)
        yield file.stem, vertices, False
        if "HIGH" in file.read_text(encoding="utf-8"):
            yield file.stem, vertices, True


def _compile() -> None:
    start_sdl("offscreen", {})
    open_window((64, 64), 0, samples=0, vsync=False)
    for name, vertices, is_high in _programs():
        made = Program(name, vertices=vertices, is_high=is_high)
        print(f"program {made.number} {name}{', high' if is_high else ''}", flush=True)


def main() -> int:
    """Print the table."""
    if sys.argv[1:] == [_COMPILE]:
        _compile()
        return 0
    command_line("bench/shaders", __doc__).parse_args()
    print("\n".join(table()))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ProgramError as error:
        sys.exit(f"scripts/bench/shaders: {error}")
