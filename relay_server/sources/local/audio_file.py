"""A file of speech as mono 16-bit samples at a rate that can travel.

WAV, FLAC, Ogg (Vorbis, Opus) and what else libsndfile reads. Channels are averaged. A rate that is one of the wire's
stays, and 16-bit mono then passes sample for sample; any other is resampled to 48 kHz.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from avatar_relay.limits import PCM_RATES_HZ

MAX_FILE_BYTES = 256 << 20
MAX_SECONDS = 15 * 60
MAX_CHANNELS = 8
FILE_RATES_HZ = (4_000, 192_000)
RESAMPLED_RATE_HZ = 48_000

_LEVEL_WINDOW_S = 0.025


class AudioFileError(ValueError):
    """Not a file of speech that can be played; the text says what was wrong."""


class AudioFile:
    """An open file. Reading blocks, one reader at a time; closing is safe from any thread, also while it is read."""

    def __init__(self, path: Path) -> None:
        """Open and check. Raises `AudioFileError`, and `OSError` where the file can not be read."""
        if not path.is_file():
            raise FileNotFoundError(2, "no such file", str(path))
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise AudioFileError(f"it has {size} bytes; at most {MAX_FILE_BYTES} are read")
        # libsndfile frees what a reader on another thread still uses.
        self._lock = threading.Lock()
        # libsndfile does not say why a file can not be opened; the system does.
        path.open("rb").close()
        try:
            self._file: Any = soundfile.SoundFile(str(path))
        except soundfile.SoundFileError as error:
            raise AudioFileError("it is not WAV, FLAC or Ogg, or it is damaged") from error
        try:
            self._check()
        except AudioFileError:
            self._file.close()
            raise
        self.rate_hz = self._file.samplerate if self._file.samplerate in PCM_RATES_HZ else RESAMPLED_RATE_HZ

    def peak_db(self, block_seconds: float = 1.0) -> float:
        """Level of the loudest 25 ms, full scale 0; goes through the whole file. Raises `AudioFileError`."""
        window = max(1, round(_LEVEL_WINDOW_S * self._file.samplerate))
        loudest = 0.0
        for block in self._mono_blocks(max(window, round(block_seconds * self._file.samplerate))):
            whole = block[: block.size // window * window].reshape(-1, window)
            loudest = max(loudest, float((whole**2).mean(axis=1).max(initial=0.0)))
        self._seek_start()
        return 10 * math.log10(loudest + 1e-10)

    def blocks(self, seconds: float) -> Iterator[NDArray[np.int16]]:
        """All samples at `rate_hz`, in blocks of about this length. Raises `AudioFileError`."""
        frames = max(1, round(seconds * self._file.samplerate))
        if self._file.samplerate == self.rate_hz:
            for block in self._mono_blocks(frames):
                yield _to_int16(block)
            return
        stream = soxr.ResampleStream(self._file.samplerate, self.rate_hz, 1, dtype="float64")
        for block in self._mono_blocks(frames):
            yield _to_int16(stream.resample_chunk(block))
        yield _to_int16(stream.resample_chunk(np.zeros(0), last=True))

    def close(self) -> None:
        """Give the file back; a reader gets `AudioFileError`. May be called again."""
        with self._lock:
            self._file.close()

    def _check(self) -> None:
        rate_hz, channels, frames = self._file.samplerate, self._file.channels, self._file.frames
        if not FILE_RATES_HZ[0] <= rate_hz <= FILE_RATES_HZ[1]:
            raise AudioFileError(f"its rate is {rate_hz} Hz; {FILE_RATES_HZ[0]} to {FILE_RATES_HZ[1]} Hz are read")
        if not 1 <= channels <= MAX_CHANNELS:
            raise AudioFileError(f"it has {channels} channels; 1 to {MAX_CHANNELS} are read")
        if frames <= 0:
            raise AudioFileError("it holds no sound")
        if frames > MAX_SECONDS * rate_hz:
            raise AudioFileError(f"it is {frames / rate_hz:.0f} s long; at most {MAX_SECONDS} s are played")

    def _mono_blocks(self, frames: int) -> Iterator[NDArray[np.float64]]:
        left = MAX_SECONDS * self._file.samplerate
        while left > 0:
            try:
                with self._lock:
                    block = self._file.read(min(frames, left), dtype="float64", always_2d=True)
            except soundfile.SoundFileError as error:
                raise AudioFileError("it is damaged") from error
            if not len(block):
                return
            if not np.isfinite(block).all():
                raise AudioFileError("it holds samples that are not finite")
            left -= len(block)
            yield block.mean(axis=1)

    def _seek_start(self) -> None:
        try:
            self._file.seek(0)
        except soundfile.SoundFileError as error:
            raise AudioFileError("it can not be read twice: it is damaged") from error


def _to_int16(samples: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.clip(np.rint(samples * 32_768.0), -32_768, 32_767).astype(np.int16)
