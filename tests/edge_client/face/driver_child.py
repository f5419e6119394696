"""Child process of `test_drivers`: draws with each background on both levels, and reports what the driver says about the shaders.

Arguments: samples for each pixel with `high`, and the file to write (.npz): `version`, `driver`, `logs` (of the shaders and programs),
`control` (the log of a shader that earns a warning), and `SCENE-DETAIL`, pictures, (1 + texts, height, width, 3).
"""

from __future__ import annotations

import sys

import numpy as np

from edge_client.choices import DetailChoice
from edge_client.face.detail import HeadLook
from edge_client.face.gl.binding import GL
from edge_client.face.gl.context import driver_name
from edge_client.face.gles import GlesRenderer
from edge_client.face.overlay import NOTHING
from edge_client.face.window import start_sdl
from tests.edge_client.face.test_background import SCENES, TEXTS
from tests.lab.face.viseme_poses import viseme_pose

_SIZE = (400, 300)
_LEVELS: tuple[DetailChoice, ...] = ("low", "high")
_NAMES = range(1, 400)
"""GL's names of shaders and programs: small numbers, in order."""
_POOR = "#version 300 es\nprecision highp float;\nout vec4 colour;\nvoid main() { float x; colour = vec4(x); }\n"


def main(samples: int, out: str) -> None:
    """Draw, and write the file."""
    found: dict[str, object] = {}
    logs: list[str] = []
    for scene in SCENES:
        for detail in _LEVELS:
            start_sdl("offscreen", {})
            look = HeadLook(detail, "auto", scene)
            renderer = GlesRenderer(_SIZE, 0, "off-screen", look=look, samples=samples if detail == "high" else 0)
            pictures = []
            for overlay in (NOTHING, *(overlay for overlay, _ in TEXTS)):
                renderer.draw(viseme_pose("ɛ"), overlay=overlay)
                pictures.append(renderer.read().copy())
            logs += _logs()
            found[f"{scene}-{detail}"] = np.stack(pictures)
            found["version"], found["driver"] = np.array(_text(GL.glGetString(GL.GL_VERSION))), np.array(driver_name())
            found["control"] = np.array(_warned())
            renderer.close()
    np.savez(out, logs=np.array(logs), **found)  # type: ignore[arg-type]


def _logs() -> list[str]:
    shaders = [_text(GL.glGetShaderInfoLog(name)) for name in _NAMES if GL.glIsShader(name)]
    programs = [_text(GL.glGetProgramInfoLog(name)) for name in _NAMES if GL.glIsProgram(name)]
    assert len(programs) >= 5
    assert len(shaders) >= 2 * len(programs)
    return shaders + programs


def _warned() -> str:
    shader = GL.glCreateShader(GL.GL_FRAGMENT_SHADER)
    GL.glShaderSource(shader, _POOR)
    GL.glCompileShader(shader)
    return _text(GL.glGetShaderInfoLog(shader))


def _text(log: bytes | str) -> str:
    return log.decode(errors="replace") if isinstance(log, bytes) else log


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
