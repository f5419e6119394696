"""A window or an off-screen surface with a GLES 3.0 context, by SDL. Never desktop GL: a Raspberry Pi has only 3.1 of that."""

from __future__ import annotations

import pygame

from edge_client.face.gl.binding import GL

_SAMPLES = 4
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "SWR")


def open_context(size: tuple[int, int], flags: int, *, smooth: bool | None) -> tuple[int, int]:
    """Open the display (SDL's video is started) and make the context current; returns its size. Raises `pygame.error`.

    `smooth` edges take several samples for each pixel; None means where a GPU does it: in software they would double the cost.
    Drivers without them, or without waiting for the screen's refresh, are taken as they are.
    """
    if smooth is False:
        return _open(size, flags, 0)
    try:
        opened = _open(size, flags, _SAMPLES)
    except pygame.error:
        return _open(size, flags, 0)
    if smooth is None and is_software():
        _ask(0)
        pygame.display.set_mode(size, flags)  # without GL: SDL keeps a window that has it, and its samples with it
        return _open(size, flags, 0)
    return opened


def driver_name() -> str:
    """The GL version and the device that draws, for people."""
    version, device = (GL.glGetString(what) for what in (GL.GL_VERSION, GL.GL_RENDERER))
    return f"{_text(version)}, {_text(device)}"


def is_software() -> bool:
    """Whether the CPU draws."""
    return any(name in driver_name() for name in _SOFTWARE)


def samples() -> int:
    """How many samples the window takes for each pixel; 0 or 1 where edges are not smoothed."""
    return int(GL.glGetIntegerv(GL.GL_SAMPLES))


def is_gles3() -> bool:
    """Whether the context is what was asked for; some drivers give something else without a word."""
    return _text(GL.glGetString(GL.GL_VERSION)).startswith("OpenGL ES 3")


def _open(size: tuple[int, int], flags: int, samples: int) -> tuple[int, int]:
    _ask(samples)
    try:
        pygame.display.set_mode(size, pygame.OPENGL | pygame.DOUBLEBUF | flags, vsync=1)
    except pygame.error:
        pygame.display.set_mode(size, pygame.OPENGL | pygame.DOUBLEBUF | flags)
    return pygame.display.get_window_size()


def _ask(samples: int) -> None:
    for attribute, value in (
        (pygame.GL_CONTEXT_PROFILE_MASK, pygame.GL_CONTEXT_PROFILE_ES),
        (pygame.GL_CONTEXT_MAJOR_VERSION, 3),
        (pygame.GL_CONTEXT_MINOR_VERSION, 0),
        (pygame.GL_DEPTH_SIZE, 24),
        (pygame.GL_MULTISAMPLEBUFFERS, 1 if samples else 0),
        (pygame.GL_MULTISAMPLESAMPLES, samples),
    ):
        pygame.display.gl_set_attribute(attribute, value)


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")
