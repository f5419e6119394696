"""A card's own volume control: decibels against a stand-in of libasound, and PulseAudio's control through the real one."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyaudio")
from edge_client.audio.sinks.pyaudio import PyAudioSink
from edge_client.audio.speaker.mixer import Mixer
from edge_client.errors import SinkError
from tests.edge_client.audio.sinks.playing import ArrayFeed, wait_until_heard
from tests.lab.sound_card.paced_card import RATE_HZ
from tests.lab.sound_card.pulse import PulseServer, pulse_server, recording

__all__ = ["pulse_server"]

PEAK = 20_000


class Function:
    """A function of a C library with a settable result type."""

    restype: Any = None

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


class Library:
    """A card with two controls; `Mic` sets no volume. The other one has a range from `low` to `high` hundredths of a decibel."""

    def __init__(self, low: int, high: int) -> None:
        self.attached = b""
        self.set_to: list[int] = []
        names = {1: b"Mic", 2: b"PCM"}

        def attach(handle: object, name: bytes) -> int:
            self.attached = name
            return 0

        def get_range(element: object, at_low: Any, at_high: Any) -> int:
            at_low._obj.value, at_high._obj.value = low, high
            return 0

        def set_to(element: object, value: ctypes.c_long, direction: int) -> int:
            assert direction == -1
            self.set_to.append(value.value)
            return 0

        calls: dict[str, Callable[..., Any]] = {
            "strerror": lambda number: b"No such device",
            "mixer_attach": attach,
            "mixer_first_elem": lambda handle: 1,
            "mixer_elem_next": lambda element: 2 if element.value == 1 else None,
            "mixer_selem_get_name": lambda element: names[element.value],
            "mixer_selem_has_playback_volume": lambda element: element.value == 2,
            "mixer_selem_get_playback_dB_range": get_range,
            "mixer_selem_set_playback_dB_all": set_to,
        }
        self.calls = {f"snd_{name}": call for name, call in calls.items()}

    def __getattr__(self, name: str) -> Function:
        made = Function(self.calls.get(name, lambda *_: 0))
        setattr(self, name, made)
        return made


@pytest.mark.parametrize(("low", "high", "levels"), [(-10_239, 400, [0, -602, -10_239]), (-6_000, -300, [-300, -902, -6_000])])
def test_a_gain_of_one_is_no_louder_than_the_digital_sound(low: int, high: int, levels: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """0 dB if the control's range exceeds it; half the amplitude is 6 dB less; the minimum is the end of the control's range."""
    library = Library(low, high)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    mixer = Mixer("PCM", 2)
    for gain in (1.0, 0.5, 1e-9):
        mixer.set(gain)
    assert (library.attached, library.set_to) == (b"hw:2", levels)


def test_what_there_is_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control that sets no volume is ignored; a card that disappears is an error, not a crash."""
    library = Library(-100, 0)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    with pytest.raises(SinkError, match="mixer default has no volume control 'Mic'; it has PCM"):
        Mixer("Mic", -1)
    library.calls["snd_mixer_attach"] = lambda *_: -19
    del library.snd_mixer_attach
    with pytest.raises(SinkError, match="mixer hw:0: No such device"):
        Mixer("PCM", 0)


@pytest.mark.slow
@pytest.mark.parametrize(("control", "hardware"), [("Master", True), ("PCM", False)])
def test_the_control_of_a_real_server(pulse_server: PulseServer, tmp_path: Path, control: str, hardware: bool) -> None:
    """An eighth of the amplitude is heard, by PulseAudio's own volume, or by scaling if it has no such control, with the reason."""
    tone = np.rint(PEAK * np.sin(2 * np.pi * 500 * np.arange(3 * RATE_HZ) / RATE_HZ)).astype(np.int16)
    sink = PyAudioSink(mixer=control)
    sink.set_volume(0.125, muted=False)
    with pulse_server.recorded(tmp_path / "heard.raw"):
        sink.start(ArrayFeed(tone))
        try:
            wait_until_heard(sink, RATE_HZ)
            why = sink.counters().why
            wait_until_heard(sink, len(tone) - RATE_HZ // 2)
            time.sleep(0.2)
        finally:
            sink.close()
    told = pulse_server.ask("get-sink-volume", "out")
    assert ("50%" in told) is hardware, told
    assert ("no volume control 'PCM'; it has Master" in why) is not hardware
    assert np.abs(recording(tmp_path / "heard.raw")).max() == pytest.approx(PEAK / 8, rel=0.02)
