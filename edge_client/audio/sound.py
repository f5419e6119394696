"""Selects and starts the sink."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edge_client.audio.sink import AudioFeed, AudioSink, Pcm
from edge_client.audio.sinks.virtual import Tap, VirtualSink
from edge_client.config import EdgeConfig, SinkChoice
from edge_client.state import state_folder

logger = logging.getLogger(__name__)

Feed = TypeVar("Feed", bound=AudioFeed)


def sink_choice(config: EdgeConfig) -> SinkChoice:
    """The sink selected by the settings."""
    if config.audio_sink != "auto":
        return config.audio_sink
    return "virtual" if config.headless and not config.audio_device else "pyaudio"


def start_sound(config: EdgeConfig, make_feed: Callable[[AudioSink], Feed], tap: Tap | None) -> tuple[AudioSink, Feed]:
    """Start the configured sink; `make_feed` creates what it pulls from. `tap` is called with what is played.

    A missing sound device is no error: it is used as soon as it appears. Until then nothing is heard; if no device was named, a virtual one
    plays meanwhile. Raises `SinkError`.
    """
    choice = sink_choice(config)
    sink = _make(choice, config, tap)
    feed = make_feed(sink)
    sink.start(feed if tap is None or choice != "pyaudio" else TappedFeed(feed, tap))
    if choice != "pyaudio":
        logger.info("the sound is played by %s", sink.name)
    return sink, feed


def _make(choice: SinkChoice, config: EdgeConfig, tap: Tap | None) -> AudioSink:
    if choice == "pyaudio":
        from edge_client.audio.card_memory import CardMemory
        from edge_client.audio.sinks.pyaudio import PyAudioSink  # starts a process: only if needed

        return PyAudioSink(
            rate_hz=config.rate_hz,
            device=config.audio_device,
            buffer_frames=config.frames_per_buffer,
            fallback=config.audio_sink == "auto" and not config.audio_device,
            latency=config.latency,
            side=config.audio_side,
            keep_alive=config.keep_alive,
            mixer=config.audio_mixer,
            release_after_s=config.release_after_s,
            cards=CardMemory(state_folder(os.environ, Path.home)),
            calibrated=not config.output_offset_ms,
        )
    return VirtualSink(rate_hz=config.rate_hz, tap=tap, name="a virtual device in real time (silent)")


class TappedFeed:
    """A feed that copies its content to a tap, for a sink that plays in another process. The sink's own silence is not included."""

    def __init__(self, feed: AudioFeed, tap: Tap) -> None:
        self._feed = feed
        self._tap = tap

    def pull(self, frames: int) -> Pcm:
        """See `AudioFeed`."""
        pcm = self._feed.pull(frames)
        if len(pcm):
            self._tap(pcm)
        return pcm
