"""The duration of an Opus packet, from its first bytes (RFC 6716, section 3.1 and 3.2)."""

from __future__ import annotations

MAX_PACKET_US = 120_000
"""RFC 6716, section 3.2.5, R5."""

_SILK_US = (10_000, 20_000, 40_000, 60_000)
_HYBRID_US = (10_000, 20_000)
_CELT_US = (2_500, 5_000, 10_000, 20_000)


def _frame_us(config: int) -> int:
    if config < 12:
        return _SILK_US[config % 4]
    if config < 16:
        return _HYBRID_US[config % 2]
    return _CELT_US[config % 4]


def packet_duration_us(packet: bytes) -> int:
    """Length of a packet on the media line in µs, 2,500 to 120,000. Raises `ValueError` if it cannot be a packet."""
    if not packet:
        raise _undecodable("it is empty")
    toc = packet[0]
    match toc & 3:
        case 0:
            frames = 1
        case 1 | 2:
            frames = 2
        case _:
            if len(packet) < 2:
                raise _undecodable("it ends before its frame count")
            frames = packet[1] & 0x3F
    duration_us = frames * _frame_us(toc >> 3)
    if not 0 < duration_us <= MAX_PACKET_US:
        raise _undecodable(f"{frames} frames would last {duration_us / 1000:g} ms; 2.5 to 120 ms are possible")
    if toc & 3 == 1 and len(packet) % 2 == 0:
        raise _undecodable("its two frames are not of one size")
    return duration_us


def _undecodable(why: str) -> ValueError:
    return ValueError(f"not an Opus packet: {why}. Hand over one bare packet per call, or declare the format as Ogg Opus")
