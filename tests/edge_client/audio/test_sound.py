"""Which sink plays."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest

from edge_client.audio import sound
from edge_client.audio.sink import AudioFeed, AudioSink, Pcm
from edge_client.audio.sinks.virtual import VirtualSink
from edge_client.audio.sound import TappedFeed, sinks_to_try, start_sound
from edge_client.config import EdgeConfig
from edge_client.errors import RateError, SinkError


class Counting:
    """A feed of ones."""

    def __init__(self) -> None:
        self.pulled = threading.Event()

    def pull(self, frames: int) -> Pcm:
        self.pulled.set()
        return np.ones(frames, np.int16)


class Broken(VirtualSink):
    """A sound card that is not there."""

    def start(self, feed: AudioFeed) -> None:
        raise SinkError("no sound card here")


def test_order_of_sinks() -> None:
    """Only `auto` without a name may fall back, and without window and sound it does not even try."""
    assert sinks_to_try(EdgeConfig()) == ("pyaudio", "virtual")
    assert sinks_to_try(EdgeConfig(headless=True)) == ("virtual",)
    assert sinks_to_try(EdgeConfig(audio_device="USB")) == ("pyaudio",)
    assert sinks_to_try(EdgeConfig(audio_sink="pyaudio")) == ("pyaudio",)
    assert sinks_to_try(EdgeConfig(audio_sink="virtual", audio_device="USB")) == ("virtual",)


class Picky(VirtualSink):
    """A sound card that plays 44.1 kHz only."""

    def start(self, feed: AudioFeed) -> None:
        if self.rate_hz != 44_100:
            raise RateError(f"it does not play {self.rate_hz} Hz", 44_100)
        super().start(feed)


def make_broken(choice: str, config: EdgeConfig, rate_hz: int, tap: object) -> AudioSink:
    """No sound card; the virtual one works."""
    return Broken() if choice == "pyaudio" else VirtualSink(rate_hz=rate_hz)


def test_without_a_sound_card_a_virtual_one_plays(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The fall-back pulls in real time, and the log says what plays and why."""
    monkeypatch.setattr(sound, "_make", make_broken)
    caplog.set_level(logging.INFO)
    sinks: list[AudioSink] = []

    def make_feed(sink: AudioSink) -> Counting:
        sinks.append(sink)
        return Counting()

    sink, feed = start_sound(EdgeConfig(), make_feed, None)
    try:
        assert feed.pulled.wait(2)
        assert sink is sinks[1]
        assert "no sound card here" in caplog.records[-1].getMessage()
    finally:
        sink.close()


def test_a_device_that_was_asked_for_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a device hears why it does not play."""
    monkeypatch.setattr(sound, "_make", make_broken)
    with pytest.raises(SinkError, match="no sound card here"):
        start_sound(EdgeConfig(audio_device="USB"), lambda sink: Counting(), None)


def test_a_card_with_another_rate_is_played_at_that(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The feed is made for the rate that the card has, and the log says so."""
    monkeypatch.setattr(sound, "_make", lambda choice, config, rate_hz, tap: Picky(rate_hz=rate_hz))
    rates: list[int] = []

    def make_feed(sink: AudioSink) -> Counting:
        rates.append(sink.rate_hz)
        return Counting()

    sink, feed = start_sound(EdgeConfig(audio_sink="pyaudio"), make_feed, None)
    try:
        assert feed.pulled.wait(2)
        assert sink.rate_hz == 44_100
        assert rates == [48_000, 44_100]
        assert "resampled to 44100 Hz: it does not play 48000 Hz" in caplog.text
    finally:
        sink.close()


def test_a_tapped_feed_hears_all_content() -> None:
    """The tap gets what was pulled, and nothing where there was nothing."""
    heard: list[Pcm] = []
    feed = TappedFeed(Counting(), heard.append)
    assert len(feed.pull(7)) == 7
    feed.pull(0)
    assert [len(pcm) for pcm in heard] == [7]
