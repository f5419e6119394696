"""Keeps the delay of `LIVE` playout at its target although the clocks of sender and sound card differ.

Rules:
1. `DriftControl` turns the error of the delay into a rate in ppm: proportional, at most `MAX_PPM` either way, slewed. It does nothing until
   the error has been beyond `DEAD_BAND_US` for `PATIENCE_US`; sound that is never steered is passed unchanged.
2. `Steered` is sound at that rate, through soxr's variable-rate resampler. The resampler is inserted when first needed, by a crossfade, and
   stays. It holds back 5 ms, which `flush` returns.
3. Output represents input: the samples of the media line that a chunk represents are counted on input, and passed on.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import soxr
from numpy.typing import NDArray

from edge_client.audio.playout_queue import Chunk
from edge_client.audio.sink import Pcm

MAX_PPM = 500.0
"""Half a millisecond a second: a twentieth of the smallest change of pitch that people hear."""
DEAD_BAND_US = 10_000
PATIENCE_US = 2_000_000
PPM_PER_US = 0.05
"""With this gain an error decays within 20 s, and 500 ppm of drift are compensated at an error of 10 ms."""
SLEW_PPM_PER_S = 50.0

_HELD_FRAMES = 240
"""Frames that soxr holds back at a ratio near 1, whatever the size of chunks (measured)."""
_CROSSFADE_FRAMES = 240
_HISTORY_FRAMES = 1_440
"""Frames to prime the resampler with: several times the length of its filter."""
_SLEW_FRAMES = 480
_FULL_SCALE = 32_768.0


class DriftControl:
    """Controls the rate from the error of the delay. Not thread-safe."""

    def __init__(self) -> None:
        self.ppm = 0.0
        self._steers = False
        self._beyond_us = 0
        self._last_us: int | None = None

    def step(self, error_us: int, now_us: int) -> float:
        """How much faster than its clock sound should be played, in ppm; `error_us` is the delay minus its target."""
        elapsed_us = 0 if self._last_us is None else now_us - self._last_us
        self._last_us = now_us
        self._beyond_us = self._beyond_us + elapsed_us if abs(error_us) > DEAD_BAND_US else 0
        self._steers = self._steers or self._beyond_us >= PATIENCE_US
        if self._steers:
            wanted = min(max(error_us * PPM_PER_US, -MAX_PPM), MAX_PPM)
            step = SLEW_PPM_PER_S * min(elapsed_us, 1_000_000) / 1e6
            self.ppm += min(max(wanted - self.ppm, -step), step)
        return self.ppm

    def rest(self) -> None:
        """Note that nothing is heard: the time until sound resumes does not count."""
        self._last_us = None


class Steered:
    """Steers the sound of one conversation on its way to the sink. Not thread-safe."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._history: Pcm = np.zeros(0, np.int16)
        self._stream: soxr.ResampleStream | None = None
        self._ppm = 0.0
        self._skip = 0
        self._raw: Pcm = np.zeros(0, np.int16)
        self._inside: deque[Chunk] = deque()
        self.held_frames = 0
        """Frames received and not returned yet."""

    def process(self, chunks: list[Chunk], ppm: float) -> list[Chunk]:
        """Resample chunks to play `ppm` faster."""
        steered: list[Chunk] = []
        for chunk in chunks:
            if self._stream is None and ppm and len(chunk.pcm) >= _HELD_FRAMES + _CROSSFADE_FRAMES:
                self._begin(chunk.pcm)
            if self._stream is None:
                self._history = np.concatenate((self._history, chunk.pcm))[-_HISTORY_FRAMES:]
                steered.append(chunk)
            elif len(chunk.pcm):
                steered += self._resample(self._stream, chunk, ppm)
        return steered

    def flush(self) -> list[Chunk]:
        """All frames held back; the next `process` starts from the beginning."""
        if self._stream is None:
            return []
        rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        self._stream = None
        self._history = np.zeros(0, np.int16)
        return self._assign(_to_pcm(rest), self.held_frames)

    def _begin(self, following: Pcm) -> None:
        self._stream = soxr.ResampleStream(self._rate_hz * (1 + 1.2e-6 * MAX_PPM), self._rate_hz, 1, dtype="float32", vr=True)
        self._stream.set_io_ratio(self._rate_hz, self._rate_hz, 0)
        self._ppm = 0.0
        self._skip = len(self._history) - len(self._stream.resample_chunk(_to_float(self._history)))
        self._raw = following[:_CROSSFADE_FRAMES]

    def _resample(self, stream: soxr.ResampleStream, chunk: Chunk, ppm: float) -> list[Chunk]:
        if ppm != self._ppm and not len(self._raw):
            self._ppm = ppm
            stream.set_io_ratio(self._rate_hz * (1 + ppm * 1e-6), self._rate_hz, _SLEW_FRAMES)
        pcm = _to_pcm(stream.resample_chunk(_to_float(chunk.pcm)))
        pcm, self._skip = pcm[self._skip :], max(0, self._skip - len(pcm))
        self._inside.append(chunk)
        self.held_frames += len(chunk.pcm)
        if len(self._raw):
            share = np.arange(1, len(self._raw) + 1) / (len(self._raw) + 1)
            crossed = self._raw * (1 - share) + pcm[: len(self._raw)] * share
            pcm = np.concatenate((np.rint(crossed).astype(np.int16), pcm[len(self._raw) :]))
            self._raw = np.zeros(0, np.int16)
        return self._assign(pcm, max(1, self.held_frames - _HELD_FRAMES))

    def _assign(self, pcm: Pcm, frames_in: int) -> list[Chunk]:
        """Output, cut into chunks that represent `frames_in` frames of input."""
        chunks: list[Chunk] = []
        while self._inside and frames_in > 0 and len(pcm):
            head = self._inside.popleft()
            if len(head.pcm) > frames_in:
                head, rest = head.split(frames_in)
                self._inside.appendleft(rest)
            frames_in -= len(head.pcm)
            self.held_frames -= len(head.pcm)
            share = len(pcm) if frames_in <= 0 else min(len(pcm), round(len(pcm) * len(head.pcm) / (len(head.pcm) + frames_in)))
            chunks.append(Chunk(head.conversation_id, head.pts_frame, head.pts_frames, pcm[:share]))
            pcm = pcm[share:]
        return chunks


def _to_float(pcm: Pcm) -> NDArray[np.float32]:
    return pcm.astype(np.float32) / np.float32(_FULL_SCALE)


def _to_pcm(samples: NDArray[np.float32]) -> Pcm:
    pcm: Pcm = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    return pcm
