"""Arrival times of payloads, by seed: delay, jitter, spikes, stalls, and reordering if the path does not keep order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Network:
    """A path from the relay to the device. Times in µs."""

    delay_us: int = 50_000
    jitter_us: int = 0
    """Uniform, in both directions."""
    spike_share: float = 0.0
    spike_us: int = 0
    stalls: tuple[tuple[int, int], ...] = ()
    """When a stall begins, and its length; all delayed payloads arrive at its end."""
    keeps_order: bool = True
    """As over TCP: a late payload holds back those after it."""

    def arrivals(self, count: int, period_us: int, rng: np.random.Generator) -> list[int]:
        """Arrival time of each of `count` payloads sent every `period_us`, from 0 on."""
        delays = self.delay_us + rng.integers(-self.jitter_us, self.jitter_us + 1, count)
        delays = delays + np.where(rng.random(count) < self.spike_share, self.spike_us, 0)
        times = (np.arange(count, dtype=np.int64) * period_us + delays).tolist()
        held = [self._held(time_us) for time_us in times]
        return list(itertools.accumulate(held, max)) if self.keeps_order else held

    def _held(self, time_us: int) -> int:
        return max([time_us, *(begin + length for begin, length in self.stalls if begin <= time_us < begin + length)])


CALM = Network()
ROUGH = Network(jitter_us=40_000, spike_share=0.01, spike_us=200_000)
"""50 ± 40 ms, and one in each hundred payloads 200 ms later still."""
