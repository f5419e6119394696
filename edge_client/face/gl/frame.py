"""A separate colour buffer in the window's own format: drivers copy between the two at full speed, or do not support other formats."""

from __future__ import annotations

from edge_client.face.gl.binding import GL


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
