"""Calibration of a sound card's offset by clicks and a mouth: its sound, its input, and the whole command on a paced card."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_NAMES
from edge_client import cli
from edge_client.audio.card_memory import CardMemory
from edge_client.calibration.content import CLICKS, KEYFRAMES_PER_SECOND, PERIOD_S, RATE_HZ, Typed, clicks, mouth, read_typed

pytest.importorskip("pyaudio")
from tests.edge_client.audio.sinks.playing import ArrayFeed, make_noise
from tests.lab.programs import python
from tests.lab.sound_card.paced_card import PacedDevice, deep_paced_device, paced_library

__all__ = ["deep_paced_device", "paced_library"]


@pytest.mark.parametrize("shift_ms", [-2_500, -500, -30, 0, 120, 1_740, 2_500])
def test_the_mouth_opens_so_much_after_each_click(shift_ms: float) -> None:
    """To within a keyframe."""
    sound = np.abs(np.frombuffer(clicks(), "<i2").astype(int)) > 100
    heard_s = np.flatnonzero(sound[1:] & ~sound[:-1]) / RATE_HZ
    heard_s = heard_s[np.diff(heard_s, prepend=-1) > 1]
    jaw = np.frombuffer(mouth(shift_ms), "<f4").reshape(-1, len(ARKIT_NAMES))[:, ARKIT_NAMES.index("jawOpen")]
    seen_s = np.flatnonzero(np.diff(jaw) > 0) / KEYFRAMES_PER_SECOND
    wanted_s = heard_s + shift_ms / 1_000
    wanted_s = wanted_s[(wanted_s > 0) & (wanted_s < len(jaw) / KEYFRAMES_PER_SECOND - 0.1)]
    assert len(heard_s) == CLICKS and len(seen_s) == len(wanted_s) >= CLICKS - 1
    assert np.abs(seen_s - wanted_s).max() <= 1 / KEYFRAMES_PER_SECOND + 1e-3


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("+20\n", Typed(offset_ms=120)),
        ("-110", Typed(offset_ms=-10)),
        (" 140 \n", Typed(offset_ms=140)),
        ("\n", Typed(keep=True)),
        ("Q\n", Typed(leave=True)),
        (None, Typed(leave=True)),
        ("nan", Typed()),
        ("+1e9", Typed()),
        ("later", Typed()),
    ],
)
def test_what_a_person_types(line: str | None, typed: Typed) -> None:
    assert read_typed(line, 100) == typed


def test_an_offset_is_given_and_counts(
    deep_paced_device: PacedDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For this card."""
    from edge_client.audio.sinks.pyaudio import PyAudioSink

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert cli.main(["calibrate", "--set", "120", "--audio-device", "paced"]) == 0
    assert capsys.readouterr().out == "kept +120 ms for paced; it counts from the next start on\n"
    assert cli.main(["calibrate", "--show"]) == 0
    assert capsys.readouterr().out == "paced: +120 ms\n"
    sink = PyAudioSink(device="paced", cards=CardMemory(tmp_path / "edge-client"), calibrated=True)
    sink.start(ArrayFeed(make_noise(1.0)))
    try:
        until_s = time.monotonic() + 45
        while (anchor := sink.anchor()) is None and time.monotonic() < until_s:
            time.sleep(0.01)
        assert anchor is not None and anchor.offset_us == 120_000
    finally:
        sink.close()


def test_what_cannot_be_calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert cli.main(["calibrate", "--audio-sink", "virtual"]) == 1
    assert "the settings ask for no sound card" in capsys.readouterr().err
    for wrong, text in ((["--renderer", "none"], "leaves no mouth"), (["--set", "9999"], "is not from -500 to 2000 ms")):
        with pytest.raises(SystemExit):
            cli.main(["calibrate", *wrong])
        assert text in capsys.readouterr().err
    assert not list(tmp_path.rglob("sound.json"))


def click_times_s(device: PacedDevice) -> list[float]:
    """The onsets of clicks in the card's output so far."""
    loud = np.flatnonzero(np.abs(device.samples().astype(int)) > 2_000) / 48_000 if device.events() else np.zeros(0)
    return [float(time_s) for time_s in loud[np.diff(loud, prepend=-1) > 0.5]]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_person_shifts_the_mouth_until_it_fits(deep_paced_device: PacedDevice, tmp_path: Path) -> None:
    """The whole command: clicks are heard meanwhile, and the last value typed is stored."""
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path)}
    command = [*python("edge_client"), "calibrate", "--audio-device", "paced", "--headless"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdin is not None and run.stdout is not None
        assert run.stdout.readline() == "PyAudio on ALSA, paced: +0 ms so far\n"
        until_s = time.monotonic() + 120
        while len(click_times_s(deep_paced_device)) < 3:
            assert run.poll() is None and time.monotonic() < until_s
            time.sleep(0.2)
        said, _ = run.communicate("+150\nnever\n-30\n\n", timeout=60)
        assert run.returncode == 0
    assert [line for line in said.splitlines() if " ms" in line and line[0] in "+tk"] == [
        "+150 ms",
        "takes offsets from -500 to 2000 ms, Enter, or q",
        "+150 ms",
        "+120 ms",
        "kept +120 ms for paced; it counts from the next start on",
    ]
    assert CardMemory(tmp_path / "edge-client").offsets_us == {"paced": 120_000}
    assert np.diff(click_times_s(deep_paced_device)).min() > PERIOD_S - 0.01, "what runs dry on a busy machine makes it longer"
