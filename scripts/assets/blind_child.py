"""Child process of `scripts/assets/blind_pairs` and `make_pictures`: draws poses with the edge client on its path, which may be an old one.

Arguments: a file of poses (.npy), the pictures' width and height, the fields of `HeadLook` as JSON, or `{}` for a client that has none,
and the file to write (.npy): pictures, (poses, height, width, 3).
"""

from __future__ import annotations

import json
import sys

import numpy as np

from edge_client.face.renderer import Renderer
from edge_client.face.screens import open_renderer


def main(poses_file: str, size: tuple[int, int], look: dict[str, str], out: str) -> int:
    """Draw each pose."""
    renderer = _open(size, look)
    pictures = []
    for pose in np.load(poses_file):
        renderer.draw(pose)
        pictures.append(renderer.read().copy())
    renderer.close()
    np.save(out, np.stack(pictures))
    return 0


def _open(size: tuple[int, int], look: dict[str, str]) -> Renderer:
    if not look:
        return open_renderer(choice="gles", size=size, fullscreen=False, headless=True)
    from edge_client.face.detail import HeadLook  # not in old clients
    from edge_client.face.screens import open_face

    head_look = HeadLook(**look)  # type: ignore[arg-type]
    return open_face(choice="gles", size=size, fullscreen=False, headless=True, largest=size, head_look=head_look).renderer


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], (int(sys.argv[2]), int(sys.argv[3])), json.loads(sys.argv[4]), sys.argv[5]))
