"""Detects samples that look like another encoding than 16-bit PCM. This is a guess: it is reported, and nothing is refused for it.

Measured over speech in windows of 4,096 bytes: the bytes of µ-law at even and at odd positions differ in distribution by less than 0.07,
and from noise by more than 0.25. Those of PCM differ by more than 0.12, or are noise to within 0.14.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DOUBT_BYTES = 4_096
"""Number of bytes examined: half a second of µ-law, 64 ms of float at 16 kHz."""

_LEAST_BYTES = 1_024
_NOISE_RMS = 4_000.0
"""Another encoding sounds like loud noise when played as PCM; quieter sound is not judged."""
_FLOAT_EXPONENTS = (107, 127)
"""Of numbers from 1e-6 to 2."""
_BINS = 32


def doubt(data: bytes) -> str:
    """What these first bytes of PCM look like instead, in words; empty if they are plausible PCM."""
    if len(data) < _LEAST_BYTES:
        return ""
    samples = np.frombuffer(data, "<i2", len(data) // 2).astype(np.float64)
    if np.sqrt((samples**2).mean()) < _NOISE_RMS:
        return ""
    if _is_float(np.frombuffer(data, "<u4", len(data) // 4)):
        kind = "32-bit float"
    elif _is_8_bit(np.frombuffer(data, np.uint8)):
        kind = "µ-law, A-law or other samples of 8 bits"
    else:
        return ""
    return f"the samples look like {kind}; they are played as 16-bit PCM, which would then be noise"


def _is_float(words: NDArray[np.uint32]) -> bool:
    """Whether nearly all non-zero words have exponents of sound, and mantissas of all kinds."""
    words = words[words != 0]
    exponents = words >> 23 & 255
    low, high = _FLOAT_EXPONENTS
    fits = (exponents >= low) & (exponents <= high)
    enough = words.size >= _LEAST_BYTES // 8
    return bool(enough and fits.mean() > 0.97 and np.unique(exponents).size > 2 and np.std(words >> 7 & 255) > 32)


def _is_8_bit(data: NDArray[np.uint8]) -> bool:
    """Whether bytes at even and odd positions have the same distribution, and not that of noise."""
    even, odd = _distribution(data[::2]), _distribution(data[1::2])
    return bool(np.abs(even - odd).sum() / 2 < 0.1 and np.abs((even + odd) / 2 - 1 / _BINS).sum() / 2 > 0.2)


def _distribution(data: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.bincount(data // (256 // _BINS), minlength=_BINS) / max(1, data.size)
