"""Splits Ogg Opus streams, and joins them like other muxers do, or incorrectly."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from avatar_relay.sound.ogg import OggPages, PacketAssembler, page_checksum
from avatar_relay.sound.opus import packet_frames

FIRST, LAST = 2, 4
Granule = Callable[[int, int, bool], int]
"""Maps the frames up to a page's end, the packets up to there and whether it is the last page, to its granule position."""


def split_pages(stream: bytes) -> list[bytes]:
    """Return the pages of an undamaged Ogg stream."""
    pages = []
    while stream:
        lacing = stream[27 : 27 + stream[26]]
        length = 27 + len(lacing) + sum(lacing)
        pages.append(stream[:length])
        stream = stream[length:]
    return pages


def make_page(packets: Sequence[bytes], *, granule: int = 0, sequence: int = 0, serial: int = 1, flags: int = 0) -> bytes:
    """Return a page with complete packets."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    header = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, sequence, 0, len(lacing)) + lacing
    return with_checksum(header + b"".join(packets))


def with_checksum(page: bytes) -> bytes:
    """Return the page with a correct checksum."""
    page = page[:22] + bytes(4) + page[26:]
    return page[:22] + page_checksum(page).to_bytes(4, "little") + page[26:]


def opus_head(
    *, channels: int = 1, pre_skip_frames: int = 312, gain_q8: int = 0, version: int = 1, mapping_family: int = 0, table: bytes = b""
) -> bytes:
    """Return the first packet of an Ogg Opus stream."""
    return struct.pack("<8sBBHIhB", b"OpusHead", version, channels, pre_skip_frames, 48_000, gain_q8, mapping_family) + table


class TakenApart:
    """The packets of an Ogg Opus stream; `mux` joins them again."""

    def __init__(self, stream: bytes) -> None:
        assembler, packets, granule = PacketAssembler(1 << 20), list[bytes](), 0
        for page in OggPages().feed(stream):
            packets += assembler.add(page)[0]
            granule = page.granule or granule
        self.head, self.tags, *self.packets = packets
        self.pre_skip: int = struct.unpack_from("<H", self.head, 10)[0]
        self.end = granule
        """Its last granule position."""
        self.frames = sum(map(packet_frames, self.packets))
        """Frames in all packets, pre-skip included."""

    def right_granule(self, frames: int, packets: int, last: bool) -> int:
        """The granule position its own muxer wrote, or could have written."""
        return min(frames, self.end) if last else frames

    def mux(
        self,
        *,
        head: bytes = b"",
        packets: Sequence[bytes] | None = None,
        per_page: int = 50,
        granule: Granule | None = None,
        last_flags: int = LAST,
        behind: Sequence[bytes] = (),
        tags: bool = True,
        tags_flags: int = 0,
        serial: int = 7,
    ) -> bytes:
        """Return a stream of its packets; `behind` are extra packets on the last page."""
        parts = [make_page([head or self.head], serial=serial, flags=FIRST)]
        if tags:
            parts.append(make_page([self.tags], sequence=1, serial=serial, flags=tags_flags))
        pages = self._pages(self.packets if packets is None else packets, per_page)
        for sequence, (chunk, frames, count, last) in enumerate(pages, len(parts)):
            place = (granule or self.right_granule)(frames, count, last)
            content = [*chunk, *(behind if last else ())]
            parts.append(make_page(content, granule=place, sequence=sequence, serial=serial, flags=last_flags if last else 0))
        return b"".join(parts)

    def _pages(self, packets: Sequence[bytes], per_page: int) -> Iterator[tuple[Sequence[bytes], int, int, bool]]:
        frames = 0
        for at in range(0, len(packets), per_page):
            chunk = packets[at : at + per_page]
            frames += sum(map(packet_frames, filter(None, chunk)))
            yield chunk, frames, at + len(chunk), at + per_page >= len(packets)
