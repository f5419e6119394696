"""Counting of shaders' instructions, and the table in the notebook."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from scripts.bench.shader_counts import SHADERS, ShaderCounts, counted
from tests.lab.data import PROJECT_ROOT
from tests.lab.programs import ProgramError

NIR = """shader: MESA_SHADER_FRAGMENT
decl_var shader_in INTERP_MODE_NONE highp vec4 gl_FragCoord (VARYING_SLOT_POS.xyzw, 0, 0)
decl_var shader_in INTERP_MODE_NONE highp vec2 spot (VARYING_SLOT_VAR0.xy, 0, 0)
decl_var shader_in INTERP_MODE_NONE highp float far (VARYING_SLOT_VAR0.z, 0, 0)
\tvec1 32 ssa_0 = load_const (0x3f0ccccd = 0.550000)
\tvec1 32 ssa_1 = deref_var &spot (shader_in vec2)
\tvec2 32 ssa_2 = intrinsic load_deref (ssa_1) (access=0)
\tvec4 32 ssa_3 = (float32)tex ssa_2 (coord), 0 (texture), 0 (sampler)
\tvec1 32 ssa_4 = fmul ssa_3.x, ssa_0
\tvec1 32 ssa_5 = frsq ssa_4
\tvec4 32 ssa_6 = vec4 ssa_4, ssa_5, ssa_4, ssa_5
"""


def test_what_counts() -> None:
    """Arithmetic, special functions, fetches and interpolated components; not constants, loads or moves."""
    assert counted(NIR) == ShaderCounts(arithmetic=2, special=1, fetches=1, interpolated=3)
    with pytest.raises(ProgramError, match="loop"):
        counted(NIR + "\tloop {\n")


def test_the_notebook_lists_every_shader() -> None:
    """Each, on both levels if they differ."""
    rows = _rows((PROJECT_ROOT / "docs/notebook/face.md").read_text(encoding="utf-8"))
    names = {file.stem for file in SHADERS.glob("*.frag")}
    assert {name.removesuffix(", high") for name in rows} == names
    assert {f"{file.stem}, high" for file in SHADERS.glob("*.frag") if "HIGH" in file.read_text()} <= set(rows)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_notebook_has_the_counts_of_the_shaders() -> None:
    """Within a fifth, since Mesa's versions differ; fetches and components exactly."""
    done = subprocess.run(
        [PROJECT_ROOT / "scripts/bench/shaders"], env=dict(os.environ), capture_output=True, text=True, timeout=150, check=True
    )
    found, written = _rows(done.stdout), _rows((PROJECT_ROOT / "docs/notebook/face.md").read_text(encoding="utf-8"))
    assert found.keys() == written.keys()
    for name, numbers in found.items():
        assert numbers[3:] == written[name][3:], name
        assert numbers[:3] == pytest.approx(written[name][:3], rel=0.2, abs=4), name


def _rows(text: str) -> dict[str, list[int]]:
    rows = re.findall(r"^\| ([a-z, ]+) \|((?: \d+ \|){5})$", text, re.MULTILINE)
    return {name: [int(number) for number in numbers.split("|") if number.strip()] for name, numbers in rows}
