"""`edge-client tone`: plays a test tone with the sound settings, to find out which loudspeaker is used."""

from __future__ import annotations

import time

import numpy as np

from edge_client.audio.sink import Pcm
from edge_client.audio.sound import start_sound
from edge_client.config import EdgeConfig
from edge_client.errors import SinkError

SECONDS = 2.0
HZ = 440.0
_PEAK = 8_000
_FADE_SECONDS = 0.02
_PATIENCE_SECONDS = 15.0


class ToneFeed:
    """Returns a tone that fades in and out, once."""

    def __init__(self, rate_hz: int, gain: float = 1.0) -> None:
        times = np.arange(round(SECONDS * rate_hz)) / rate_hz
        fade = np.minimum(1.0, np.minimum(times, SECONDS - times) / _FADE_SECONDS)
        self.samples: Pcm = np.rint(_PEAK * gain * fade * np.sin(2 * np.pi * HZ * times)).astype(np.int16)
        self._given = 0

    def pull(self, frames: int) -> Pcm:
        """See `AudioFeed`."""
        given = self.samples[self._given : self._given + frames]
        self._given += len(given)
        return given


def play_tone(config: EdgeConfig) -> str:
    """Play the tone, and return the name of the output. Takes 3 to 15 s. Raises `SinkError` with the reason if nothing was heard."""
    sink, feed = start_sound(config, lambda sink: ToneFeed(sink.rate_hz, config.volume), None)
    reason = f"the tone was not heard within {_PATIENCE_SECONDS:g} s"
    try:
        until_s = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until_s:
            anchor, counters = sink.anchor(), sink.counters()
            reason = counters.lost or counters.unheard or reason
            if counters.unheard:
                break
            if anchor is not None and anchor.frame >= len(feed.samples):
                return sink.name
            time.sleep(0.02)
    finally:
        sink.close()
    raise SinkError(reason)
