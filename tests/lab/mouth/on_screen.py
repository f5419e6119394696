"""Compares the mouth on the screen with the opening that the mesh predicts, and its timing with the sound.

Relay and edge client play a recorded AvatarKit conversation (a generated one if none is named). The face is a window on a virtual X
server, which a second process reads: the stamp strip 600 times per second, and the mouth whenever the strip has changed. For each
picture this yields the stamped PTS, the time it was visible, and the mouth opening in pixels. Prints the number of pictures reported
and seen, the skew between audible sound and visible picture, and how closely the opening on the screen follows the prediction of rig
and camera for the same pose.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.cast import DEFAULT_HEAD, head_file
from edge_client.face.camera import Camera
from edge_client.face.head import load_head
from edge_client.face.idle import StillLife
from edge_client.face.picture_stamp import BLOCK_PX, STAMP_BLOCKS, stamp_of
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.render_loop import face_pose
from edge_client.face.renderer import Picture
from edge_client.face.rig import Rig
from relay_server.sources.recording import RecordingSource
from relay_server.sources.source import FileSpeech
from tests.lab.backend import Script
from tests.lab.face.pixels import mouth_opening_px
from tests.lab.face.read_stamp import read_stamp
from tests.lab.mouth.on_pictures import play
from tests.lab.recordings import write_recording
from tests.lab.tool import command_line

READ_S = 1 / 600
BEYOND_LIMIT_MS, OPENING_R_LEAST = 20.0, 0.95
_START_S = 20.0


@dataclass(frozen=True, slots=True)
class Told:
    """A picture as reported by the client. Times are CLOCK_MONOTONIC in µs."""

    stamp: int
    shown_us: int
    heard_pts_us: int
    shown_pts_us: int
    predicted_px: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture as read by the second process. It appeared between two reads, at `before_us` and `time_us`."""

    stamp: int
    before_us: int
    time_us: int
    opening_px: float


@dataclass(frozen=True, slots=True)
class Truth:
    """The results, in ms. `beyond_ms` is the p99 of the absolute skew minus the picture interval."""

    told: int
    seen: int
    known: int
    """Number of pictures seen whose stamp the client reported."""
    reads_per_second: float
    interval_ms: float
    skew_p50_ms: float
    skew_p99_ms: float
    beyond_ms: float
    opening_r: float
    openings: int


class Teller(PictureObserver):
    """Records each picture shown during speech, with the opening that rig and camera predict for its pose."""

    def __init__(self, size: tuple[int, int], head_name: str) -> None:
        head = load_head(head_file(head_name))
        self._rig, self._camera, self._lips = Rig(head), Camera(*size), list(head.lips)
        self._still = StillLife()
        self.told: list[Told] = []

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """See `PictureObserver`."""
        pts_us, heard_us = picture.view.shown_pts_us, picture.heard_pts_us
        if pts_us is None or heard_us is None:
            return
        pose = face_pose(self._still.pose(0), picture.view)
        lips = self._rig.vertices(pose)[self._lips, :3]
        turn = self._rig.turn(pose)
        upper, lower = self._camera.pixels(np.asarray(lips @ turn[:3, :3].T + turn[:3, 3], np.float32))
        predicted = max(0.0, float(lower[1] - upper[1]))
        self.told.append(Told(stamp_of(pts_us), picture.shown_time_us, heard_us, pts_us, predicted))


@contextmanager
def virtual_display(size: tuple[int, int]) -> Iterator[str]:
    """Run an X server without a screen; yields its name, such as ":7". Raises `FileNotFoundError` if Xvfb is not installed."""
    read_end, write_end = os.pipe()
    screen = f"{size[0]}x{size[1]}x24"
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", screen, "-nolisten", "tcp", "-noreset"]
    try:
        server = subprocess.Popen(command, pass_fds=[write_end], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        os.close(write_end)
    try:
        with os.fdopen(read_end) as answer:
            number = answer.readline().strip()
        if not number:
            raise RuntimeError("Xvfb did not start")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(10)


def _read_screen(display_name: str, size: tuple[int, int], stop: Any, ready: Any, out: str) -> None:
    """Body of the second process: read the screen until `stop` is set, then write the pictures seen."""
    from Xlib import X
    from Xlib.display import Display

    display = Display(display_name)
    root = display.screen().root
    width, height = size
    half = round(0.2 * min(width, height * 0.9)) + 1
    left, top, bottom = width // 2 - half, round(0.5 * height), round(0.98 * height)

    def grab(x: int, y: int, wide: int, high: int) -> NDArray[np.uint8]:
        data = root.get_image(x, y, wide, high, X.ZPixmap, 0xFFFFFFFF).data
        return np.frombuffer(data, np.uint8).reshape(high, wide, 4)[..., 2::-1]

    def strip() -> int | None:
        return read_stamp(np.repeat(grab(0, height - BLOCK_PX // 2 - 1, STAMP_BLOCKS * BLOCK_PX, 1), BLOCK_PX, axis=0))

    seen: list[tuple[int, int, int, float]] = []
    canvas = np.zeros((height, width, 3), np.uint8)
    last, before_us, reads, began = strip(), time.monotonic_ns() // 1_000, 0, time.monotonic()
    ready.set()
    while not stop.is_set():
        stamp, now_us = strip(), time.monotonic_ns() // 1_000
        reads += 1
        if stamp is not None and stamp != last:
            canvas[top:bottom, left : left + 2 * half] = grab(left, top, 2 * half, bottom - top)
            whole = strip() == stamp  # otherwise the mouth may be the next picture's
            seen.append((stamp, before_us, now_us, mouth_opening_px(canvas) if whole else -1.0))
            last = stamp
        before_us = time.monotonic_ns() // 1_000
        time.sleep(READ_S / 2)
    Path(out).write_text(json.dumps({"reads_per_second": reads / (time.monotonic() - began), "seen": seen}))


def look(recording: Path, size: tuple[int, int], folder: Path, pictures_per_second: float, head: str = DEFAULT_HEAD) -> Truth:
    """Play the recording and read the screen; `head` is the setting. Main thread only; takes as long as the recording."""
    context = multiprocessing.get_context("spawn")
    stop, ready, teller = context.Event(), context.Event(), Teller(size, head)
    out = folder / "seen.json"
    with virtual_display(size) as display:
        os.environ["DISPLAY"] = display
        os.environ.pop("WAYLAND_DISPLAY", None)
        os.environ["SDL_VIDEO_WINDOW_POS"] = "0,0"
        reader = context.Process(target=_read_screen, args=(display, size, stop, ready, str(out)), daemon=True)
        reader.start()
        if not ready.wait(_START_S):
            raise RuntimeError("the reader of the screen did not start")
        script = Script(RecordingSource(), FileSpeech(recording), recording.name)
        try:
            play(
                script,
                folder,
                observers=[teller],
                renderer="gles",
                size=size,
                fullscreen=True,
                stamp=True,
                idle_life=False,
                head=head,
                pictures_per_second=pictures_per_second,
            )
        finally:
            stop.set()
            reader.join(_START_S)
    read = json.loads(out.read_text())
    return _judge(teller.told, [Seen(*row) for row in read["seen"]], float(read["reads_per_second"]))


def _judge(told: list[Told], seen: list[Seen], reads_per_second: float) -> Truth:
    by_stamp = {picture.stamp: picture for picture in told}
    pairs = [(by_stamp[picture.stamp], picture) for picture in seen if picture.stamp in by_stamp]
    shown_us = np.array([picture.shown_us for picture in told], np.float64)
    heard_us = np.array([picture.heard_pts_us for picture in told], np.float64)
    # A picture is taken to appear midway between two reads. The PTS heard at that time is interpolated between pictures.
    came_us = np.array([(picture.before_us + picture.time_us) / 2 for _, picture in pairs])
    skew_ms = (np.interp(came_us, shown_us, heard_us) - [one.shown_pts_us for one, _ in pairs]) / 1e3
    interval_ms = float(np.median(np.diff(shown_us))) / 1e3
    p99 = float(np.quantile(np.abs(skew_ms), 0.99))
    measured = [(one.predicted_px, other.opening_px) for one, other in pairs if other.opening_px >= 0]
    predicted, opening = np.array(measured).T
    return Truth(
        told=len(told),
        seen=len(seen),
        known=len(pairs),
        reads_per_second=reads_per_second,
        interval_ms=interval_ms,
        skew_p50_ms=float(np.median(skew_ms)),
        skew_p99_ms=p99,
        beyond_ms=p99 - interval_ms,
        opening_r=float(np.corrcoef(predicted, opening)[0, 1]),
        openings=len(measured),
    )


def main() -> int:
    """Play, read and print; returns 1 if a target is missed."""
    parser = command_line("mouth/on_screen", __doc__)
    parser.add_argument("recording", nargs="?", type=Path, metavar="RECORDING.json")
    parser.add_argument("--size", default="800x480", metavar="WxH")
    parser.add_argument("--pictures-per-second", type=float, default=30.0, metavar="N")
    parser.add_argument("--head", default=DEFAULT_HEAD, metavar="NAME|FILE", help="which head (default: %(default)s)")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = arguments.recording or write_recording(folder / "made.json")
        truth = look(recording, (width, height), folder, arguments.pictures_per_second, arguments.head)
    for field in truth.__dataclass_fields__:
        value = getattr(truth, field)
        print(f"{field:18} {value:.3f}" if isinstance(value, float) else f"{field:18} {value}")
    aims = {
        f"skew's p99 at most {BEYOND_LIMIT_MS:g} ms beyond the interval: {truth.beyond_ms:.1f} ms": truth.beyond_ms <= BEYOND_LIMIT_MS,
        f"opening as the mesh's, r at least {OPENING_R_LEAST:g}: {truth.opening_r:.3f}": truth.opening_r >= OPENING_R_LEAST,
    }
    for aim, held in aims.items():
        print("held  " if held else "MISSED", aim)
    return 0 if all(aims.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
