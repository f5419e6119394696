"""Unique payloads of simulated speech, in the form of Opus packets or rows of weights, each with an identifying stamp.

The stamp is three words after the first four bytes: session number, payload number, time in µs. Each word
is below 2**30, so that it is a finite weight when read as float32.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass

AUDIO_BYTES = 700
"""Size of a 20 ms packet, at the upper end for speech."""
WEIGHTS = 55
"""Number of weights per row of motion."""
MOTION_BYTES = 4 * WEIGHTS
MASK = (1 << 30) - 1
_STAMP = struct.Struct("<4sIII")
_AUDIO_HEAD = b"\xf8\0\0\0"
"""First byte of an Opus packet (RFC 6716, section 3.1): full band, 20 ms, mono, one frame."""
_MOTION_HEAD = bytes(4)


@dataclass(frozen=True, slots=True)
class Stamp:
    """The stamp of a payload."""

    session: int
    number: int
    time_us: int


def audio_payload(session: int, number: int, time_us: int, size: int = AUDIO_BYTES) -> bytes:
    """Build a sound packet."""
    return _STAMP.pack(_AUDIO_HEAD, session, number, time_us & MASK) + bytes(size - _STAMP.size)


def motion_payload(session: int, number: int, time_us: int, size: int = MOTION_BYTES) -> bytes:
    """Build rows of weights; `size` is a multiple of `MOTION_BYTES`."""
    return _STAMP.pack(_MOTION_HEAD, session, number, time_us & MASK) + bytes(size - _STAMP.size)


def read_stamp(data: bytes) -> Stamp:
    """Read the stamp of a payload."""
    _, session, number, time_us = _STAMP.unpack_from(data)
    return Stamp(session, number, time_us)


def age_us(stamp: Stamp, now_us: int) -> int:
    """Time since the stamp was made; valid up to 18 minutes."""
    return (now_us - stamp.time_us) & MASK


def now_us() -> int:
    """Monotonic time in µs."""
    return time.monotonic_ns() // 1_000
