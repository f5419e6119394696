"""Order statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile at `share` (0 to 1) of sorted values; 0 if there are none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0


def percentiles(values: Iterable[float], shares: Sequence[int] = (50, 90, 99)) -> dict[str, float]:
    """These percentiles and the largest value, by name: `p50`, …, `max`."""
    ordered = sorted(values)
    return {f"p{share}": quantile(ordered, share / 100) for share in shares} | {"max": quantile(ordered, 1.0)}


def seconds(values: Sequence[float]) -> dict[str, float]:
    """Count, median, p95 and maximum, rounded to a millisecond; empty if there are no values."""
    found = {name: round(value, 3) for name, value in percentiles(values, (50, 95)).items()}
    return {"count": len(values), **found} if values else {}
