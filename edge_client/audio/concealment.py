"""Conceals missing sound with a continuation of the last samples, and joins it at both ends.

Rules:
1. Missing sound is continued by repeating the last pitch period (the idea of ITU-T G.711, Appendix I): in full up to `FADE_BEGINS_US`, then
   fading, silent from `FADE_ENDS_US` on. It joins the last sample without a step.
2. It ends with a lead-in of `LEAD_IN_US`: the continuation fades out while the following sound, continued backwards in the same way, fades
   in, so that its first sample has a neighbour. The following sound itself is not changed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_client.audio.sink import Pcm

FADE_BEGINS_US = 20_000
FADE_ENDS_US = 60_000
LEAD_IN_US = 5_000

_SHORTEST_PERIOD_US, _LONGEST_PERIOD_US = 2_500, 15_000
"""Pitch of 67 to 400 Hz; for a higher pitch, a multiple of the period is found."""
_WINDOW_US = 10_000
"""Length of the samples compared to find the pitch."""

Samples = NDArray[np.float64]


class Concealment:
    """Continues one stream of samples. Not thread-safe."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._capacity = self._frames(2 * _LONGEST_PERIOD_US)
        self._history: Pcm = np.zeros(0, np.int16)
        self._continuation: Samples | None = None
        self.filled_frames = 0
        """Frames filled since the last real sample."""

    def heard(self, pcm: Pcm) -> None:
        """Note samples that were passed on; a gap begins after them."""
        if not len(pcm):
            return
        kept = pcm if len(pcm) >= self._capacity else np.concatenate((self._history, pcm))
        self._history = kept[-self._capacity :]
        self._continuation, self.filled_frames = None, 0

    def fill(self, frames: int) -> Pcm:
        """The next `frames` samples of the continuation: sound for `FADE_ENDS_US`, then silence."""
        if self._continuation is None:
            self._continuation = self._continue()
        filled = np.zeros(frames)
        audible = self._continuation[self.filled_frames : self.filled_frames + frames]
        filled[: len(audible)] = audible
        self.filled_frames += frames
        return _to_pcm(filled)

    @property
    def is_audible(self) -> bool:
        """Whether more of the continuation would be audible."""
        return len(self._history) > 0 and self.filled_frames < self._frames(FADE_ENDS_US)

    def lead_in(self, following: Pcm) -> Pcm:
        """Samples to insert between the continuation and `following`; none if nothing was heard before."""
        if not len(self._history) or not len(following):
            return np.zeros(0, np.int16)
        return into(self.fill(self._frames(LEAD_IN_US)), following, self._rate_hz)

    def _continue(self) -> Samples:
        frames = self._frames(FADE_ENDS_US)
        if not len(self._history):
            return np.zeros(frames)
        history = self._history.astype(np.float64)
        period = self._period(history)
        wave = _loop(history, period) if period else np.full(1, history[-1])
        fade = np.interp(np.arange(frames), (self._frames(FADE_BEGINS_US), frames), (1.0, 0.0))
        repeated: Samples = np.resize(wave, frames)
        ease = max(1, period // 4)
        repeated[:ease] += (history[-1] - (history[-1 - period] if period else history[-1])) * np.linspace(1, 0, ease)
        return repeated * fade

    def _period(self, history: Samples) -> int:
        """Distance in frames from the last stretch back to its previous occurrence; 0 if there is too little history."""
        shortest, window = self._frames(_SHORTEST_PERIOD_US), self._frames(_WINDOW_US)
        longest = min(self._frames(_LONGEST_PERIOD_US), len(history) - window, len(history) // 2)
        if longest < shortest:
            return 0
        last = history[-window:]
        earlier = np.lib.stride_tricks.sliding_window_view(history[-window - longest : -shortest], window)[::-1]
        energy = np.einsum("ij,ij->i", earlier, earlier)
        return shortest + int(np.argmax((earlier @ last) / np.sqrt(energy + 1.0)))

    def _frames(self, us: int) -> int:
        return us * self._rate_hz // 1_000_000


def into(before: Pcm, following: Pcm, rate_hz: int) -> Pcm:
    """`before` with its end faded out, while a lead-in to `following` fades in: it ends next to the first sample of `following`."""
    frames = min(len(before), LEAD_IN_US * rate_hz // 1_000_000)
    if not frames or not len(following):
        return before
    backwards = Concealment(rate_hz)
    backwards.heard(following[: 2 * _LONGEST_PERIOD_US * rate_hz // 1_000_000][::-1])
    share = np.arange(1, frames + 1) / (frames + 1)
    crossed = before[-frames:] * (1 - share) + backwards.fill(frames)[::-1] * share
    return np.concatenate((before[:-frames], _to_pcm(crossed)))


def _loop(history: Samples, period: int) -> Samples:
    """The last period, with its last quarter blended into the samples before its first one, so that it can be looped."""
    last, before = history[-period:].copy(), history[-2 * period : -period]
    quarter = max(1, period // 4)
    share = np.arange(1, quarter + 1) / quarter
    last[-quarter:] = last[-quarter:] * (1 - share) + before[-quarter:] * share
    return last


def _to_pcm(samples: Samples) -> Pcm:
    pcm: Pcm = np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
    return pcm
