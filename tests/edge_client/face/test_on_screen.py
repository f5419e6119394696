"""The window as displayed by an X server, read by a second process while the real device speaks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_client.cast import CAST, DEFAULT_HEAD
from tests.lab.data import shared_data
from tests.lab.mouth.on_screen import BEYOND_LIMIT_MS, OPENING_R_LEAST, Truth, look
from tests.lab.recordings import write_recording

# In the suite, `test_window.py` compares the screen with the picture drawn, `test_gles.py` the mouth with the mesh, and
# `tests/test_ground_truth.py` the time on the screen with the sound.
pytestmark = pytest.mark.slow

SIZE = (800, 480)


@pytest.fixture(autouse=True)
def needs_xvfb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped if there is none; the environment is restored afterwards."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEO_WINDOW_POS"):
        monkeypatch.setenv(name, "")


def assert_seen_as_told(truth: Truth) -> None:
    """Every picture seen is identified by its stamp, hardly one was missed, and its mouth is as open as the mesh predicts."""
    assert truth.known >= truth.seen - 5  # what preceded and followed the pictures
    assert truth.known >= 0.95 * truth.told
    assert truth.reads_per_second >= 100
    assert truth.opening_r >= OPENING_R_LEAST
    assert abs(truth.skew_p50_ms) <= truth.interval_ms + 20


def test_some_seconds_of_a_made_conversation(tmp_path: Path) -> None:
    """The lateness of single pictures on a busy machine is not judged here; `tests/lab/mouth/on_screen.py` prints it."""
    truth = look(write_recording(tmp_path / "made.json", windows=(25, 50)), SIZE, tmp_path, 30.0)
    assert truth.openings > 12
    assert_seen_as_told(truth)


@pytest.mark.parametrize("name", [name for name in CAST if name != DEFAULT_HEAD])
def test_some_seconds_of_each_head(tmp_path: Path, name: str) -> None:
    """The mouth on the screen follows the mesh on every built-in head."""
    assert_seen_as_told(look(write_recording(tmp_path / "made.json", windows=(25, 50)), SIZE, tmp_path, 30.0, name))


@pytest.mark.timeout(120)
def test_a_real_conversation(tmp_path: Path) -> None:
    """20 s: the p99 of the skew is at most 20 ms more than the interval of the pictures."""
    truth = look(shared_data("avatarkit-recording-16k.json"), SIZE, tmp_path, 30.0)
    assert truth.openings > 400
    assert_seen_as_told(truth)
    assert truth.beyond_ms <= BEYOND_LIMIT_MS
