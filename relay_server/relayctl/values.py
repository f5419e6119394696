"""Numbers on the command line: within bounds, and finite, before anything is done with them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def number(low: float, high: float) -> Callable[[str], float]:
    """A type for `add_argument`: a number from `low` to `high`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number from {low:g} to {high:g}")
        return value

    return read
