"""PulseAudio and PipeWire as ALSA's default output, with default settings."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyaudio")
from edge_client.audio.card_memory import CardMemory
from edge_client.audio.sinks.pyaudio import PyAudioSink
from tests.edge_client.audio.sinks.playing import ArrayFeed, make_noise, wait_until_heard
from tests.lab.ground_truth.heard import find
from tests.lab.sound_card.paced_card import RATE_HZ, PacedDevice, build_library
from tests.lab.sound_card.pipewire import PipeWireServer
from tests.lab.sound_card.pulse import PulseServer, recording
from tests.lab.sound_card.sound_server import SoundServer, as_default_output

_log = logging.getLogger(__name__)

BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
"""Keeps a core busy for as long as the tests run, also if they are killed."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [PulseServer, PipeWireServer])
def test_a_server_that_is_restarted(kind: Callable[[Path], SoundServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server dies during speech and restarts: sound is back within 10 s, at the same position."""
    sink = PyAudioSink()
    with as_default_output(kind(tmp_path), monkeypatch) as server:
        sink.start(ArrayFeed(make_noise(20.0)))
        try:
            wait_until_heard(sink, RATE_HZ)
            server.kill()
            while not sink.counters().lost:
                time.sleep(0.01)
            held = sink.anchor()
            assert held is not None and held.rate_hz == 0
            time.sleep(5.0)
            server.start()
            since_s = time.monotonic()
            wait_until_heard(sink, round(held.frame) + RATE_HZ // 2)
            took_s = time.monotonic() - since_s
            _log.info("sound back after %.1f s", took_s)
            assert took_s < 10.0
        finally:
            sink.close()


@pytest.mark.slow
def test_a_server_that_is_started_after_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual device plays until then. The server asks for the first samples 1 to 2 s after it was opened, which is no fault."""
    server = PulseServer(tmp_path)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    sink = PyAudioSink(fallback=True)
    sink.start(ArrayFeed(make_noise(60.0)))
    try:
        held = wait_until_heard(sink, RATE_HZ)
        server.start()
        since_s = time.monotonic()
        while sink.counters().unheard or (anchor := sink.anchor()) is None or anchor.rate_hz == 0:
            assert time.monotonic() - since_s < 30.0
            time.sleep(0.01)
        _log.info("sound after %.1f s", time.monotonic() - since_s)
        wait_until_heard(sink, round(held.frame) + 3 * RATE_HZ)
        assert sink.counters().restarts == 0
    finally:
        sink.close()
        server.kill()


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "one_busy_core"])
@pytest.mark.parametrize("on_card", [False, True], ids=["null_sink", "alsa_sink"])
def test_buffers_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_card: bool, busy: bool, pytestconfig: pytest.Config) -> None:
    """After the first minute no underrun, and all that was sent is heard. `--cases N`: N times 10 s, by default 10 minutes."""
    seconds = 10 * (pytestconfig.getoption("cases") or 60)
    noise = make_noise(seconds)
    card = PacedDevice(build_library(), tmp_path) if on_card else None
    load = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.DEVNULL) if busy else None
    with as_default_output(PulseServer(tmp_path, card), monkeypatch) as server:
        sink = PyAudioSink(cards=CardMemory(tmp_path))
        try:
            with server.recorded(tmp_path / "recorded.raw"):
                sink.start(ArrayFeed(noise))
                sink.expect(True)
                wait_until_heard(sink, 1)
                time.sleep(min(60.0, seconds / 2))
                first = sink.counters()
                time.sleep(max(60.0, seconds - 65.0) if seconds > 65 else seconds / 2 - 2)
                then = sink.counters()
                sink.expect(False)
                deadline = time.monotonic() + 60
                while (anchor := sink.anchor()) is None or anchor.frame < len(noise):
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
        finally:
            sink.close()
            if load is not None:
                load.kill()
                load.wait()
    heard = card.samples() if card is not None else recording(tmp_path / "recorded.raw")
    runs = find(heard, noise).runs
    found = sum(run.frames for run in runs)
    dry = f"first minute {first.device_dry} dry runs, then {then.device_dry - first.device_dry}"
    _log.info("buffers %s; %s; %.4f heard, in %s runs", CardMemory(tmp_path).buffers_us, dry, found / len(noise), len(runs))
    assert then.device_dry == first.device_dry
    assert then.restarts == 0
    assert np.isclose(found / len(noise), 1.0, atol=0.01)
