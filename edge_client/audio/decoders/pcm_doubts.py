"""Whether samples look like those of another encoding than 16-bit PCM. A guess: it is told, and nothing is refused for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DOUBT_BYTES = 4_096
"""So many are looked at: a quarter of a second of µ-law, 64 ms of float at 16 kHz."""

_LEAST_BYTES = 1_024
_NOISE_RMS = 4_000.0
"""Sound of another encoding is loud noise as PCM; what is quieter is not judged."""
_SMOOTH = 0.5
"""Speech is smooth: neighbouring samples are correlated more than this."""
_SMOOTHER_BY = 0.4
_FLOAT_EXPONENTS = (107, 127)
"""Of numbers from 1e-6 to 2."""

_CODES = np.arange(256)


def _mulaw() -> NDArray[np.float64]:
    codes = ~_CODES & 255
    sizes = (((codes & 15) << 3) + 132 << (codes >> 4 & 7)) - 132
    return np.where(codes & 128, -sizes, sizes).astype(np.float64)


def _alaw() -> NDArray[np.float64]:
    codes = _CODES ^ 0x55
    steps, exponents = codes & 15, codes >> 4 & 7
    sizes = np.where(exponents == 0, (steps << 4) + 8, (steps << 4) + 0x108 << np.maximum(exponents - 1, 0))
    return np.where(codes & 128, sizes, -sizes).astype(np.float64)


_LOGARITHMIC = (("µ-law", _mulaw()), ("A-law", _alaw()))


def doubt(data: bytes) -> str:
    """What these first bytes of PCM look like instead, in words; empty where they may well be PCM."""
    if len(data) < _LEAST_BYTES:
        return ""
    samples = np.frombuffer(data, "<i2", len(data) // 2).astype(np.float64)
    if np.sqrt((samples**2).mean()) < _NOISE_RMS:
        return ""
    advice = "it is played as 16-bit PCM, which will be noise if so"
    if _is_float(np.frombuffer(data, "<u4", len(data) // 4)):
        return f"the samples look like 32-bit float: {advice}"
    smoothness = _smoothness(samples)
    codes = np.frombuffer(data, np.uint8)
    name, table = max(_LOGARITHMIC, key=lambda entry: _smoothness(entry[1][codes]))
    if _smoothness(table[codes]) > max(_SMOOTH, smoothness + _SMOOTHER_BY):
        return f"the samples look like {name}: {advice}"
    return ""


def _is_float(words: NDArray[np.uint32]) -> bool:
    """Whether nearly all words that are not 0 have exponents of sound, and low halves that a sample's would not repeat."""
    words = words[words != 0]
    exponents = words >> 23 & 255
    low, high = _FLOAT_EXPONENTS
    fits = (exponents >= low) & (exponents <= high)
    low_halves = words >> 7 & 255
    return words.size >= _LEAST_BYTES // 8 and fits.mean() > 0.97 and np.unique(exponents).size > 2 and np.std(low_halves) > 32


def _smoothness(samples: NDArray[np.float64]) -> float:
    """Correlation of neighbours."""
    centred = samples - samples.mean()
    energy = float((centred**2).sum())
    return float((centred[1:] * centred[:-1]).sum()) / energy if energy else 0.0
