"""Order statistics."""

from __future__ import annotations

from collections.abc import Iterable


def quantile(ordered: list[int], share: float) -> int:
    """The value that `share` of all are not above; 0 of none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0


def percentiles(values: Iterable[int]) -> dict[str, int]:
    """p50, p90, p99 and the largest."""
    ordered = sorted(values)
    return {"p50": quantile(ordered, 0.5), "p90": quantile(ordered, 0.9), "p99": quantile(ordered, 0.99), "max": quantile(ordered, 1.0)}
