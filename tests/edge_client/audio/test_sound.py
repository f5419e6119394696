"""Which sink is used."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edge_client.audio.sink import Pcm
from edge_client.audio.sound import TappedFeed, sink_choice, start_sound
from edge_client.config import EdgeConfig


class Counting:
    """A feed of ones."""

    def __init__(self) -> None:
        self.pulled = threading.Event()

    def pull(self, frames: int) -> Pcm:
        self.pulled.set()
        return np.ones(frames, np.int16)


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        (EdgeConfig(), "pyaudio"),
        (EdgeConfig(headless=True), "virtual"),
        (EdgeConfig(headless=True, audio_device="USB"), "pyaudio"),
        (EdgeConfig(audio_device="USB"), "pyaudio"),
        (EdgeConfig(audio_sink="pyaudio"), "pyaudio"),
        (EdgeConfig(audio_sink="virtual", audio_device="USB"), "virtual"),
    ],
)
def test_choice(config: EdgeConfig, choice: str) -> None:
    """Without window and sound no card is tried, unless it is set by name."""
    assert sink_choice(config) == choice


def test_without_a_sound_card_a_virtual_one_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real sink on a machine without a card pulls in real time, and reports why nothing is heard."""
    pytest.importorskip("pyaudio")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "none.conf"))
    sink, feed = start_sound(EdgeConfig(), lambda sink: Counting(), None)
    try:
        assert feed.pulled.wait(10)
        assert sink.name.startswith("a virtual device")
        assert "default: it cannot be opened" in sink.counters().unheard
    finally:
        sink.close()


def test_a_device_that_was_asked_for_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is pulled; the sink reports the reason and continues to try."""
    pytest.importorskip("pyaudio")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "none.conf"))
    sink, feed = start_sound(EdgeConfig(audio_device="USB"), lambda sink: Counting(), None)
    try:
        deadline = time.monotonic() + 10
        while "'USB' is not an output" not in sink.counters().lost:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not feed.pulled.is_set()
    finally:
        sink.close()


def test_a_tapped_feed_hears_all_content() -> None:
    """The tap receives the pulled samples, and nothing if none were pulled."""
    heard: list[Pcm] = []
    feed = TappedFeed(Counting(), heard.append)
    assert len(feed.pull(7)) == 7
    feed.pull(0)
    assert [len(pcm) for pcm in heard] == [7]


@pytest.mark.parametrize(("offset_ms", "calibrated"), [(0.0, True), (10.0, False), (-10.0, False)])
def test_an_offset_of_the_settings_counts_instead_of_the_cards_own(
    offset_ms: float, calibrated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine adds the offset of the settings; the card's would be added to it."""
    pytest.importorskip("pyaudio")
    made: list[object] = []

    class Sink:
        def __init__(self, **settings: object) -> None:
            made.append(settings["calibrated"])

        def start(self, feed: object) -> None: ...

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("edge_client.audio.sinks.pyaudio.PyAudioSink", Sink)
    start_sound(EdgeConfig(audio_sink="pyaudio", output_offset_ms=offset_ms), lambda sink: Counting(), None)
    assert made == [calibrated]
