"""Skew in figures: one list of readings in, percentiles out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class SkewFigures:
    """In ms. `p50` and `mean` keep their sign (positive: sound early), the others are of the absolute skew."""

    p50: float
    p95: float
    p99: float
    max_abs: float
    mean: float


def skew_figures(skews_ms: Sequence[float]) -> SkewFigures | None:
    """Figures of all readings; None of none."""
    if not skews_ms:
        return None
    values = np.asarray(skews_ms, np.float64)
    p95, p99 = np.percentile(np.abs(values), (95, 99)).tolist()
    return SkewFigures(float(np.median(values)), p95, p99, float(np.abs(values).max()), float(values.mean()))
