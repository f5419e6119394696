"""Converts from the sample rate of the run to that of the current card, in the callback."""

from __future__ import annotations

import numpy as np

from edge_client.audio.resampler import Resampler
from edge_client.audio.sink import Pcm
from edge_client.audio.speaker.engine import SpeakerEngine

_CHUNK_SHARE = 200
"""The engine is asked for a 200th of a second at a time."""


class ConvertedEngine:
    """Renders like `SpeakerEngine`, at another rate. One thread; holds back up to 40 ms of sound, which the clock accounts for."""

    def __init__(self, engine: SpeakerEngine, engine_rate_hz: int, card_rate_hz: int) -> None:
        self._engine = engine
        self._resampler = Resampler(engine_rate_hz, card_rate_hz)
        self._engine_per_card = engine_rate_hz / card_rate_hz
        self._chunk_frames = max(1, engine_rate_hz // _CHUNK_SHARE)
        self._ready: Pcm = np.zeros(0, np.int16)
        self._device_dry = False
        self._given = 0
        """Frames returned to the card."""

    def render(self, frames: int, *, time_us: int, delay_frames: float, device_dry: bool) -> Pcm:
        """See `SpeakerEngine.render`; frames and delay are the card's."""
        self._device_dry = self._device_dry or device_dry
        heard_frame = (self._given - delay_frames) * self._engine_per_card
        pieces, ready = [self._ready], len(self._ready)
        while ready < frames:
            delay = self._engine.device_frame - heard_frame
            chunk = self._engine.render(self._chunk_frames, time_us=time_us, delay_frames=delay, device_dry=self._device_dry)
            self._device_dry = False
            pieces.append(self._resampler.process(chunk))
            ready += len(pieces[-1])
        all_ready = np.concatenate(pieces)
        self._ready = all_ready[frames:]
        self._given += frames
        return all_ready[:frames]
