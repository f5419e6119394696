"""Vertex buffers of the head, and the sphere of an eye."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from edge_client.face.gl.binding import GL
from edge_client.face.head import Head

Floats = NDArray[np.float32]

_FLOAT = 4
_EYE_RINGS, _EYE_SPOKES = 5, 12  # small triangles are what costs where software draws
_EYE_OPENING_RAD = 1.75


class HeadBuffers:
    """The head on the GPU: one buffer written each picture, one written once, one list of triangles."""

    def __init__(self, head: Head) -> None:
        """Upload; needs a current context."""
        self._flow = np.concatenate([head.points, head.normals], axis=1).astype(np.float32)
        self._moving = head.moving
        self._array = GL.glGenVertexArrays(1)
        GL.glBindVertexArray(self._array)
        self._flow_buffer = GL.glGenBuffers(1)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._flow_buffer)
        attribute(0, 3, 6, 0)
        attribute(1, 3, 6, 3)
        fixed = np.concatenate([head.chart, head.shade[:, None], head.gloss[:, None]], axis=1).astype(np.float32)
        upload(GL.GL_ARRAY_BUFFER, fixed)
        attribute(2, 2, 4, 0)
        attribute(3, 1, 4, 2)
        attribute(4, 1, 4, 3)
        indexes = np.concatenate([head.triangles, head.lash_triangles, head.sheer_triangles])
        upload(GL.GL_ELEMENT_ARRAY_BUFFER, indexes)
        self._index_type, self._index_bytes = (GL.GL_UNSIGNED_INT, 4) if indexes.dtype == np.uint32 else (GL.GL_UNSIGNED_SHORT, 2)
        self._skin_count, self._lash_count, self._sheer_count = (
            part.size for part in (head.triangles, head.lash_triangles, head.sheer_triangles)
        )

    def write(self, vertices: Floats) -> None:
        """Take the moving vertices, shape (moving, 6). The whole buffer is replaced, so that the GPU need not be waited for."""
        self._flow[: self._moving] = vertices
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._flow_buffer)
        GL.glBufferData(GL.GL_ARRAY_BUFFER, self._flow.nbytes, self._flow, GL.GL_STREAM_DRAW)

    def draw_skin(self) -> None:
        """All that is not seen through."""
        self._draw(self._skin_count, 0)

    def draw_lashes(self) -> None:
        """The lashes; they are seen through and want blending."""
        self._draw(self._lash_count, self._skin_count)

    def draw_sheer(self) -> None:
        """What is painted to be seen through."""
        self._draw(self._sheer_count, self._skin_count + self._lash_count)

    def _draw(self, count: int, first: int) -> None:
        GL.glBindVertexArray(self._array)
        GL.glDrawElements(GL.GL_TRIANGLES, count, self._index_type, ctypes.c_void_p(self._index_bytes * first))


class EyeBuffers:
    """The front of a unit sphere around +z."""

    def __init__(self) -> None:
        """Upload; needs a current context."""
        directions, tris = eye_sphere()
        self._array = GL.glGenVertexArrays(1)
        GL.glBindVertexArray(self._array)
        upload(GL.GL_ARRAY_BUFFER, directions)
        attribute(0, 3, 3, 0)
        upload(GL.GL_ELEMENT_ARRAY_BUFFER, tris)
        self._count = tris.size

    def draw(self) -> None:
        """One eyeball."""
        GL.glBindVertexArray(self._array)
        GL.glDrawElements(GL.GL_TRIANGLES, self._count, GL.GL_UNSIGNED_SHORT, None)


def eye_sphere() -> tuple[Floats, NDArray[np.uint16]]:
    """Directions (n, 3) on the unit sphere and triangles (m, 3), counter-clockwise from outside. Pure."""
    lean = np.linspace(0, _EYE_OPENING_RAD, _EYE_RINGS + 1)[1:, None]
    turn = np.linspace(0, 2 * np.pi, _EYE_SPOKES, endpoint=False)[None, :]
    rings = np.stack(np.broadcast_arrays(np.sin(lean) * np.cos(turn), np.sin(lean) * np.sin(turn), np.cos(lean)), axis=-1)
    directions = np.concatenate([[[0.0, 0.0, 1.0]], rings.reshape(-1, 3)]).astype(np.float32)
    here = np.arange(_EYE_SPOKES)
    beside = (here + 1) % _EYE_SPOKES
    tris = [np.stack([np.zeros_like(here), 1 + here, 1 + beside], axis=1)]
    for ring in range(_EYE_RINGS - 1):
        inner, outer = 1 + ring * _EYE_SPOKES, 1 + (ring + 1) * _EYE_SPOKES
        tris.append(np.stack([inner + here, outer + here, outer + beside], axis=1))
        tris.append(np.stack([inner + here, outer + beside, inner + beside], axis=1))
    return directions, np.concatenate(tris).astype(np.uint16)


def halvings(rows: int, texels: float) -> int:
    """How often a picture of so many rows is to be halved until its rows are nearest to `texels`, by ratio. Pure."""
    times = 0
    while rows > 2**0.5 * texels and rows % 2 == 0:
        rows, times = rows // 2, times + 1
    return times


def halved(pixels: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """A picture at half its size, so many times over. Pure."""
    for _ in range(times):
        rows, columns = len(pixels) // 2, pixels.shape[1] // 2
        pixels = np.rint(pixels.reshape(rows, 2, columns, 2, -1).mean((1, 3))).astype(np.uint8)
    return pixels


def upload_texture(pixels: NDArray[np.uint8], *, levels: bool, tiled: bool = False) -> int:
    """A texture of RGB or RGBA pixels whose row 0 is at the bottom; it repeats sideways, and upwards if it is `tiled`.
    Needs a current context.

    With `levels` it is also kept at smaller sizes for places that are seen small; choosing among them costs where software draws.
    """
    texture: int = GL.glGenTextures(1)
    GL.glBindTexture(GL.GL_TEXTURE_2D, texture)
    GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
    height, width = pixels.shape[:2]
    kept, given = (GL.GL_RGBA8, GL.GL_RGBA) if pixels.shape[2] == 4 else (GL.GL_RGB8, GL.GL_RGB)
    GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, kept, width, height, 0, given, GL.GL_UNSIGNED_BYTE, np.ascontiguousarray(pixels))
    for name, value in (
        (GL.GL_TEXTURE_MIN_FILTER, GL.GL_LINEAR_MIPMAP_NEAREST if levels else GL.GL_LINEAR),
        (GL.GL_TEXTURE_MAG_FILTER, GL.GL_LINEAR),
        (GL.GL_TEXTURE_WRAP_S, GL.GL_REPEAT),
        (GL.GL_TEXTURE_WRAP_T, GL.GL_REPEAT if tiled else GL.GL_CLAMP_TO_EDGE),
    ):
        GL.glTexParameteri(GL.GL_TEXTURE_2D, name, value)
    if levels:
        GL.glGenerateMipmap(GL.GL_TEXTURE_2D)
    return texture


def attribute(place: int, count: int, stride: int, offset: int) -> None:
    """Floats of the bound buffer as the bound array's attribute `place`; `stride` and `offset` count floats."""
    GL.glEnableVertexAttribArray(place)
    GL.glVertexAttribPointer(place, count, GL.GL_FLOAT, False, stride * _FLOAT, ctypes.c_void_p(offset * _FLOAT))


def upload(target: int, array: NDArray[np.generic]) -> int:
    """A new buffer that stays as it is, bound to `target`."""
    whole = np.ascontiguousarray(array)
    buffer: int = GL.glGenBuffers(1)
    GL.glBindBuffer(target, buffer)
    GL.glBufferData(target, whole.nbytes, whole, GL.GL_STATIC_DRAW)
    return buffer
