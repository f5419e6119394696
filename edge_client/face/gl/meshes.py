"""Vertex buffers of the head, and the sphere of an eye."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from edge_client.face.gl.binding import GL
from edge_client.face.head import Head, Triangles

Floats = NDArray[np.float32]

_FLOAT = 4
_EYE_RINGS, _EYE_SPOKES = 5, 12  # small triangles are the main cost in software
_EYE_OPENING_RAD = 1.75
_SLICE, _CELLS = 0.5, 1023
"""Thickness of the slices in which the head is drawn, in head units, and cells of the curve within it, per axis."""


class HeadBuffers:
    """The head on the GPU: a buffer written for each picture, one written once, and the lists of triangles."""

    def __init__(self, head: Head) -> None:
        """Upload the head; needs a current context."""
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
        indexes = np.concatenate([near_first(head.points, head.triangles), head.lash_triangles, head.sheer_triangles])
        upload(GL.GL_ELEMENT_ARRAY_BUFFER, indexes)
        self._index_type, self._index_bytes = (GL.GL_UNSIGNED_INT, 4) if indexes.dtype == np.uint32 else (GL.GL_UNSIGNED_SHORT, 2)
        self._skin_count, self._lash_count, self._sheer_count = (
            part.size for part in (head.triangles, head.lash_triangles, head.sheer_triangles)
        )

    def write(self, vertices: Floats) -> None:
        """Upload the moving vertices, shape (moving, 6). The whole buffer is replaced, to avoid waiting for the GPU."""
        self._flow[: self._moving] = vertices
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, self._flow_buffer)
        GL.glBufferData(GL.GL_ARRAY_BUFFER, self._flow.nbytes, self._flow, GL.GL_STREAM_DRAW)

    def draw_skin(self) -> None:
        """Draw all opaque triangles."""
        self._draw(self._skin_count, 0)

    def draw_lashes(self) -> None:
        """Draw the lashes; they are translucent and need blending."""
        self._draw(self._lash_count, self._skin_count)

    def draw_sheer(self) -> None:
        """Draw the triangles with translucent paint."""
        self._draw(self._sheer_count, self._skin_count + self._lash_count)

    def _draw(self, count: int, first: int) -> None:
        GL.glBindVertexArray(self._array)
        GL.glDrawElements(GL.GL_TRIANGLES, count, self._index_type, ctypes.c_void_p(self._index_bytes * first))


def near_first(points: Floats, triangles: Triangles) -> Triangles:
    """Order triangles in slices from front to back, so that hidden parts are not shaded, and along a Z-order curve within each slice.

    Neighbours then follow each other, and a driver transforms a vertex that they share once: half as many in all for the built-in heads.
    Pure.
    """
    middles = points[triangles].mean(1)
    low, high = points.min(0), points.max(0)
    cells = ((middles - low) / np.maximum(high - low, 1e-6) * _CELLS).astype(np.int64)
    curve = np.zeros(len(middles), np.int64)
    for bit in range(_CELLS.bit_length()):
        for axis in range(3):
            curve |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    return triangles[np.lexsort((curve, -np.floor(middles[:, 2] / _SLICE)))]


class EyeBuffers:
    """The front of a unit sphere around +z."""

    def __init__(self) -> None:
        """Upload the sphere; needs a current context."""
        directions, tris = eye_sphere()
        self._array = GL.glGenVertexArrays(1)
        GL.glBindVertexArray(self._array)
        upload(GL.GL_ARRAY_BUFFER, directions)
        attribute(0, 3, 3, 0)
        upload(GL.GL_ELEMENT_ARRAY_BUFFER, tris)
        self._count = tris.size

    def draw(self) -> None:
        """Draw one eyeball."""
        GL.glBindVertexArray(self._array)
        GL.glDrawElements(GL.GL_TRIANGLES, self._count, GL.GL_UNSIGNED_SHORT, None)


def eye_sphere() -> tuple[Floats, NDArray[np.uint16]]:
    """Return directions (n, 3) on the unit sphere and triangles (m, 3), counter-clockwise from outside. Pure."""
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
    """How often to halve a picture of `rows` rows until it is nearest to `texels` rows, by ratio. Pure."""
    times = 0
    while rows > 2**0.5 * texels and rows % 2 == 0:
        rows, times = rows // 2, times + 1
    return times


def halved(pixels: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """Halve a picture's size the given number of times. Pure."""
    for _ in range(times):
        rows, columns = len(pixels) // 2, pixels.shape[1] // 2
        pixels = np.rint(pixels.reshape(rows, 2, columns, 2, -1).mean((1, 3))).astype(np.uint8)
    return pixels


def upload_texture(pixels: NDArray[np.uint8], *, levels: bool, tiled: bool = False) -> int:
    """Upload RGB or RGBA pixels, row 0 at the bottom; returns the texture. It repeats sideways, and also upwards if it is `tiled`.
    Needs a current context.

    `levels` adds mipmaps, for parts that appear small; choosing among them is expensive in software.
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
    """Use floats of the bound buffer as attribute `place` of the bound array; `stride` and `offset` count floats."""
    GL.glEnableVertexAttribArray(place)
    GL.glVertexAttribPointer(place, count, GL.GL_FLOAT, False, stride * _FLOAT, ctypes.c_void_p(offset * _FLOAT))


def upload(target: int, array: NDArray[np.generic]) -> int:
    """Make a buffer with static content, bound to `target`; returns its name."""
    whole = np.ascontiguousarray(array)
    buffer: int = GL.glGenBuffers(1)
    GL.glBindBuffer(target, buffer)
    GL.glBufferData(target, whole.nbytes, whole, GL.GL_STATIC_DRAW)
    return buffer
