"""Payloads of simulated speech, no two alike: an Opus packet or rows of weights by their look, with a stamp that says which one it is.

The stamp is three words behind the first four bytes: number of the session, number of the payload, time in µs. Each word
stays below 2**30, so that read as float32 it is a finite weight.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass

AUDIO_BYTES = 700
"""A packet of 20 ms, at the upper end of what speech needs."""
WEIGHTS = 55
"""Columns of a row of motion."""
MOTION_BYTES = 4 * WEIGHTS
MASK = (1 << 30) - 1
_STAMP = struct.Struct("<4sIII")
_AUDIO_HEAD = b"\xf8\0\0\0"
"""First byte of an Opus packet (RFC 6716, section 3.1): full band, 20 ms, mono, one frame."""
_MOTION_HEAD = bytes(4)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a payload says of itself."""

    session: int
    number: int
    time_us: int


def audio_payload(session: int, number: int, time_us: int, size: int = AUDIO_BYTES) -> bytes:
    """A packet of sound."""
    return _STAMP.pack(_AUDIO_HEAD, session, number, time_us & MASK) + bytes(size - _STAMP.size)


def motion_payload(session: int, number: int, time_us: int, size: int = MOTION_BYTES) -> bytes:
    """Rows of weights; `size` is a multiple of `MOTION_BYTES`."""
    return _STAMP.pack(_MOTION_HEAD, session, number, time_us & MASK) + bytes(size - _STAMP.size)


def read_stamp(data: bytes) -> Stamp:
    """What was stamped."""
    _, session, number, time_us = _STAMP.unpack_from(data)
    return Stamp(session, number, time_us)


def age_us(stamp: Stamp, now_us: int) -> int:
    """Time since the stamp was made, below 18 minutes."""
    return (now_us - stamp.time_us) & MASK


def now_us() -> int:
    """The monotonic clock, in µs."""
    return time.monotonic_ns() // 1_000
