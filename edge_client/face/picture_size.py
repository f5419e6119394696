"""The size at which a picture is drawn: if the CPU draws, no larger than it can draw at the required rate. Pure."""

from __future__ import annotations


def bounded(window: tuple[int, int], largest: tuple[int, int] | None, rotation: int = 0) -> tuple[int, int]:
    """The size of the picture for a window: of the same shape, with no more pixels than `largest`; None for no bound.

    `rotation`: rotation of the picture in the window in degrees, a multiple of 90.
    """
    size = window if rotation % 180 == 0 else (window[1], window[0])
    pixels, most = size[0] * size[1], largest[0] * largest[1] if largest is not None else 0
    if not most or pixels <= most:
        return size
    scale = (most / pixels) ** 0.5
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
