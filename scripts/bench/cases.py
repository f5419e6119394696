"""The benchmark cases, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from tests.lab.stamp import AUDIO_BYTES, MOTION_BYTES

WINDOW_BYTES = 240 * MOTION_BYTES
"""Size of AvatarKit's motion windows in recorded conversations, about 50 KB."""


WARM_UP_S = 0.7
"""Warm-up under load before the measured interval."""


class Shape(StrEnum):
    """How payloads are generated."""

    BURST = "burst"
    """Whole utterances at once, as fast as the contender accepts them."""
    WINDOWS = "windows"
    """As `BURST`, with windows of motion after the first sound."""
    PACED = "paced"
    """In real time: every `audio_us` and `motion_us` in each session."""
    IDLE = "idle"
    """Devices are attached, but nothing plays."""
    FIRST = "first"
    """Latency of the first sound, on a new and on an established connection."""


@dataclass(frozen=True, slots=True)
class Case:
    """One load. Each session has `fan_out` devices."""

    name: str
    title: str
    shape: Shape
    sessions: int = 1
    fan_out: int = 1
    seconds: float = 1.5
    ramp_s: float = 0.0
    """Time within which the sessions begin, one after another, before the warm-up."""
    audio_bytes: int = AUDIO_BYTES
    motion_bytes: int = MOTION_BYTES
    audio_us: int = 20_000
    """Interval between sound payloads."""
    motion_us: int = 33_333
    """Interval between motion payloads."""


BURST = Case("burst", "burst, 1 → 1", Shape.BURST)
FAN_OUT = Case("fan-out", "burst, 1 → 16", Shape.BURST, fan_out=16)
WINDOWS = Case("windows", "50 KB windows of motion, 1 → 1", Shape.WINDOWS, motion_bytes=WINDOW_BYTES)
PACED = Case("paced", "20 sessions × 80 payloads/s", Shape.PACED, sessions=20, seconds=3.5)
SINGLE = Case("single", "1 session × 80 payloads/s", Shape.PACED, sessions=1, seconds=3.0)
REAL = Case(
    "real",
    "60 sessions of AvatarKit's traffic",
    Shape.PACED,
    sessions=60,
    seconds=6.0,
    audio_bytes=3_200,
    motion_bytes=WINDOW_BYTES // 2,
    audio_us=100_000,
    motion_us=2_000_000,
)
"""The format of AvatarKit's Server SDK: 100 ms of PCM per payload, and 2 s motion windows."""
QUICK = replace(REAL, name="quick", title="the same at 1.5 times real time", audio_us=66_667, motion_us=1_333_333)
IDLE = Case("idle", "400 idle devices", Shape.IDLE, sessions=400, seconds=10.0)
FIRST = Case("first", "first sound", Shape.FIRST, seconds=0.0)
CASES = (BURST, FAN_OUT, WINDOWS, PACED, SINGLE, REAL, QUICK, IDLE, FIRST)
