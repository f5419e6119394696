"""The duration of an Opus packet, from its first bytes (RFC 6716, section 3.1 and 3.2)."""

from __future__ import annotations

MAX_PACKET_US = 120_000
"""RFC 6716, section 3.2.5, R5."""

_FRAME_US = (*3 * (10_000, 20_000, 40_000, 60_000), *2 * (10_000, 20_000), *4 * (2_500, 5_000, 10_000, 20_000))
"""Length of a frame by configuration: SILK (12 of them), hybrid (4), CELT (16)."""


def packet_duration_us(packet: bytes) -> int:
    """Length of a packet on the media line in µs, 2,500 to 120,000. Raises `ValueError` if it cannot be a packet."""
    if not packet:
        raise _undecodable("it is empty")
    toc = packet[0]
    if toc & 3 == 3 and len(packet) < 2:
        raise _undecodable("it ends before its frame count")
    frames = (1, 2, 2)[toc & 3] if toc & 3 < 3 else packet[1] & 0x3F
    duration_us = frames * _FRAME_US[toc >> 3]
    if not 0 < duration_us <= MAX_PACKET_US:
        raise _undecodable(f"{frames} frames would last {duration_us / 1000:g} ms; 2.5 to 120 ms are possible")
    if toc & 3 == 1 and len(packet) % 2 == 0:
        raise _undecodable("its two frames are not of one size")
    return duration_us


def _undecodable(why: str) -> ValueError:
    return ValueError(f"not an Opus packet: {why}. Hand over one bare packet per call, or declare the format as Ogg Opus")
