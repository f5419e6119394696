"""`scripts/bench/face`: the CPU cost of a picture, in a real window on a virtual X server.

Rounds of the variants alternate, so that other load on the machine affects all of them:
- `ours`: a picture as the stage makes it: idle motion, pose, rig, upload, draw, show. CPU of all threads of the process.
- `python`: the same with GL calls that do nothing: our Python and numpy. The difference to `ours` is the driver (and, in software,
  the rasteriser).
- `bare`: clear and flip, the minimum cost of any picture on this machine.
Then the stage draws for a minute, paced as on a device: pictures per second, and the longest pause between two of them. Finally the
memory (PSS) of the whole client with its speaker process, with and without the face. The wrapper requests GLES 3.1 from the driver,
as on a Raspberry Pi.

With `--against COMMIT` only the drawing process is measured, compared with that of the commit (`face_against`).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_client.audio.timeline import Position
from edge_client.face import gles as gles_module
from edge_client.face.answers import FaceAnswers
from edge_client.face.gl import backdrop, board, eyes, frame, hair, meshes, program, readback
from edge_client.face.gl.binding import GL
from edge_client.face.idle import IdleLife
from edge_client.face.pictures import PictureObserver, ShownPicture
from edge_client.face.render_loop import RenderLoop, face_pose
from edge_client.face.renderer import Picture, Renderer
from edge_client.face.screens import open_renderer
from edge_client.motion.pose import neutral_pose
from edge_client.playback.events import PlayerState, View
from scripts.bench.face_against import compare
from scripts.bench.playout_cost import measure
from tests.lab.ground_truth.station import Setup, station
from tests.lab.mouth.on_screen import virtual_display
from tests.lab.programs import ProgramError

PICTURES_PER_ROUND = 30
PYTHON_LIMIT_PERCENT, FACE_LIMIT_MB, FACELESS_LIMIT_MB = 10.0, 240.0, 120.0
SLOWEST_PER_SECOND = 30.0
_GL_USERS = (gles_module, backdrop, board, eyes, frame, hair, meshes, program, readback)


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians over the rounds, in ms per picture."""

    cpu_ms: float
    wall_ms: float


@dataclass(frozen=True, slots=True)
class Sustained:
    """Results of a paced interval."""

    seconds: float
    pictures_per_second: float
    skipped: int
    longest_pause_ms: float
    pauses_over_two: int
    """Number of pauses that are more than two picture intervals too long, that is, longer than three."""
    cpu_percent: float
    """CPU of all threads, in per cent of one core."""


class _NoGl:
    """A GL whose calls do nothing; constants keep their values, and questions get their answers."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        return value if name.startswith(("GL_", "glGet")) else _nothing


def _nothing(*_: Any) -> None:
    return None


class _Speech:
    """A player that always speaks; every weight changes."""

    def view(self, now_us: int) -> View:
        """See `ViewSource`."""
        pose = neutral_pose()
        pose[:52] = 0.25 + 0.25 * np.sin(now_us * 1e-6 * np.linspace(3, 9, 52))
        return View(PlayerState.PLAYING, "bench", now_us, pose, 1.0, now_us)

    def audible(self, now_us: int) -> Position:
        """See `ViewSource`."""
        return Position("bench", now_us)

    def analyse_sound(self) -> None:
        """Do nothing: there is no sound."""

    @property
    def state(self) -> PlayerState:
        """See `ViewSource`."""
        return PlayerState.PLAYING


class _Pauses(PictureObserver):
    """Records when pictures were shown."""

    def __init__(self) -> None:
        self.times_us: list[int] = []

    def shown(self, picture: ShownPicture, pixels: Picture | None) -> None:
        """See `PictureObserver`."""
        self.times_us.append(picture.shown_time_us)


def costs(renderer: Renderer, rounds: int) -> dict[str, Cost]:
    """Measure all three variants in turn."""
    life, scene, gl = IdleLife(1), _Speech(), GL
    without = _NoGl(gl)

    def pose_at(index: int) -> Any:
        return face_pose(life.pose(index / 30), scene.view(index * 33_333))

    def ours(index: int) -> None:
        renderer.draw(pose_at(index))
        renderer.show()

    def python(index: int) -> None:
        renderer.draw(pose_at(index))

    def bare(index: int) -> None:
        gl.glClearColor(0.1, 0.1, 0.1 + 0.01 * (index % 10), 1.0)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT)
        renderer.show()

    found: dict[str, list[Cost]] = {"ours": [], "python": [], "bare": []}
    for turn in range(rounds + 1):
        for name, picture in (("ours", ours), ("bare", bare)):
            found[name].append(_round(picture, turn))
        _set_gl(without)
        try:
            found["python"].append(_round(python, turn))
        finally:
            _set_gl(gl)
    return {
        name: Cost(statistics.median(cost.cpu_ms for cost in of[1:]), statistics.median(cost.wall_ms for cost in of[1:]))
        for name, of in found.items()
    }


def _round(picture: Callable[[int], None], turn: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    for index in range(PICTURES_PER_ROUND):
        picture(turn * PICTURES_PER_ROUND + index)
    factor = 1e3 / PICTURES_PER_ROUND
    return Cost((time.process_time() - cpu) * factor, (time.perf_counter() - wall) * factor)


def _set_gl(gl: Any) -> None:
    for module in _GL_USERS:
        module.GL = gl  # type: ignore[attr-defined]


def sustained(renderer: Renderer, seconds: float, pictures_per_second: float) -> Sustained:
    """Draw at the client's pace for `seconds`."""
    pauses = _Pauses()
    answers = FaceAnswers(_Speech())
    stage = RenderLoop(
        source=answers,
        renderer=renderer,
        life=IdleLife(1),
        clock_us=lambda: time.monotonic_ns() // 1_000,
        sleep_s=time.sleep,
        observers=(pauses,),
        pictures_per_second=pictures_per_second,
    )
    stage.warm_up(is_read=False)
    gc.collect()
    gc.freeze()
    pauses.times_us.clear()
    until, cpu = time.monotonic() + seconds, time.process_time()
    stage.run(lambda: time.monotonic() >= until)
    gaps_ms = np.diff(pauses.times_us) / 1e3
    return Sustained(
        seconds=seconds,
        pictures_per_second=float(1e3 / gaps_ms.mean()),
        skipped=answers.summary().frames_skipped,
        longest_pause_ms=float(gaps_ms.max()),
        pauses_over_two=int((gaps_ms > 3e3 / pictures_per_second).sum()),
        cpu_percent=(time.process_time() - cpu) / seconds * 100,
    )


async def memory(renderer: str, size: tuple[int, int]) -> dict[str, float]:
    """PSS in MB of the client and of its child processes, a few seconds after the start."""
    with tempfile.TemporaryDirectory() as name:
        settings = Setup(renderer=renderer, size=size)
        async with station(Path(name), settings) as stand:
            await asyncio.sleep(2.0)
            pids = {"main": stand.edge.pid, "speaker": stand.speaker_pid()}
            pids |= {} if renderer == "none" else {"face": stand.child_pid("edge_client.face_process")}
            found = await measure(pids, 1.0)
    return {part: round(cost.pss_mb, 1) for part, cost in found.items()}


def main() -> int:
    """Measure and print; returns 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="scripts/bench/face", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the paced stretch (default: 60)")
    parser.add_argument("--pictures-per-second", type=float, default=31.0, help="asked of the paced stretch (default: 31)")
    parser.add_argument("--size", default="800x480", metavar="WxH")
    parser.add_argument("--no-memory", action="store_true", help="leave the whole client out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")
    parser.add_argument("--against", metavar="COMMIT", help="compare CPU and memory with those of a commit instead, such as 2f3c5da")
    parser.add_argument("--look", type=_look, default="detail=low", help="with --against: detail=…,hair=…,head=… (default: detail=low)")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    os.environ.update(WAYLAND_DISPLAY="", SDL_VIDEO_WINDOW_POS="0,0")
    if arguments.against is not None:
        return 1 if compare(arguments.against, (width, height), 4 * arguments.rounds, arguments.look).report() else 0
    with virtual_display((width, height)) as display:
        os.environ.update(DISPLAY=display)
        renderer = open_renderer(choice="gles", size=(width, height), fullscreen=True, headless=False)
        name = renderer.name
        found = costs(renderer, arguments.rounds)
        paced = sustained(renderer, arguments.seconds, arguments.pictures_per_second)
        renderer.close()
    pss = {} if arguments.no_memory else {kind: asyncio.run(memory(kind, (width, height))) for kind in ("gles", "none")}
    failed = _report(name, found, paced, pss)
    if arguments.json is not None:
        figures = {"costs": {part: asdict(cost) for part, cost in found.items()}, "sustained": asdict(paced), "pss_mb": pss}
        arguments.json.write_text(json.dumps({"machine": f"{platform.machine()}, {os.cpu_count()} cores", "renderer": name} | figures))
    return 1 if failed else 0


def _look(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name in ("detail", "hair", "head") and value for name, _, value in pairs):
        raise argparse.ArgumentTypeError(f"{text!r}: takes detail=…, hair=… and head=…, separated by commas")
    return {name: value for name, _, value in pairs}


def _report(name: str, found: dict[str, Cost], paced: Sustained, pss: dict[str, dict[str, float]]) -> list[str]:
    """Print the figures and whether each target was met; returns the missed targets."""
    ours, python, bare = found["ours"], found["python"], found["bare"]
    print(f"{name}; {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"a picture          {ours.cpu_ms:6.2f} ms CPU  {ours.wall_ms:6.2f} ms")
    print(f"  our Python       {python.cpu_ms:6.2f} ms CPU  = {python.cpu_ms * 3:.1f} % of a core at 30 a second")
    print(f"  the driver       {ours.cpu_ms - python.cpu_ms:6.2f} ms CPU")
    print(f"bare clear-and-flip{bare.cpu_ms:6.2f} ms CPU  {bare.wall_ms:6.2f} ms")
    print(
        f"paced for {paced.seconds:.0f} s: {paced.pictures_per_second:.2f} pictures/s, {paced.skipped} skipped, "
        f"longest pause {paced.longest_pause_ms:.0f} ms, {paced.pauses_over_two} stutters of more than two pictures, "
        f"{paced.cpu_percent:.0f} % of a core"
    )
    for kind, parts in pss.items():
        print(f"memory, renderer {kind}: " + ", ".join(f"{part} {size:.1f} MB" for part, size in parts.items()) + " PSS")
    failed = []
    for aim, figure, most in _aims(python, paced, pss):
        held = figure <= most
        failed += [] if held else [aim]
        print(f"{'held  ' if held else 'MISSED'} {aim}: {figure:.1f}, at most {most:g}")
    return failed


def _aims(python: Cost, paced: Sustained, pss: dict[str, dict[str, float]]) -> list[tuple[str, float, float]]:
    """The targets: name, figure, and upper limit."""
    aims = [
        ("our Python, % of a core at 30 pictures a second", python.cpu_ms * 3, PYTHON_LIMIT_PERCENT),
        ("ms from picture to picture, paced", 1e3 / paced.pictures_per_second, 1e3 / SLOWEST_PER_SECOND),
        ("stutters of more than two pictures", paced.pauses_over_two, 0),
    ]
    if pss:
        aims.append(("memory with the face, MB", sum(pss["gles"].values()), FACE_LIMIT_MB))
        aims.append(("memory without it, MB", sum(pss["none"].values()), FACELESS_LIMIT_MB))
    return aims


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ProgramError, FileNotFoundError) as error:
        sys.exit(f"scripts/bench/face: {error}")
