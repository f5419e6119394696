"""What is measured: the cases, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from tests.lab.stamp import AUDIO_BYTES, MOTION_BYTES

WINDOW_BYTES = 240 * MOTION_BYTES
"""As large as AvatarKit's windows of motion in its recorded conversations, about 50 KB."""


WARM_UP_S = 0.7
"""Under load, before the measured stretch."""


class Shape(StrEnum):
    """How payloads are made."""

    BURST = "burst"
    """Whole utterances at once, as fast as the contender takes them."""
    WINDOWS = "windows"
    """The same with windows of motion after the first sound."""
    PACED = "paced"
    """In real time: at `audio_us` and `motion_us` in each session."""
    IDLE = "idle"
    """Devices are attached, and nothing plays."""
    FIRST = "first"
    """How long the first sound takes, on a new connection and on one that stands."""


@dataclass(frozen=True, slots=True)
class Case:
    """One load. `fan_out` devices hear each session."""

    name: str
    title: str
    shape: Shape
    sessions: int = 1
    fan_out: int = 1
    seconds: float = 1.5
    audio_bytes: int = AUDIO_BYTES
    motion_bytes: int = MOTION_BYTES
    audio_us: int = 20_000
    """Between payloads of sound."""
    motion_us: int = 33_333
    """Between payloads of motion."""


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
"""As AvatarKit's Server SDK hands it out: 100 ms of PCM in a payload, and windows of motion of 2 s."""
QUICK = replace(REAL, name="quick", title="the same at 1.5 times real time", audio_us=66_667, motion_us=1_333_333)
IDLE = Case("idle", "400 idle devices", Shape.IDLE, sessions=400, seconds=10.0)
FIRST = Case("first", "first sound", Shape.FIRST, seconds=0.0)
CASES = (BURST, FAN_OUT, WINDOWS, PACED, SINGLE, REAL, QUICK, IDLE, FIRST)
