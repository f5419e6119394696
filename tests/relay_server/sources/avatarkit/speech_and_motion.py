"""How the stand-in Motion Server measures the speech it is sent, and the motion it returns."""

from __future__ import annotations

import math

KEYFRAMES_PER_SECOND = 25


def ogg_opus_seconds(stream: bytes | bytearray) -> float:
    """Duration of the complete pages of a stream: the last granule position, at 48 kHz, without the pre-skip (RFC 7845, 4)."""
    start, granule, pre_skip = 0, 0, 0
    while len(stream) >= start + 27:
        assert stream[start : start + 4] == b"OggS", "sound that is not Ogg, or not all of it"
        lacing = stream[start + 27 : start + 27 + stream[start + 26]]
        body = start + 27 + len(lacing)
        if len(lacing) < stream[start + 26] or len(stream) < body + sum(lacing):
            break
        if stream[body : body + 8] == b"OpusHead":
            pre_skip = int.from_bytes(stream[body + 10 : body + 12], "little")
        granule = max(granule, int.from_bytes(stream[start + 6 : start + 14], "little", signed=True))
        start = body + sum(lacing)
    return max(granule - pre_skip, 0) / 48_000


def keyframe(request: int, index: int) -> dict[str, list[float]]:
    """A keyframe of the real dimensions: request and index in the first numbers, then moving values."""
    time_s = index / KEYFRAMES_PER_SECOND
    moving = [math.sin(2 * math.pi * (1.3 + 0.07 * channel) * time_s + channel) for channel in range(50)]
    return {
        "translation": [float(request), float(index), 0.0037],
        "rotation": [0.0, 0.0, 0.0],
        "neck_pose": [0.12 + 0.03 * math.sin(time_s), 0.0, 0.0],
        "jaw_pose": [0.03 + 0.02 * math.sin(9 * time_s), 0.0, 0.0],
        "eye_pose": [0.0003] * 6,
        "eye_lid": [0.0, 0.0],
        "expression": moving + [0.0] * 50,
    }
