"""Shader programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_client.errors import ScreenError
from edge_client.face.gl.binding import GL

_SHADERS = Path(__file__).parent / "shaders"


class Program:
    """A linked vertex and fragment shader. Needs a current context."""

    def __init__(self, name: str, *, vertices: str = "", is_high: bool = False) -> None:
        """Compile `shaders/NAME.vert`, or that of `vertices`, and `shaders/NAME.frag`. Raises `ScreenError` with the driver's error text.

        `is_high`: compile with `HIGH` defined, which enables the parts within `#ifdef HIGH`.
        """
        self.number: int = GL.glCreateProgram()
        """GL's name of the program."""
        for kind, file in ((GL.GL_VERTEX_SHADER, f"{vertices or name}.vert"), (GL.GL_FRAGMENT_SHADER, f"{name}.frag")):
            GL.glAttachShader(self.number, _compile(kind, _SHADERS / file, is_high=is_high))
        GL.glLinkProgram(self.number)
        if not GL.glGetProgramiv(self.number, GL.GL_LINK_STATUS):
            raise ScreenError(f"the driver does not link the shader {name}: {_text(GL.glGetProgramInfoLog(self.number))}")
        self._places: dict[str, int] = {}

    def free(self) -> None:
        """Release the program; it cannot be used afterwards."""
        GL.glDeleteProgram(self.number)

    def use(self) -> None:
        """Make it the current program."""
        GL.glUseProgram(self.number)

    def set_matrix(self, name: str, matrix: NDArray[np.float32]) -> None:
        """Set a mat3 or mat4 from `matrix`, in row-major order as on paper."""
        setter = GL.glUniformMatrix4fv if matrix.shape[0] == 4 else GL.glUniformMatrix3fv
        setter(self._place(name), 1, False, np.ascontiguousarray(matrix.T, np.float32))

    def set_vector(self, name: str, vector: NDArray[np.float32]) -> None:
        """Set a vec3."""
        GL.glUniform3f(self._place(name), *vector.tolist())

    def set_integer(self, name: str, value: int) -> None:
        """Set an int, or a sampler's unit."""
        GL.glUniform1i(self._place(name), value)

    def _place(self, name: str) -> int:
        if name not in self._places:
            self._places[name] = GL.glGetUniformLocation(self.number, name)
        return self._places[name]


def _compile(kind: int, path: Path, *, is_high: bool) -> int:
    shader: int = GL.glCreateShader(kind)
    version, rest = path.read_text(encoding="utf-8").split("\n", 1)
    GL.glShaderSource(shader, f"{version}\n{'#define HIGH' if is_high else ''}\n{rest}")
    GL.glCompileShader(shader)
    if not GL.glGetShaderiv(shader, GL.GL_COMPILE_STATUS):
        raise ScreenError(f"the driver does not take the shader {path.name}: {_text(GL.glGetShaderInfoLog(shader))}")
    return shader


def _text(log: bytes | str) -> str:
    return log.decode(errors="replace") if isinstance(log, bytes) else log
