"""A colour buffer beside the window's, in the window's own format: drivers copy between the two at full speed, or at all."""

from __future__ import annotations

from edge_client.face.gl.binding import GL


def colour_frame(size: tuple[int, int]) -> int:
    """A new framebuffer without depth; needs a current context, and leaves the window's own buffer bound.

    Deleting the framebuffer gives all of it back.
    """
    frame: int = GL.glGenFramebuffers(1)
    store = GL.glGenRenderbuffers(1)
    has_alpha = int(GL.glGetIntegerv(GL.GL_ALPHA_BITS)) > 0
    GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, store)
    GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, GL.GL_RGBA8 if has_alpha else GL.GL_RGB8, *size)
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, frame)
    GL.glFramebufferRenderbuffer(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_RENDERBUFFER, store)
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
    GL.glDeleteRenderbuffers(1, [store])  # only its name: the framebuffer holds it
    return frame
