"""A file of speech as mono 16-bit samples at a supported rate.

WAV, FLAC, Ogg (Vorbis, Opus), MP3 and other formats that libsndfile reads. Channels are mixed down by their layout. A rate supported by the
protocol is kept, and 16-bit mono is then passed sample for sample; other rates are resampled to 48 kHz.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from avatar_relay.limits import PCM_RATES_HZ
from relay_server.sources.local.audio_readers import AudioFileError, open_reader

MAX_FILE_BYTES = 256 << 20
MAX_SECONDS = 15 * 60
RESAMPLED_RATE_HZ = 48_000

_LEVEL_WINDOW_S = 0.025


class AudioFile:
    """An open file. Reading blocks, one reader at a time; `close` may be called from any thread, also during a read."""

    def __init__(self, path: Path) -> None:
        """Open and check the file. Raises `AudioFileError`, or `OSError` if it cannot be read."""
        if not path.is_file():
            raise FileNotFoundError(2, "no such file", str(path))
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise AudioFileError(f"it has {size} bytes; at most {MAX_FILE_BYTES} are read")
        self._reader = open_reader(path)
        self._file_rate_hz = self._reader.rate_hz
        seconds = (self._reader.frames or 0) / self._file_rate_hz
        if seconds > MAX_SECONDS:
            self.close()
            raise AudioFileError(f"it is {seconds:.0f} s long; at most {MAX_SECONDS} s are played")
        self.rate_hz = self._file_rate_hz if self._file_rate_hz in PCM_RATES_HZ else RESAMPLED_RATE_HZ

    def peak_db(self, block_seconds: float = 1.0) -> float:
        """Level of the loudest 25 ms, in dB relative to full scale; reads the whole file. Raises `AudioFileError`."""
        window = max(1, round(_LEVEL_WINDOW_S * self._file_rate_hz))
        loudest, rest = 0.0, np.zeros(0)
        for block in self._blocks(max(window, round(block_seconds * self._file_rate_hz))):
            joined = np.concatenate((rest, block))
            whole = joined[: joined.size // window * window].reshape(-1, window)
            rest = joined[whole.size :]
            loudest = max(loudest, float((whole**2).mean(axis=1).max(initial=0.0)))
        return 10 * math.log10(loudest + 1e-10)

    def irregularities(self) -> list[str]:
        """Irregularities found so far that do not prevent playing."""
        return self._reader.irregularities.take()

    def blocks(self, seconds: float) -> Iterator[NDArray[np.int16]]:
        """All samples at `rate_hz`, in blocks of about `seconds`. Raises `AudioFileError`."""
        frames = max(1, round(seconds * self._file_rate_hz))
        if self._file_rate_hz == self.rate_hz:
            for block in self._blocks(frames):
                yield _to_int16(block)
            return
        stream = soxr.ResampleStream(self._file_rate_hz, self.rate_hz, 1, dtype="float64")
        for block in self._blocks(frames):
            yield _to_int16(stream.resample_chunk(block))
        yield _to_int16(stream.resample_chunk(np.zeros(0), last=True))

    def close(self) -> None:
        """Close the file; a concurrent reader gets `AudioFileError`. Idempotent."""
        self._reader.close()

    def _blocks(self, frames: int) -> Iterator[NDArray[np.float64]]:
        left = MAX_SECONDS * self._file_rate_hz
        for block in self._reader.blocks(frames):
            left -= len(block)
            if left < 0:
                raise AudioFileError(f"it is longer than {MAX_SECONDS} s, which is the most that is played")
            yield block


def _to_int16(samples: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.clip(np.rint(samples * 32_768.0), -32_768, 32_767).astype(np.int16)
