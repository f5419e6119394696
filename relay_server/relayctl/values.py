"""Numbers on the command line, checked to be finite and within bounds."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from avatar_relay.volume_curve import gain_at


def gain(text: str) -> float:
    """A type for `add_argument`: a linear gain, or a percentage, which is the position of a volume control."""
    if text.endswith("%"):
        return gain_at(number(0, 100)(text[:-1]) / 100)
    try:
        return float(text)  # the relay checks the range
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number from 0 to 1, nor a percentage") from None


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
