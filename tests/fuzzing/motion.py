"""Damaged motion payloads for the edge client, through decoder, stream, track, mixing and rig.

Each is a valid payload with bytes flipped, cut, duplicated, moved or replaced, or with NaN or infinite values. It may be refused with
a reason; the pose shown must be finite.
"""

from __future__ import annotations

import random
import resource
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.media import Kind, MotionEncoding, MotionFormat, Payload
from avatar_relay.reasons import DropReason, Fault
from edge_client.face.head import load_head
from edge_client.face.rig import Rig
from edge_client.motion.audio_mouth import with_mouth
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.pose import neutral_pose
from edge_client.motion.stream import MotionStream
from tests.lab.recordings import motion_messages

FORMATS = (
    MotionFormat(MotionEncoding.AVATARKIT_V2, 25.0),
    MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ARKIT_NAMES),
)
_NO_NUMBERS = (float("nan"), float("inf"), -float("inf"), 3.4e38, -3.4e38, 1e-45)
_ODD = (*(struct.pack("<f", number) for number in _NO_NUMBERS), b"\xff" * 8, b"\x80" * 10, b"\x00" * 4)
_STREAM_PAYLOADS = 64
"""Payloads per conversation; then a new one begins, as on a device."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results for all payloads."""

    taken: int
    refused: int
    keyframes: int
    longest_ms: float
    grown_mb: float
    """Growth of peak memory from the first tenth to the end."""


def good_payloads() -> tuple[list[bytes], list[bytes]]:
    """Valid payloads to damage, for each of `FORMATS`."""
    avatarkit = list(motion_messages((10, 12, 9)))
    rows = np.abs(np.sin(np.arange(12 * len(ARKIT_NAMES)))).astype("<f4").reshape(12, -1)
    return avatarkit, [rows[:count].tobytes() for count in (1, 5, 12)]


def damaged(good: bytes, chance: random.Random) -> bytes:
    """Apply one to eight mutations."""
    data = bytearray(good)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
            case 1:
                del data[at:]
            case 2:
                del data[at : at + chance.randrange(1, 40)]
            case 3:
                data[at:at] = chance.randbytes(chance.randrange(1, 12))
            case 4:
                odd = chance.choice(_ODD)
                data[at : at + len(odd)] = odd
            case 5:
                data[at:at] = data[at : at + chance.randrange(1, 400)]
            case _:
                data[at:] = data[: len(data) - at]
    return bytes(data)


def mutations(count: int, seed: int) -> Iterator[tuple[MotionFormat, bytes]]:
    """Yield damaged payloads, reproducible by seed."""
    chance = random.Random(seed)
    seeds = good_payloads()
    for _ in range(count):
        index = chance.randrange(len(FORMATS))
        yield FORMATS[index], damaged(chance.choice(seeds[index]), chance)


def feed(payloads: Iterator[tuple[MotionFormat, bytes]], count: int) -> Outcome:
    """Feed the payloads. Propagates every exception but a refusal; raises `AssertionError` if a pose is not finite."""
    rig, rest = Rig(load_head()), neutral_pose()
    streams: dict[MotionFormat, tuple[MotionStream, int]] = {}
    taken = refused = keyframes = 0
    longest_ns = early_kb = 0
    for number, (format, data) in enumerate(payloads):
        stream, seq = streams.get(format, (MotionStream(make_motion_decoder(format), format), 0))
        pts_us = stream.track.length_us
        began = time.thread_time_ns()
        found = stream.decode(Payload(Kind.MOTION, seq + 1, data, pts_us, 40_000))
        if isinstance(found, Fault | DropReason):
            refused += 1
        else:
            taken += 1
            keyframes += len(found)
            assert np.isfinite(found).all(), "a decoder gave a number that is not finite"
            stream.place(Payload(Kind.MOTION, seq + 1, data, pts_us, 40_000), found, 0)
            sample = stream.track.sample(pts_us)
            if sample is not None:
                pose = with_mouth(sample.pose, rest, 0.6)
                assert np.isfinite(rig.vertices(pose)).all() and np.isfinite(rig.turn(pose)).all(), "the head is not finite"
        longest_ns = max(longest_ns, time.thread_time_ns() - began)
        streams[format] = (stream, seq + 1)
        if seq + 1 == _STREAM_PAYLOADS:
            stream.close()
            del streams[format]
        if number == count // 10:
            early_kb = _peak_kb()
    return Outcome(taken, refused, keyframes, longest_ns / 1e6, (_peak_kb() - early_kb) / 1024)


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
