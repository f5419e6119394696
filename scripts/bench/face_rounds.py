"""Child process of `scripts/bench/face --against`: draws pictures with the edge client on its path, which may be an old one.

Arguments: width, height, and as JSON the fields of `HeadLook` and the name of the `head`, or `{}` for a client that has neither. Each
line on standard input is a number of pictures to draw, or `memory`. The answer is one line: ms of CPU per picture, of all threads, or
the process's PSS in MB. It may use only what the edge client has had since before commit 2f3c5da.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import numpy as np

from edge_client.face.renderer import Renderer
from edge_client.face.screens import open_renderer
from edge_client.motion.pose import BLENDSHAPES, HEAD_ROTATION, Pose, neutral_pose

_PATIENCE_S = 300
"""The process ends if a line takes longer, or the next one does not come."""


def main(size: tuple[int, int], look: dict[str, str]) -> int:
    """Answer each line until standard input ends."""
    signal.alarm(_PATIENCE_S)
    renderer = _open(size, look)
    print(renderer.name, flush=True)
    drawn = 0
    for line in sys.stdin:
        signal.alarm(_PATIENCE_S)
        if line.strip() == "memory":
            print(_pss_mb(), flush=True)
            continue
        count, began_s = int(line), time.process_time()
        for index in range(drawn, drawn + count):
            renderer.draw(_pose(index / 30))
            renderer.show()
        drawn += count
        print((time.process_time() - began_s) * 1e3 / count, flush=True)
    renderer.close()
    return 0


def _open(size: tuple[int, int], look: dict[str, str]) -> Renderer:
    if not look:
        return open_renderer(choice="gles", size=size, fullscreen=True, headless=False)
    from edge_client.cast import DEFAULT_HEAD, head_file  # none of these in old clients
    from edge_client.face.detail import HeadLook
    from edge_client.face.screens import open_face

    file = head_file(look.pop("head", DEFAULT_HEAD))
    head_look = HeadLook(**look)  # type: ignore[arg-type]
    return open_face(choice="gles", size=size, fullscreen=True, headless=False, head_file=file, head_look=head_look).renderer


def _pose(at_s: float) -> Pose:
    """A speaking face that turns a little."""
    pose = neutral_pose()
    pose[BLENDSHAPES] = 0.25 + 0.25 * np.sin(at_s * np.linspace(3, 9, 52))
    pose[HEAD_ROTATION] = (0.0, 0.15 * np.sin(at_s), 0.0)
    return pose


def _pss_mb() -> float:
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return int(rollup.split("\nPss:", 1)[1].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main((int(sys.argv[1]), int(sys.argv[2])), json.loads(sys.argv[3])))
