"""A short part of `scripts/ground_truth`: real processes, the output of a sound device, and the screen seen by another process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyaudio")
pytest.importorskip("Xlib")
from tests.lab.backend import CLIP
from tests.lab.ground_truth import scenarios
from tests.lab.ground_truth.scenarios import Talk
from tests.lab.ground_truth.speech import load_material
from tests.lab.ground_truth.station import Setup
from tests.lab.sound_card.paced_card import build_library

pytestmark = pytest.mark.alone

DEEP = "buffer_min 8192"
"""A sound device with 170 ms of buffer: the effect of load on one with 20 ms is not tested here."""

BUSY_LOAD = 4.0
"""Above this load of the machine, other processes may deliver the sound too late."""


@pytest.fixture(scope="module", autouse=True)
def needed() -> None:
    """Skips if there is no compiler for the sound device, or no X server."""
    build_library()
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")


@pytest.fixture(scope="session")
def long_talk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Forty seconds of speech, played in parallel with the following tests; with the path of its report."""
    report = tmp_path_factory.mktemp("long-talk") / "report.json"
    command = [
        sys.executable,
        "-P",
        "-m",
        "tests.lab.ground_truth.main",
        "lip-sync",
        "--seconds",
        "40",
        "--renderer",
        "none",
        "--deep-buffer",
    ]
    process = subprocess.Popen([*command, "--json", str(report)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield process, report
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.usefixtures("long_talk")
async def test_sound_and_face_from_outside(tmp_path: Path) -> None:
    """Two conversations: every sample plays once, face and sound are in sync, and the client's own figures agree."""
    setup = Setup(renderer="flat", size=(480, 320), device_fields=DEEP)
    report = await scenarios.lip_sync(tmp_path, setup, await load_material(CLIP), Talk(5.0, 2.5))
    assert report["sound"]["whole"], report["sound"]
    if max(report["load"]) < BUSY_LOAD:
        assert report["sound"]["underruns"] <= 1  # a shared machine stalls at times
    assert report["screen"]["reads_per_second"] > 200
    assert report["screen"]["pictures"] > 50
    assert abs(report["skew_at_pictures_ms"]["p50"]) <= 2
    assert abs(report["client_minus_truth_ms"]["p50"]) <= 2
    assert report["client_minus_truth_ms"]["p95"] <= 6
    assert abs(report["client_clock_error_ms"]["p99"]) <= 0.1


async def in_one_of_three(measure: Callable[[Path], Awaitable[bool]], folder: Path) -> bool:
    """Measure again if a run missed its bound: a shared machine stalls at times."""
    for run in ("first", "second", "third"):
        (folder / run).mkdir()
        if await measure(folder / run):
            return True
    return False


async def test_first_sound_and_silence_come_soon(tmp_path: Path) -> None:
    """From the first payload to the first audible sample, and from an interrupt to silence, by the device's own log."""

    async def soon(folder: Path) -> bool:
        report = await scenarios.latency(folder, Setup(), await load_material(CLIP), 3)
        first, silent = report["first_payload_to_sound_ms"]["p50"], report["publisher_interrupt_to_silence_ms"]["p50"]
        return bool(first <= 40 and silent <= 60)

    assert await in_one_of_three(soon, tmp_path)


@pytest.mark.late
@pytest.mark.timeout(120)
def test_a_long_talk_is_heard_as_it_was_sent(long_talk: tuple[subprocess.Popen[bytes], Path]) -> None:
    """Identical to the sample, none lost at start or end, under any other load."""
    process, report = long_talk
    assert process.wait(110) == 0
    sound = json.loads(report.read_text(encoding="utf-8"))["sound"]
    assert sound["whole"], sound
    assert sound["heard_seconds"] == 40.0
    assert sound["lost_ms"] == sound["foreign_frames"] == sound["unheard_at_end_ms"] == 0


@pytest.mark.late
async def test_busy_threads_beside_it_do_not_harm_the_sound(tmp_path: Path) -> None:
    """Two Python threads in a busy loop in the client's main process: everything plays, and the device never runs dry."""
    setup = Setup(renderer="none", device_fields=DEEP, busy_threads=2)

    async def undisturbed(folder: Path) -> bool:
        report = await scenarios.lip_sync(folder, setup, await load_material(CLIP), Talk(4.0, 4.0))
        assert report["sound"]["whole"], report["sound"]
        assert report["sound"]["device_xruns"] == 0
        return bool(report["sound"]["underruns"] == 0)

    assert await in_one_of_three(undisturbed, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("busy_threads", [0, 2])
async def test_a_minute_is_heard_to_the_last_sample(tmp_path: Path, busy_threads: int) -> None:
    """With the client's default buffer sizes."""
    setup = Setup(renderer="none", busy_threads=busy_threads)
    report = await scenarios.lip_sync(tmp_path, setup, await load_material(CLIP), Talk(60.0, 20.0))
    assert report["sound"]["whole"], report["sound"]
    assert report["sound"]["underruns"] == report["sound"]["device_xruns"] == 0
