"""Decides when a card's buffer has to grow. Pure: time is an argument.

The rules:
1. A buffer that ran dry is too small. It grows by one step in the next silence, when reopening the card is not heard.
2. Three dry runs within 10 s: it grows at once.
3. It stays at 20 ms or less for quick interrupts, and grows to 50 ms if 20 are too few. Larger buffers need the setting `latency = "safe"`.
"""

from __future__ import annotations

from collections import deque

from edge_client.choices import Latency

STEPS_US = (10_000, 20_000, 50_000)
SAFE_STEPS_US = (50_000, 100_000, 200_000)
_DRY_RUNS = 3
_WITHIN_US = 10_000_000


class BufferGrowth:
    """Watches one card. Not thread-safe."""

    def __init__(self, buffer_us: int, latency: Latency = "low") -> None:
        self._next_us = next((step for step in (*STEPS_US, *(SAFE_STEPS_US if latency == "safe" else ())) if step > buffer_us), None)
        self._dry_runs = 0
        self._last: deque[int] = deque(maxlen=_DRY_RUNS)

    def look(self, now_us: int, dry_runs: int, *, sounding: bool) -> int | None:
        """The buffer size, in µs, with which to reopen the card now; None to keep it. `dry_runs` counts since the card was opened."""
        self._last.extend([now_us] * min(dry_runs - self._dry_runs, _DRY_RUNS))
        self._dry_runs = dry_runs
        if self._next_us is None or not dry_runs:
            return None
        often = len(self._last) == _DRY_RUNS and self._last[-1] - self._last[0] <= _WITHIN_US
        return self._next_us if often or not sounding else None
