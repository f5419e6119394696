"""The head's texture: from the bytes of the file to the pixels uploaded."""

from __future__ import annotations

import io

import numpy as np
import pygame
from numpy.typing import NDArray

from edge_client.colours import FaceColours, recoloured
from edge_client.errors import AssetError
from edge_client.face.head import Head


def head_paint(head: Head, colours: FaceColours) -> NDArray[np.uint8]:
    """Return the texture in the colours chosen: RGB or RGBA, row 0 at the top. Raises `AssetError`."""
    paint = read_picture(head.paint)
    if head.painted is None:
        return paint
    return recoloured(paint, colours, head.painted, read_picture(head.painted.regions))


def read_picture(file: bytes) -> NDArray[np.uint8]:
    """Decode a picture as RGB, or as RGBA if it has transparency: (height, width, 3 or 4), row 0 at the top. Raises `AssetError`."""
    try:
        picture = pygame.image.load(io.BytesIO(file), "head.png" if file.startswith(b"\x89PNG") else "head.jpg")
    except pygame.error as error:
        raise AssetError(f"the head's paint cannot be read: {error}") from error
    pixels = pygame.surfarray.array3d(picture).swapaxes(0, 1)
    if picture.get_masks()[3]:
        pixels = np.concatenate([pixels, pygame.surfarray.array_alpha(picture).T[..., None]], axis=2)
    return np.ascontiguousarray(pixels)
