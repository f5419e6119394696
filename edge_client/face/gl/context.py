"""Properties of the current GLES context."""

from __future__ import annotations

from edge_client.face.gl.binding import GL
from edge_client.face.gl.opening import is_software_device


def driver_name() -> str:
    """The GL version and the device that draws, human-readable."""
    version, device = (GL.glGetString(what) for what in (GL.GL_VERSION, GL.GL_RENDERER))
    return f"{_text(version)}, {_text(device)}"


def is_software() -> bool:
    """Whether the CPU draws."""
    return is_software_device(driver_name())


def is_gles3() -> bool:
    """Whether the context has the requested version; some drivers silently provide another one."""
    return _text(GL.glGetString(GL.GL_VERSION)).startswith("OpenGL ES 3")


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")
