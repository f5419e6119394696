"""Separate colour buffers in the window's own format: drivers copy between the two at full speed, or do not support other formats."""

from __future__ import annotations

from edge_client.face.gl.binding import GL


def colour_texture(size: tuple[int, int]) -> int:
    """Make an empty texture to draw into and then to draw with. Needs a current context."""
    pixels = GL.GL_RGBA if int(GL.glGetIntegerv(GL.GL_ALPHA_BITS)) > 0 else GL.GL_RGB
    texture: int = GL.glGenTextures(1)
    GL.glBindTexture(GL.GL_TEXTURE_2D, texture)
    GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, pixels, *size, 0, pixels, GL.GL_UNSIGNED_BYTE, None)
    for name in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
        GL.glTexParameteri(GL.GL_TEXTURE_2D, name, GL.GL_LINEAR)
    for name in (GL.GL_TEXTURE_WRAP_S, GL.GL_TEXTURE_WRAP_T):
        GL.glTexParameteri(GL.GL_TEXTURE_2D, name, GL.GL_CLAMP_TO_EDGE)
    return texture


def colour_frame(size: tuple[int, int]) -> int:
    """Make a framebuffer without depth. Needs a current context; leaves the window's own buffer bound.

    Deleting the framebuffer releases all its memory.
    """
    frame: int = GL.glGenFramebuffers(1)
    store = GL.glGenRenderbuffers(1)
    has_alpha = int(GL.glGetIntegerv(GL.GL_ALPHA_BITS)) > 0
    GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, store)
    GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, GL.GL_RGBA8 if has_alpha else GL.GL_RGB8, *size)
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, frame)
    GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_RENDERBUFFER, store)
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
    GL.glDeleteRenderbuffers(1, [store])  # only its name is deleted: the framebuffer still holds it
    return frame
