"""Which sink plays: the first one that opens, and why the better one did not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from edge_client.audio.sink import AudioFeed, AudioSink, Pcm
from edge_client.audio.sinks.virtual import Tap, VirtualSink
from edge_client.config import EdgeConfig, SinkChoice
from edge_client.errors import RateError, SinkError

logger = logging.getLogger(__name__)

Feed = TypeVar("Feed", bound=AudioFeed)


def sinks_to_try(config: EdgeConfig) -> tuple[SinkChoice, ...]:
    """In this order. A device that was asked for by name is not silently replaced by none."""
    if config.audio_sink != "auto":
        return (config.audio_sink,)
    if config.audio_device:
        return ("pyaudio",)
    return ("virtual",) if config.headless else ("pyaudio", "virtual")


def start_sound(config: EdgeConfig, make_feed: Callable[[AudioSink], Feed], tap: Tap | None) -> tuple[AudioSink, Feed]:
    """Open the first sink that works and let it pull; `make_feed` makes what it pulls from. `tap` hears what is played.

    Raises `SinkError` with all reasons where none works.
    """
    reasons: list[str] = []
    for choice in sinks_to_try(config):
        try:
            sink, feed = _start(choice, config, config.rate_hz, make_feed, tap)
        except SinkError as error:
            reasons.append(str(error))
            logger.warning("no sound by %s: %s", choice, error)
            continue
        logger.info("the sound is played by %s%s", sink.name, f", because: {'; '.join(reasons)}" if reasons else "")
        return sink, feed
    raise SinkError("; ".join(reasons))


def _start(
    choice: SinkChoice, config: EdgeConfig, rate_hz: int, make_feed: Callable[[AudioSink], Feed], tap: Tap | None
) -> tuple[AudioSink, Feed]:
    """A sink that plays; where its device wants another rate, at that one: what is decoded is resampled to it."""
    sink = _make(choice, config, rate_hz, tap)
    feed = make_feed(sink)
    try:
        sink.start(feed if tap is None or choice != "pyaudio" else TappedFeed(feed, tap))
    except RateError as error:
        if error.rate_hz == rate_hz:
            raise
        logger.warning("the sound is resampled to %s Hz: %s", error.rate_hz, error)
        return _start(choice, config, error.rate_hz, make_feed, tap)
    return sink, feed


def _make(choice: SinkChoice, config: EdgeConfig, rate_hz: int, tap: Tap | None) -> AudioSink:
    if choice == "pyaudio":
        from edge_client.audio.sinks.pyaudio import PyAudioSink  # starts a process: only where it is wanted

        return PyAudioSink(rate_hz=rate_hz, device=config.audio_device, buffer_frames=config.frames_per_buffer)
    return VirtualSink(rate_hz=rate_hz, tap=tap, name="a virtual device that keeps real time (nothing is heard)")


class TappedFeed:
    """A feed whose content a tap hears too, for a sink that plays in another process. Without the sink's own silence."""

    def __init__(self, feed: AudioFeed, tap: Tap) -> None:
        self._feed = feed
        self._tap = tap

    def pull(self, frames: int) -> Pcm:
        """See `AudioFeed`."""
        pcm = self._feed.pull(frames)
        if len(pcm):
            self._tap(pcm)
        return pcm
