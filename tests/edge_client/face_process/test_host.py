"""The face process as the core sees it: real processes that are killed, stopped, held up, and that crash."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from edge_client.children.supervision import ChildState
from edge_client.config import EdgeConfig
from edge_client.face.answers import FaceAnswers
from edge_client.face_process.host import FaceProcess
from edge_client.face_process.messages import Watcher
from edge_client.recording.film import Film, create_film_memory
from tests.edge_client.face_process.hosted import PATIENCE_S, Hosted, Speaking, hosted
from tests.lab.data import PROJECT_ROOT

FLAT = EdgeConfig(headless=True, renderer="flat", size=(320, 240))
AUTO = EdgeConfig(headless=True, renderer="auto", size=(320, 240))


@pytest.fixture(autouse=True)
def children_find_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """For any working directory."""
    monkeypatch.setenv("PYTHONPATH", f"{PROJECT_ROOT}:{PROJECT_ROOT / 'proto'}")


def skews_ms(pictures: list[float]) -> list[float]:
    """Without the first, whose lead is a guess."""
    return sorted(abs(skew) for skew in pictures[10:])


def test_pictures_are_asked_for_and_told() -> None:
    """Pictures are requested and reported with their skew; the process ends in order."""
    with hosted(FLAT) as found:
        found.wait_for(lambda: len(found.told.pictures) > 60)
        pid = found.pid()
    skews = skews_ms([(picture.skew_us or 0) / 1e3 for picture in found.told.pictures])
    assert skews[len(skews) // 2] < 40, "also on a busy machine"
    assert found.status().name.startswith("the vector face, off-screen")
    assert found.answers.summary().frames_shown >= 60
    assert not Path(f"/proc/{pid}/stat").exists()


def test_off_screen_nothing_is_drawn_for_nobody() -> None:
    """Two pictures prove that it can draw; then the process rests, and ends on request."""
    answers = FaceAnswers(Speaking())
    face = FaceProcess(FLAT, answers, name="test", is_watched=False, on_closed=lambda: None)
    face.start()
    try:
        assert face.was_tried.wait(PATIENCE_S)
        time.sleep(1.0)
        assert answers.summary().frames_shown == 1, "the second one is not told of"
        assert face.status().state is ChildState.RUNNING
    finally:
        began = time.monotonic()
        face.close()
    assert time.monotonic() - began < 2.0


@pytest.mark.alone
def test_killed_or_stopped_it_is_back() -> None:
    """Its numbers restart without confusion; the film continues."""
    memory = create_film_memory()
    with hosted(FLAT, film=memory) as found:
        found.wait_for(lambda: len(found.told.pictures) > 30)
        assert found.back_after(lambda pid: os.kill(pid, signal.SIGKILL)) < 5
        found.wait_for(lambda: len(found.told.pictures) > 60)
        assert found.back_after(lambda pid: os.kill(pid, signal.SIGSTOP)) < 8
        assert found.status().restarts == 2
        assert "no sign of life" in found.status().restart_reason
    times = [picture.shown_time_us for picture in found.told.pictures]
    assert times == sorted(times)
    film = [still.time_us for still in Film(memory).stills]
    assert film == sorted(film)
    assert len(set(film) - set(times)) <= 3, "all but the last picture of each process were told of"
    assert max(later - earlier for earlier, later in pairwise(film)) > 300_000


def test_a_core_that_is_held_up_stops_no_picture() -> None:
    """Pictures without a reply are counted; those after it have theirs."""
    with hosted(FLAT) as found:
        found.player.hold_s = 0.3
        found.wait_for(lambda: found.answers.unanswered > 10)
        found.player.hold_s = 0.0
        before = len(found.told.pictures)
        found.wait_for(lambda: len(found.told.pictures) > before + 10)
        assert found.status().restarts == 0


def test_a_renderer_that_crashes_twice_gives_way() -> None:
    """A renderer that crashes twice is replaced by the vector face; the reason is reported."""
    with hosted(AUTO, [Watcher("tests.edge_client.face_process.hosted:AbortInGl", "3")]) as found:
        found.wait_for(lambda: found.status().kind == "flat" and found.runs(2))
        assert "gles: it crashed repeatedly" in found.status().reason


@pytest.mark.slow
def test_a_renderer_that_hangs_twice_gives_way() -> None:
    """A renderer that hangs is replaced after ten seconds without a picture, each time."""
    with hosted(AUTO, [Watcher("tests.edge_client.face_process.hosted:HangInGl", "3")]) as found:
        found.wait_for(lambda: found.status().kind == "flat" and found.runs(2), 60)


def test_kills_by_others_are_no_crashes() -> None:
    """GLES is kept, although it is killed twice."""
    with hosted(AUTO) as found:
        for _ in range(2):
            found.back_after(lambda pid: os.kill(pid, signal.SIGKILL))
        assert found.status().kind == "gles"


def test_what_cannot_be_drawn_is_tried_again_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renderer of another package that refuses; later it can draw."""
    package = tmp_path / "leds-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: leds\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[edge_client.renderers]\nleds = leds:open_leds\n")
    (tmp_path / "leds.py").write_text(
        "from pathlib import Path\n"
        "from edge_client.errors import ScreenError\n"
        "from edge_client.face.renderer import Wish\n"
        "class Leds:\n"
        "    name, size = 'lights', (1, 1)\n"
        "    def draw(self, pose, *, overlay=None, stamp=None): pass\n"
        "    def show(self): pass\n"
        "    def poll(self): return Wish.NONE\n"
        "    def close(self): pass\n"
        "def open_leds(config):\n"
        f"    if not Path({str(tmp_path / 'there')!r}).exists():\n"
        "        raise ScreenError('no lights are plugged in')\n"
        "    return Leds()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{PROJECT_ROOT}:{PROJECT_ROOT / 'proto'}")
    found = Hosted(EdgeConfig(renderer="leds"), (), None)
    found.face.start()
    try:
        found.wait_for(lambda: found.status().reason == "no lights are plugged in")
        (tmp_path / "there").touch()
        found.wait_for(lambda: found.status().name == "lights")
        found.wait_for(found.runs)
    finally:
        found.face.close()
