"""Ogg pages (RFC 3533) from a byte stream split anywhere: an incremental demuxer for one logical stream at a time.

A page counts only if its checksum is right. Damaged data is skipped, and the search continues at the next capture pattern; the gap shows in
the page's sequence number. Memory is bounded by one page (64 KiB), one packet and `MAX_UNSYNCED_BYTES`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from avatar_relay.errors import SoundError

CAPTURE_PATTERN = b"OggS"
MAX_UNSYNCED_BYTES = 192 << 10
"""After this many bytes without a page (which has at most 64 KiB) the stream is not Ogg any more."""

_HEADER = struct.Struct("<4sBBqIIIB")
_VERSION = 0
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_NO_GRANULE = -1
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class OggPage:
    """One page of the stream. `granule` is None if no packet ends on it."""

    serial: int
    sequence: int
    granule: int | None
    first: bool
    last: bool
    continued: bool
    segments: tuple[bytes, ...]
    """The pieces of packets on this page, in order."""
    open_ended: bool
    """Whether the last piece continues on the next page."""


def page_checksum(page: bytes) -> int:
    """Ogg's CRC-32 (polynomial 0x04C11DB7, not reflected, from 0) of a page whose checksum field is zeroed.

    zlib computes the reflected form, so bits are reversed before and after.
    """
    reflected = zlib.crc32(page.translate(_BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_BITS_REVERSED), "big")


class OggPages:
    """Finds pages in a byte stream."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._unsynced_bytes = 0
        self._seen_page = False
        self.damaged_pages = 0
        """Pages with a wrong checksum since the last good one."""

    @property
    def pending_bytes(self) -> int:
        """Bytes of an incomplete page."""
        begun = self._buffer[:5] == (CAPTURE_PATTERN + b"\0")[: len(self._buffer)]
        return len(self._buffer) if begun else 0

    def cut_page(self) -> OggPage | None:
        """The incomplete page, with those of its packets that are complete; None if its header is not.

        Its checksum cannot be checked.
        """
        length = page_length(self._buffer) if self.pending_bytes else None
        if length is None or length <= len(self._buffer):
            return None
        lacing = self._buffer[_HEADER.size : _HEADER.size + self._buffer[26]]
        there = len(self._buffer) - _HEADER.size - len(lacing)
        whole = max((at for at, end in enumerate(accumulate(lacing), 1) if end <= there and lacing[at - 1] < 255), default=0)
        page = self._buffer[:26] + bytes([whole]) + lacing[:whole] + self._buffer[_HEADER.size + len(lacing) :]
        return replace(_parse(bytes(page)), granule=None, last=False)

    def drop_pending(self) -> None:
        """Discard the incomplete page: the next data does not continue it."""
        self._buffer.clear()

    def feed(self, data: bytes) -> Iterator[OggPage]:
        """The pages that this data completes. Raises `SoundError` if it is not Ogg."""
        self._buffer += data
        while (page := self._next_page()) is not None:
            self._unsynced_bytes = self.damaged_pages = 0
            self._seen_page = True
            yield page

    def finish(self) -> Iterator[OggPage]:
        """The pages within the data of an incomplete page, at the end of the stream. The remaining data stays pending."""
        while self._seen_page and (at := self._buffer.find(CAPTURE_PATTERN, 1)) > 0:
            self.damaged_pages += 1
            del self._buffer[:at]
            yield from self.feed(b"")

    def _next_page(self) -> OggPage | None:
        while self._find_capture_pattern():
            if len(self._buffer) > 4 and self._buffer[4] != _VERSION:
                self._skip(1)
                continue
            length = page_length(self._buffer)
            if length is None or length > len(self._buffer):
                return None
            page = bytes(self._buffer[:length])
            if is_intact(page):
                del self._buffer[:length]
                return _parse(page)
            self.damaged_pages += 1
            self._skip(1)
        return None

    def _find_capture_pattern(self) -> bool:
        """Skip bytes that cannot be a header; returns whether one may begin at the start of the buffer."""
        if not self._seen_page and not CAPTURE_PATTERN.startswith(bytes(self._buffer[:4])):
            raise SoundError(f"not an Ogg stream: it begins with {bytes(self._buffer[:4]).hex(' ')}, not with 'OggS'")
        index = self._buffer.find(CAPTURE_PATTERN)
        if index < 0:
            self._skip(max(0, len(self._buffer) - len(CAPTURE_PATTERN) + 1))
            return False
        self._skip(index)
        return True

    def _skip(self, count: int) -> None:
        del self._buffer[:count]
        self._unsynced_bytes += count
        if not self._seen_page and count:
            raise SoundError("the first Ogg page is damaged")
        if self._unsynced_bytes > MAX_UNSYNCED_BYTES:
            self._unsynced_bytes = 0
            raise SoundError(f"no Ogg page in {MAX_UNSYNCED_BYTES} bytes")


def page_length(buffer: bytes | bytearray) -> int | None:
    """Length of the page that begins with these bytes; None while its header is incomplete."""
    if len(buffer) < _HEADER.size or len(buffer) < _HEADER.size + buffer[26]:
        return None
    lacing = buffer[_HEADER.size : _HEADER.size + buffer[26]]
    return _HEADER.size + len(lacing) + sum(lacing)


def is_intact(page: bytes) -> bool:
    """Whether the page's checksum is right."""
    return page_checksum(page[:22] + bytes(4) + page[26:]) == int.from_bytes(page[22:26], "little")


def _parse(page: bytes) -> OggPage:
    _, _, flags, granule, serial, sequence, _, lacing_count = _HEADER.unpack_from(page)
    lacing = page[_HEADER.size : _HEADER.size + lacing_count]
    segments: list[bytes] = []
    start = end = _HEADER.size + lacing_count
    for length in lacing:
        end += length
        if length < 255:
            segments.append(page[start:end])
            start = end
    open_ended = bool(lacing) and lacing[-1] == 255
    if open_ended:
        segments.append(page[start:end])
    return OggPage(
        serial=serial,
        sequence=sequence,
        granule=None if granule == _NO_GRANULE else granule,
        first=bool(flags & _FIRST),
        last=bool(flags & _LAST),
        continued=bool(flags & _CONTINUED),
        segments=tuple(segments),
        open_ended=open_ended,
    )


class PacketAssembler:
    """Joins the pieces of packets across the pages of one logical stream. A packet is kept up to `max_packet_bytes`."""

    def __init__(self, max_packet_bytes: int) -> None:
        self._max_packet_bytes = max_packet_bytes
        self._partial: bytearray | None = None
        self._next_sequence: int | None = None

    def expects(self, page: OggPage) -> bool:
        """Whether the page is the next one, by its number."""
        return page.sequence == self._next_sequence

    def add(self, page: OggPage) -> tuple[list[bytes], int]:
        """The packets that end on this page, and the number of pages missing before it.

        The rest of a packet without its beginning is dropped; a packet over the bound is truncated.
        """
        missing = 0 if self._next_sequence is None else (page.sequence - self._next_sequence) & 0xFFFFFFFF
        self._next_sequence = (page.sequence + 1) & 0xFFFFFFFF
        if missing or not page.continued:
            self._partial = None
        packets: list[bytes] = []
        for index, segment in enumerate(page.segments):
            if index == 0 and page.continued:
                if self._partial is None:
                    continue
                packet = self._partial
            else:
                packet = bytearray()
            packet += segment[: max(0, self._max_packet_bytes - len(packet))]
            if page.open_ended and index == len(page.segments) - 1:
                self._partial = packet
                break
            self._partial = None
            packets.append(bytes(packet))
        return packets, missing
