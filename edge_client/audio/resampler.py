"""Streaming sample rate conversion without loss at the ends."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from edge_client.audio.sink import Pcm

_FULL_SCALE = 32768.0


class Resampler:
    """Resamples 16-bit mono samples from `input_rate_hz` to `output_rate_hz`; not thread-safe.

    Computes in float32 at soxr's quality HQ, which adds no noise above that of 16 bits. Holds back up to 40 ms, which `flush` returns. The
    output is aligned with the input: output frame k is input position k·in/out.
    """

    def __init__(self, input_rate_hz: int, output_rate_hz: int) -> None:
        self._input_rate_hz = input_rate_hz
        self._output_rate_hz = output_rate_hz
        self._begin()

    def _begin(self) -> None:
        self._stream = soxr.ResampleStream(self._input_rate_hz, self._output_rate_hz, 1, dtype="float32", quality="HQ")
        self._frames_in = 0
        self._frames_out = 0
        self._skip = 0

    @property
    def owed_frames(self) -> int:
        """Frames of output that represent input received so far and are still held back."""
        return self._due_frames() - self._frames_out

    def _due_frames(self) -> int:
        return (2 * self._frames_in * self._output_rate_hz + self._input_rate_hz) // (2 * self._input_rate_hz)

    def run_in(self, samples: Pcm) -> None:
        """Prime the resampler with these samples as preceding the first one, to avoid a step; they produce no output.

        Only before the first `process`; as many as are a whole number of frames at either rate.
        """
        self._skip = len(samples) * self._output_rate_hz // self._input_rate_hz
        self._run(samples)

    def process(self, samples: Pcm) -> Pcm:
        """The output that is ready with these samples, perhaps none."""
        if not len(samples):
            return np.zeros(0, np.int16)
        self._frames_in += len(samples)
        resampled = self._run(samples)
        self._frames_out += len(resampled)
        return resampled

    def flush(self) -> Pcm:
        """All output held back, exactly; the next `process` begins a new stream."""
        owed = self.owed_frames
        if self._frames_in == 0:
            return np.zeros(0, np.int16)
        rest = self._run(np.zeros(0, np.int16), last=True)[:owed]
        self._begin()
        return np.concatenate([rest, np.zeros(owed - len(rest), np.int16)])

    def _run(self, samples: Pcm, *, last: bool = False) -> Pcm:
        resampled = _to_int16(self._stream.resample_chunk(samples.astype(np.float32) / _FULL_SCALE, last=last))
        skipped = min(self._skip, len(resampled))
        self._skip -= skipped
        return resampled[skipped:]


def _to_int16(samples: NDArray[np.float32]) -> Pcm:
    rounded: Pcm = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    return rounded
