"""The analyser's features, every 10 ms: level, energy in bands, voicing, two formants.

All are computed from one power spectrum per frame (25 ms, Hann). Voicing is the height of the autocorrelation's peak at a pitch period,
divided by the window's own (Boersma 1993). Formants are from linear prediction on 0 to 5 kHz only (selective linear prediction, Makhoul
1975), so that any sample rate works; they are the first peaks of its envelope.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOP_S = 0.010
WINDOW_S = 0.025
SILENCE_DB = -100.0
"""Level of a silent frame."""

BAND_EDGES_HZ = (80.0, 300.0, 800.0, 1500.0, 2500.0, 4000.0, 8000.0)
BANDS = len(BAND_EDGES_HZ) - 1
"""Voice bar and nasals, first formant, low and high second formant, third formant, hiss."""

_LPC_TOP_HZ = 5_000.0
_LPC_ORDER = 12
_LPC_POINTS = 128
_ENVELOPE_POINTS = 256
_PITCH_HZ = (70.0, 400.0)
_F1_HZ = (200.0, 1_100.0)
_F2_HZ = (550.0, 2_900.0)
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One row per frame: level and bands in dB (full scale 0), voicing 0 to 1, formants in Hz."""

    level_db: Floats
    bands_db: Floats
    voicing: Floats
    f1_hz: Floats
    f2_hz: Floats

    def __len__(self) -> int:
        return int(self.level_db.size)

    def __getitem__(self, part: slice) -> Features:
        return Features(self.level_db[part], self.bands_db[part], self.voicing[part], self.f1_hz[part], self.f2_hz[part])


def join(first: Features, second: Features) -> Features:
    """The frames of both, one after the other."""
    return Features(
        np.concatenate((first.level_db, second.level_db)),
        np.concatenate((first.bands_db, second.bands_db)),
        np.concatenate((first.voicing, second.voicing)),
        np.concatenate((first.f1_hz, second.f1_hz)),
        np.concatenate((first.f2_hz, second.f2_hz)),
    )


def no_features() -> Features:
    """No frames."""
    none = np.zeros(0)
    return Features(none, np.zeros((0, BANDS)), none, none, none)


class FeatureExtractor:
    """Frames of a stream of mono samples (−1 to 1). Frame n is centred at n × 10 ms. For one task."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._window_frames = round(WINDOW_S * rate_hz)
        self._window = np.hanning(self._window_frames + 2)[1:-1]
        self._size = 1 << (2 * self._window_frames - 1).bit_length()
        frequencies = np.fft.rfftfreq(self._size, 1 / rate_hz)
        self._bands = np.stack([(frequencies >= low) & (frequencies < high) for low, high in pairwise(BAND_EDGES_HZ)])
        self._lpc_hz = min(_LPC_TOP_HZ, rate_hz / 2)
        self._lpc_bins = np.interp(np.linspace(0.0, self._lpc_hz, _LPC_POINTS + 1), frequencies, np.arange(frequencies.size))
        own = np.fft.irfft(np.abs(np.fft.rfft(self._window, self._size)) ** 2)
        self._own_correlation = own / own[0]
        self._lags = slice(round(rate_hz / _PITCH_HZ[1]), min(round(rate_hz / _PITCH_HZ[0]), self._window_frames * 2 // 3))
        # Half a window of silence before the first sample centres frame 0 on it.
        self._samples = np.zeros(self._window_frames // 2)
        self._offset = -(self._window_frames // 2)
        self._frames = 0

    def push(self, samples: Floats) -> Features:
        """The frames that these samples complete."""
        self._samples = np.concatenate((self._samples, samples))
        starts: list[int] = []
        while (start := self._start(self._frames)) + self._window_frames <= self._samples.size:
            starts.append(start)
            self._frames += 1
        if not starts:
            return no_features()
        windows = np.stack([self._samples[start : start + self._window_frames] for start in starts])
        keep_from = self._start(self._frames)
        self._samples, self._offset = self._samples[keep_from:], self._offset + keep_from
        return self._measure(windows)

    def finish(self) -> Features:
        """The frames whose windows reach beyond the last sample, padded with silence."""
        return self.push(np.zeros(self._window_frames // 2))

    def _start(self, frame: int) -> int:
        return round(frame * HOP_S * self._rate_hz) - self._window_frames // 2 - self._offset

    def _measure(self, windows: Floats) -> Features:
        power = np.abs(np.fft.rfft(windows * self._window, self._size)) ** 2
        scale = 2.0 / (self._size * float(self._window @ self._window))
        bands = power @ self._bands.T * scale
        f1_hz, f2_hz = self._formants(power)
        return Features(_decibels(bands.sum(axis=1)), _decibels(bands), self._voicing(power), f1_hz, f2_hz)

    def _voicing(self, power: Floats) -> Floats:
        correlation = np.fft.irfft(power)
        normalised = correlation[:, self._lags] / (correlation[:, :1] + _TINY) / self._own_correlation[self._lags]
        return np.asarray(np.clip(normalised.max(axis=1), 0.0, 1.0))

    def _formants(self, power: Floats) -> tuple[Floats, Floats]:
        # Pre-emphasis of 6 dB per octave compensates the voice's spectral tilt, as usual before linear prediction.
        below = np.floor(self._lpc_bins).astype(int)
        part = self._lpc_bins - below
        above = np.minimum(below + 1, power.shape[1] - 1)
        selected = power[:, below] * (1 - part) + power[:, above] * part
        ramp = np.linspace(0.0, 1.0, _LPC_POINTS + 1) ** 2
        correlation = np.fft.irfft(selected * (ramp + 1e-3))[:, : _LPC_ORDER + 1]
        envelope = 1.0 / (np.abs(np.fft.rfft(_predictor(correlation), 2 * _ENVELOPE_POINTS)) ** 2 + _TINY)
        hertz = np.linspace(0.0, self._lpc_hz, _ENVELOPE_POINTS + 1)
        peaks = np.zeros(envelope.shape, bool)
        peaks[:, 1:-1] = (envelope[:, 1:-1] > envelope[:, :-2]) & (envelope[:, 1:-1] >= envelope[:, 2:])
        f1_hz = _first_peak(peaks & (hertz >= _F1_HZ[0]) & (hertz <= _F1_HZ[1]), hertz, 500.0)
        beyond = np.maximum(f1_hz + 200.0, _F2_HZ[0])[:, np.newaxis]
        f2_hz = _first_peak(peaks & (hertz > beyond) & (hertz <= _F2_HZ[1]), hertz, 1500.0)
        return f1_hz, f2_hz


def _predictor(correlation: Floats) -> Floats:
    """Levinson-Durbin for each row of autocorrelations: coefficients of the prediction error filter."""
    rows, size = correlation.shape
    a = np.zeros((rows, size))
    a[:, 0] = 1.0
    error = correlation[:, 0] * (1 + 1e-6) + _TINY
    for order in range(1, size):
        reflection = -np.einsum("ij,ij->i", a[:, :order], correlation[:, order:0:-1]) / error
        a[:, 1 : order + 1] += reflection[:, np.newaxis] * a[:, order - 1 :: -1][:, :order] if order > 1 else reflection[:, np.newaxis]
        error = np.maximum(error * (1 - reflection**2), _TINY)
    return a


def _first_peak(peaks: NDArray[np.bool_], hertz: Floats, otherwise: float) -> Floats:
    return np.where(peaks.any(axis=1), hertz[peaks.argmax(axis=1)], otherwise)


def _decibels(power: Floats) -> Floats:
    return np.maximum(10.0 * np.log10(power + _TINY), SILENCE_DB)
