"""PyOpenGL, configured for GLES before its first import: functions are looked up through EGL, without an error check after each call.

Only functions that exist in GLES 3.0 are used through it.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("PYOPENGL_PLATFORM", "egl")

import OpenGL

OpenGL.ERROR_CHECKING = False
OpenGL.ERROR_LOGGING = False
OpenGL.USE_ACCELERATE = False  # an optional package that is not used; its absence would be logged

from OpenGL import GL as _GL  # noqa: E402 - after the settings

GL: Any = _GL
"""The binding; untyped."""
