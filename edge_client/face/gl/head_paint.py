"""The head's texture, from the file's bytes to the pixels that are uploaded."""

from __future__ import annotations

import io

import numpy as np
import pygame
from numpy.typing import NDArray

from edge_client.colours import FaceColours, recoloured
from edge_client.errors import AssetError
from edge_client.face.head import Head


def head_paint(head: Head, colours: FaceColours) -> NDArray[np.uint8]:
    """The texture, RGB or RGBA, row 0 at the top, in the colours that were chosen. Raises `AssetError`."""
    paint = read_picture(head.paint)
    if head.painted is None:
        return paint
    return recoloured(paint, colours, head.painted, read_picture(head.painted.regions))


def read_picture(file: bytes) -> NDArray[np.uint8]:
    """A picture as RGB, or RGBA if it is seen through: (height, width, 3 or 4), row 0 at the top. Raises `AssetError`."""
    try:
        picture = pygame.image.load(io.BytesIO(file), "head.png" if file.startswith(b"\x89PNG") else "head.jpg")
    except pygame.error as error:
        raise AssetError(f"the head's paint cannot be read: {error}") from error
    pixels = pygame.surfarray.array3d(picture).swapaxes(0, 1)
    if picture.get_masks()[3]:
        pixels = np.concatenate([pixels, pygame.surfarray.array_alpha(picture).T[..., None]], axis=2)
    return np.ascontiguousarray(pixels)
