"""Opens SDL's window with a GLES 3.0 context. Imports only pygame: the probe's child does little else."""

from __future__ import annotations

import os

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame

SMOOTH_SAMPLES = 4
"""Samples for each pixel if edges are smoothed."""
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "SWR")


def open_window(size: tuple[int, int], flags: int, *, samples: int, vsync: bool, monitor: int = 0) -> tuple[int, int]:
    """Open the window and make its context current; returns its size in pixels. SDL's video must be started. Raises `pygame.error`.

    `samples` is 0 or a number of samples for each pixel; `monitor` is the number of the monitor. Call it once for each start of SDL's
    video: Mesa's software drivers crash in a window that was reopened with other attributes, some at once, some when it is resized.
    """
    for attribute, value in (
        (pygame.GL_CONTEXT_PROFILE_MASK, pygame.GL_CONTEXT_PROFILE_ES),
        (pygame.GL_CONTEXT_MAJOR_VERSION, 3),
        (pygame.GL_CONTEXT_MINOR_VERSION, 0),
        (pygame.GL_DEPTH_SIZE, 24),
        (pygame.GL_MULTISAMPLEBUFFERS, 1 if samples else 0),
        (pygame.GL_MULTISAMPLESAMPLES, samples),
    ):
        pygame.display.gl_set_attribute(attribute, value)
    pygame.display.set_mode(size, pygame.OPENGL | pygame.DOUBLEBUF | flags, display=monitor, vsync=int(vsync))
    return pygame.display.get_window_size()


def is_software_device(name: str) -> bool:
    """Whether the GL device of this name is the CPU."""
    return any(software in name for software in _SOFTWARE)
