"""The probe's child: opens hidden GLES windows, draws into them, and prints one line of JSON for each that worked.

A driver may crash or hang here without harm. The environment names SDL's driver. Line 1 describes a plain window: `version`, `device`,
`vsync`. Line 2, printed only if a GPU draws, describes smoothed edges: `samples`. A failure is one line with `error`.
"""

from __future__ import annotations

import ctypes
import json
import resource
import signal
import sys

import pygame

from edge_client.face.gl.opening import SMOOTH_SAMPLES, is_software_device, open_window

_SIZE = (64, 64)
_VERSION, _RENDERER, _COLOR_BUFFER_BIT = 0x1F02, 0x1F01, 0x4000


def main(limit_s: int) -> int:
    """Run the trial and print its result; returns the exit status. The process ends itself after `limit_s` s, even if the driver hangs."""
    signal.alarm(limit_s)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        pygame.display.init()
        vsync = _open_plain()
        version, device = _draw()
        _tell(version=version, device=device, vsync=vsync)
        if not is_software_device(device):
            open_window(_SIZE, pygame.HIDDEN, samples=SMOOTH_SAMPLES, vsync=vsync)
            _draw()
            _tell(samples=SMOOTH_SAMPLES)
    except (pygame.error, OSError) as error:
        _tell(error=str(error))
        return 1
    return 0


def _open_plain() -> bool:
    """Open a plain window; returns whether showing waits for the screen's refresh."""
    for vsync in (True, False):
        try:
            open_window(_SIZE, pygame.HIDDEN, samples=0, vsync=vsync)
        except pygame.error:
            if not vsync:
                raise
        else:
            return vsync
    raise AssertionError


def _draw() -> tuple[str, str]:
    """Clear and show, which makes a driver allocate its buffers; returns the names of version and device."""
    gl = ctypes.CDLL("libGLESv2.so.2")  # not PyOpenGL: its import takes longer than all of this
    gl.glGetString.restype = ctypes.c_char_p
    version, device = ((gl.glGetString(what) or b"").decode(errors="replace") for what in (_VERSION, _RENDERER))
    gl.glClear(_COLOR_BUFFER_BIT)
    pygame.display.flip()
    gl.glFinish()
    return version, device


def _tell(**found: object) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
