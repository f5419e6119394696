"""Length-delimited fields as bytes (protobuf encoding, "Length-Delimited Records").

Joins and splits messages without encoding their content again. Except for `length`, input was parsed by protobuf before, so that its
lengths are correct.
"""

from __future__ import annotations

from functools import lru_cache


def tag(field: int) -> int:
    """The number at the start of a length-delimited field: one byte below field 16."""
    return field << 3 | 2


def delimited(field: int, data: bytes) -> bytes:
    """A field with its tag and length."""
    return header(field, len(data)) + data


@lru_cache(maxsize=4_096)
def header(field: int, length: int) -> bytes:
    """Tag and length of a field."""
    encoded = bytearray()
    for number in (tag(field), length):
        while number > 0x7F:
            encoded.append(number & 0x7F | 0x80)
            number >>= 7
        encoded.append(number)
    return bytes(encoded)


def length(data: bytes, at: int) -> tuple[int, int]:
    """The length at `at`, and the position after it; for any bytes. Raises `IndexError` for one of more than three bytes."""
    size, shift = 0, 0
    while (byte := data[at]) > 0x7F:
        size |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if shift > 14:
            raise IndexError("a length beyond any usual message")
    return size | byte << shift, at + 1


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and the position after it."""
    value, shift = 0, 0
    while (byte := data[at]) & 0x80:
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    return value | byte << shift, at + 1


def is_only(field: int, data: bytes) -> bool:
    """Whether a message consists of this field, once, and nothing else."""
    if not data or data[0] != field << 3 | 2:  # `tag` and `varint` inlined: called for each message
        return False
    size, at = data[1] & 0x7F, 1
    while data[at] & 0x80:
        at += 1
        size |= (data[at] & 0x7F) << 7 * (at - 1)
    return at + 1 + size == len(data)
