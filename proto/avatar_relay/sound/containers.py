"""Identifies a stream by its first bytes: containers and encodings other than the declared ones.

PCM may be any bytes, so only patterns that cannot occur by chance count:

- `RIFF` or `RF64` with `WAVE`; `fLaC` with a STREAMINFO of 34 bytes; EBML with a DocType; a `ftyp` box; an ID3 tag with a valid version
  and size;
- an Ogg page of version 0 with a correct checksum;
- MPEG audio and ADTS, which have a mark of 11 or 12 bits only: three consecutive frames that agree.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from avatar_relay.sound.ogg import is_intact, page_length

HEAD_BYTES = 4_096
"""Only this many bytes are inspected."""

_CHAINED_FRAMES = 3
_MPEG_RATES_HZ = ((11_025, 12_000, 8_000), (), (22_050, 24_000, 16_000), (44_100, 48_000, 32_000))
"""By version: 2.5, none, 2, 1."""
_MPEG1_KBPS = {
    3: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
"""By the header's layer field: 3 is Layer I, 2 is II, 1 is III."""
_MPEG2_KBPS = {
    3: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    1: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class Container(enum.Enum):
    """Recognized kinds; the value is the name in messages."""

    WAV = "RIFF (WAV)"
    OGG = "Ogg (OggS)"
    FLAC = "FLAC (fLaC)"
    EBML = "EBML (Matroska or WebM)"
    MP4 = "MP4 (ftyp)"
    ID3 = "an ID3 tag (MP3)"
    MPEG = "MPEG audio (MP3)"
    ADTS = "ADTS (AAC)"
    UNDECIDED = "too short to tell"
    """It begins like one of them; more bytes are needed."""


def sniff(head: bytes) -> Container | None:
    """Identify a stream by its first `HEAD_BYTES`; None if it is of no known kind."""
    head = head[:HEAD_BYTES]
    if not head:
        return Container.UNDECIDED
    for container, probe in _PROBES.get(head[0], ()):
        verdict = probe(head)
        if verdict is None and len(head) < HEAD_BYTES:
            return Container.UNDECIDED
        if verdict:
            return container
    return None


def id3_bytes(header: bytes) -> int:
    """Length of an ID3 tag including its header; needs 10 bytes."""
    size = header[6] << 21 | header[7] << 14 | header[8] << 7 | header[9]
    return size + (20 if header[5] & 0x10 else 10)


# Each probe returns whether its pattern matches; None if it needs more bytes.


def _marked(head: bytes, mark: bytes, needed: int) -> bool | None:
    """Whether the mark is present, and as many bytes as the probe needs."""
    if head[: len(mark)] != mark[: len(head)]:
        return False
    return True if len(head) >= needed else None


def _wav(head: bytes) -> bool | None:
    if head[:4] not in (b"RIFF"[: len(head)], b"RF64"[: len(head)]):
        return False
    if len(head) < 12:
        return None if b"WAVE".startswith(head[8:12]) else False
    return head[8:12] == b"WAVE"


def _ogg(head: bytes) -> bool | None:
    marked = _marked(head, b"OggS\0", 27)
    if not marked:
        return marked
    length = page_length(head)
    if length is None or length > len(head):
        return None
    return is_intact(head[:length])


def _flac(head: bytes) -> bool | None:
    marked = _marked(head, b"fLaC", 42)
    if not marked:
        return marked
    smallest, largest = int.from_bytes(head[8:10], "big"), int.from_bytes(head[10:12], "big")
    rate_hz = int.from_bytes(head[18:21], "big") >> 4
    return head[4] & 0x7F == 0 and head[5:8] == b"\0\0\x22" and 16 <= smallest <= largest and rate_hz > 0


def _ebml(head: bytes) -> bool | None:
    marked = _marked(head, b"\x1a\x45\xdf\xa3", 5)
    if not marked:
        return marked
    size_bytes = 9 - head[4].bit_length()
    if size_bytes > 8 or len(head) < 4 + size_bytes:
        return None if size_bytes <= 8 else False
    end = 4 + size_bytes + (int.from_bytes(head[4 : 4 + size_bytes], "big") & ((1 << 7 * size_bytes) - 1))
    if end > HEAD_BYTES:
        return False
    at = head.find(b"\x42\x82", 4 + size_bytes, end)
    if at >= 0 and len(head) > at + 2:
        text = head[at + 3 : at + 3 + (head[at + 2] & 0x7F)]
        if len(text) == head[at + 2] & 0x7F:
            return head[at + 2] > 0x80 and text.isalnum()
    return None if len(head) < end else False


def _mp4(head: bytes) -> bool | None:
    if head[4:8] != b"ftyp"[: max(0, len(head) - 4)]:
        return False
    if len(head) < 12:
        return None
    return 8 <= int.from_bytes(head[:4], "big") <= HEAD_BYTES and all(32 <= byte < 127 for byte in head[8:12])


def _id3(head: bytes) -> bool | None:
    marked = _marked(head, b"ID3", 10)
    if not marked:
        return marked
    unused_flags = {2: 0x3F, 3: 0x1F, 4: 0x0F}.get(head[3])
    return unused_flags is not None and head[4] != 0xFF and not head[5] & unused_flags and max(head[6:10]) < 0x80


def _mpeg_frame(header: bytes) -> tuple[int, tuple[int, ...]] | None:
    """Length of a frame, and the properties that all frames of a stream share."""
    if header[0] != 0xFF or header[1] < 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bit_rate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or not layer or bit_rate in (0, 15) or rate == 3 or header[3] & 3 == 2:
        return None
    kbps = (_MPEG1_KBPS if version == 3 else _MPEG2_KBPS)[layer][bit_rate - 1]
    rate_hz = _MPEG_RATES_HZ[version][rate]
    if layer == 3:
        length = (12_000 * kbps // rate_hz + padding) * 4
    else:
        length = (72_000 if layer == 1 and version != 3 else 144_000) * kbps // rate_hz + padding
    return length, (version, layer, rate, header[3] >> 6 == 3)


def _adts_frame(header: bytes) -> tuple[int, tuple[int, ...]] | None:
    if header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    rate, channels = header[2] >> 2 & 15, (header[2] & 1) << 2 | header[3] >> 6
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if rate > 12 or length < 9:
        return None
    return length, (header[1], header[2] >> 6, rate, channels)


def _chained(head: bytes, frame_of: Callable[[bytes], tuple[int, tuple[int, ...]] | None], header_bytes: int) -> bool | None:
    """Whether consecutive frames agree."""
    at, shared = 0, None
    for _ in range(_CHAINED_FRAMES):
        header = head[at : at + header_bytes]
        if len(header) < header_bytes:
            return None if header[:2] in (b"", b"\xff") or (header[0] == 0xFF and header[1] >= 0xE0) else False
        frame = frame_of(header)
        if frame is None or shared not in (None, frame[1]):
            return False
        at, shared = at + frame[0], frame[1]
    return True


def _mpeg(head: bytes) -> bool | None:
    return _chained(head, _mpeg_frame, 4)


def _adts(head: bytes) -> bool | None:
    return _chained(head, _adts_frame, 7)


_PROBES: dict[int, tuple[tuple[Container, Callable[[bytes], bool | None]], ...]] = {
    ord("R"): ((Container.WAV, _wav),),
    ord("O"): ((Container.OGG, _ogg),),
    ord("f"): ((Container.FLAC, _flac),),
    0x1A: ((Container.EBML, _ebml),),
    ord("I"): ((Container.ID3, _id3),),
    0xFF: ((Container.MPEG, _mpeg), (Container.ADTS, _adts)),
    0: ((Container.MP4, _mp4),),
}
"""Probes by the first byte."""
