"""Payloads that can be told apart: each follows from conversation, kind and number."""

from __future__ import annotations

import hashlib

import numpy as np

from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat

AUDIO = AudioFormat(Codec.OPUS)
NAMES = ("jawOpen", "mouthFunnel", "mouthClose", "browInnerUp")
MOTION = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 50.0, NAMES)
_TOC_20_MS = 0xF8
"""RFC 6716, 3.1: CELT, full band, 20 ms, one frame."""
_LARGE_ONE_IN = 400
_LARGE_ROWS = 2_500
"""40 KB: three fragments."""


def audio(key: str, seq: int) -> bytes:
    """A bare Opus packet of 20 ms, 9 to 137 bytes: its head is real, its body tells what it is."""
    digest = hashlib.blake2b(f"{key} audio {seq}".encode()).digest()
    return bytes([_TOC_20_MS]) + (digest * 3)[: 8 + digest[0] % 129]


def motion(key: str, seq: int) -> bytes:
    """One row of weights; now and then so many that they travel in fragments."""
    digest = hashlib.blake2b(f"{key} motion {seq}".encode()).digest()
    rows = _LARGE_ROWS if int.from_bytes(digest[:4], "big") % _LARGE_ONE_IN == 0 else 1
    numbers = np.frombuffer(digest[:8], "<u2").astype("<f4") / 65_535
    return np.tile(numbers, rows).astype("<f4").tobytes()
