"""The offset of the relay's clock from the local clock, from pings and pongs.

Each pong carries four readings, as in NTP (RFC 5905, section 8): t1 ping sent (local), t2 ping received (relay), t3 pong sent (relay), t4
pong received (local). Then

    offset     = ((t2 - t1) + (t3 - t4)) / 2      relay's clock minus the local clock
    round trip = (t4 - t1) - (t3 - t2)

and however the delay is split between the two directions, the true offset is within half the round trip of it. So the best reading is the
one with the smallest round trip; of each `BUCKET_US` only that one is kept. Oscillators differ by up to `MAX_DRIFT_PPM`: the uncertainty of
a reading grows by that much with its age. Drift itself is the slope through the kept readings (least squares, weighted by round trip), used
once they span `DRIFT_SPAN_US`, and limited to the maximum. The error bound holds for any drift below the maximum.

A reading that contradicts all known ones (the relay moved to another machine, or that machine was restarted) restarts the estimate: offsets
of two machines are never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass

from avatar_relay.messages import Pong

BUCKET_US = 10_000_000
MAX_BUCKETS = 60
"""Ten minutes of readings."""
MAX_DRIFT_PPM = 200.0
"""Drift of two clocks against each other: crystals of small boards stay within ± 100 ppm each."""
DRIFT_SPAN_US = 60_000_000
RESOLUTION_US = 1
"""What the arithmetic in whole µs adds to each error bound."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One pong. `device_time_us` is the middle of the round trip on the local clock."""

    device_time_us: int
    offset_us: float
    round_trip_us: int


@dataclass(frozen=True, slots=True)
class ClockEstimate:
    """The relay's clock minus the local clock at one instant: `offset_us` ± `error_us`, changing by `drift_ppm` µs per second."""

    offset_us: float
    drift_ppm: float
    error_us: float
    round_trip_us: int


def reading_from(pong: Pong, received_time_us: int) -> Reading | None:
    """A pong's reading; None if its times are impossible (a round trip below 0)."""
    t1, t2, t3, t4 = pong.ping_sent_time_us, pong.received_time_us, pong.sent_time_us, received_time_us
    round_trip_us = (t4 - t1) - (t3 - t2)
    if t4 < t1 or t3 < t2 or round_trip_us < 0:
        return None
    return Reading((t1 + t4) // 2, ((t2 - t1) + (t3 - t4)) / 2, round_trip_us)


@dataclass(frozen=True, slots=True)
class RelayTime:
    """The offsets of the relay's clocks when a pong arrived at `time_us`."""

    time_us: int
    estimate: ClockEstimate
    unix_minus_monotonic_us: int
    """The relay's wall clock minus its monotonic clock."""

    def unix_offset_us(self, time_us: int) -> int:
        """The relay's wall clock minus the local monotonic clock, at `time_us` on the latter."""
        drifted = self.estimate.drift_ppm * 1e-6 * (time_us - self.time_us)
        return round(self.estimate.offset_us + drifted) + self.unix_minus_monotonic_us


class ClockProbe:
    """Estimates offset and drift from pongs. Not thread-safe."""

    def __init__(self) -> None:
        self._best: list[Reading] = []
        self.rejected = 0
        """Pongs with impossible times."""
        self.restarts = 0
        """Number of readings that contradicted all before them."""

    def add(self, pong: Pong, received_time_us: int) -> None:
        """Enter a pong that arrived at `received_time_us` (CLOCK_MONOTONIC, µs)."""
        reading = reading_from(pong, received_time_us)
        if reading is None:
            self.rejected += 1
            return
        if self._contradicts(reading):
            self._best.clear()
            self.restarts += 1
        if self._best and reading.device_time_us // BUCKET_US == self._best[-1].device_time_us // BUCKET_US:
            if self._error_at(reading, reading.device_time_us) <= self._error_at(self._best[-1], reading.device_time_us):
                self._best[-1] = reading
        else:
            self._best.append(reading)
            del self._best[:-MAX_BUCKETS]

    def estimate(self, device_time_us: int) -> ClockEstimate | None:
        """The estimate at `device_time_us` on the local clock; None before the first pong."""
        if not self._best:
            return None
        drift_ppm = self._drift_ppm()
        best = min(self._best, key=lambda reading: self._error_at(reading, device_time_us))
        age_us = device_time_us - best.device_time_us
        error_us = self._error_at(best, device_time_us) + abs(drift_ppm * 1e-6 * age_us)
        return ClockEstimate(best.offset_us + drift_ppm * 1e-6 * age_us, drift_ppm, error_us, best.round_trip_us)

    def _contradicts(self, reading: Reading) -> bool:
        known = self.estimate(reading.device_time_us)
        if known is None:
            return False
        return abs(known.offset_us - reading.offset_us) > known.error_us + reading.round_trip_us / 2 + RESOLUTION_US

    @staticmethod
    def _error_at(reading: Reading, device_time_us: int) -> float:
        age_us = abs(device_time_us - reading.device_time_us)
        return reading.round_trip_us / 2 + RESOLUTION_US + MAX_DRIFT_PPM * 1e-6 * age_us

    def _drift_ppm(self) -> float:
        if self._best[-1].device_time_us - self._best[0].device_time_us < DRIFT_SPAN_US:
            return 0.0
        origin_us, origin_offset = self._best[0].device_time_us, self._best[0].offset_us
        weights = [1.0 / (reading.round_trip_us + 100) for reading in self._best]
        times = [float(reading.device_time_us - origin_us) for reading in self._best]
        offsets = [reading.offset_us - origin_offset for reading in self._best]
        total = sum(weights)
        mean_time = sum(w * t for w, t in zip(weights, times, strict=True)) / total
        mean_offset = sum(w * o for w, o in zip(weights, offsets, strict=True)) / total
        spread = sum(w * (t - mean_time) ** 2 for w, t in zip(weights, times, strict=True))
        slope = sum(w * (t - mean_time) * (o - mean_offset) for w, t, o in zip(weights, times, offsets, strict=True)) / spread
        return max(-MAX_DRIFT_PPM, min(MAX_DRIFT_PPM, slope * 1e6))
