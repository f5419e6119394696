"""The sound and motion of a calibration, and the meaning of a person's input. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.desk_settings import OUTPUT_OFFSET_MS

RATE_HZ = 16_000
KEYFRAMES_PER_SECOND = 100.0
CLICKS = 4
"""Number of clicks in one conversation; the next conversation follows."""
PERIOD_S = 2.5
"""Time from click to click: the range of all possible offsets, so that a click matches only one opening of the mouth."""
LEAD_S = 0.75
"""Time before the first click: more than the largest lead of the mouth."""
CLICK_S, OPEN_S = 0.005, 0.12
_PEAK, _CLICK_HZ = 24_000, 2_000


@dataclass(frozen=True, slots=True)
class Typed:
    """A person's request: another offset, to keep this one, or to leave. None of them: the input was not understood."""

    offset_ms: float | None = None
    keep: bool = False
    leave: bool = False


def read_typed(line: str | None, offset_ms: float) -> Typed:
    """Parse a line entered while `offset_ms` is tried; None is the end of the input."""
    text = line.strip().lower() if line is not None else "q"
    if text in ("", "q"):
        return Typed(keep=not text, leave=bool(text))
    try:
        value = float(text)
    except ValueError:
        return Typed()
    value += offset_ms if text[0] in "+-" else 0
    return Typed(offset_ms=value) if OUTPUT_OFFSET_MS[0] <= value <= OUTPUT_OFFSET_MS[1] else Typed()


def clicks() -> bytes:
    """The sound of one conversation."""
    samples = np.zeros(round((LEAD_S + CLICKS * PERIOD_S) * RATE_HZ))
    times = np.arange(round(CLICK_S * RATE_HZ)) / RATE_HZ
    for number in range(CLICKS):
        begin = round((LEAD_S + number * PERIOD_S) * RATE_HZ)
        samples[begin : begin + len(times)] = _PEAK * (1 - times / CLICK_S) * np.cos(2 * np.pi * _CLICK_HZ * times)
    return samples.astype("<i2").tobytes()


def mouth(shift_ms: float) -> bytes:
    """The motion of one conversation: the mouth snaps open `shift_ms` after each click, or before it if negative.

    Openings before the beginning of the sound, or after its end, are left out.
    """
    weights = np.zeros((round((LEAD_S + CLICKS * PERIOD_S) * KEYFRAMES_PER_SECOND), len(ARKIT_NAMES)), "<f4")
    for number in range(CLICKS):
        begin = round((LEAD_S + number * PERIOD_S + shift_ms / 1_000) * KEYFRAMES_PER_SECOND)
        if begin >= 0:
            weights[begin : begin + round(OPEN_S * KEYFRAMES_PER_SECOND), ARKIT_NAMES.index("jawOpen")] = 1.0
    return weights.tobytes()
