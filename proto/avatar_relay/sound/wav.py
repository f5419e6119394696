"""Extracts the samples of WAV (RIFF) from a byte stream, also if its sizes are wrong.

The rules:
1. Chunks before `data` are skipped, except `fmt ` and RF64's `ds64`.
2. A size of 0, or near 2 or 4 GiB, was written before the length was known: such samples continue to the end.
3. After the samples, chunks up to the size of the file are skipped, as long as they look like chunks.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from avatar_relay.errors import SoundError

HEADER_BYTES = 12
PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE

_UNKNOWN_FROM = 0x7FFF0000
_MAX_FORMAT_BYTES = 4_096
_MAX_TRAILING_CHUNK_BYTES = 64 << 20
_ENCODINGS = {PCM: "PCM", 2: "ADPCM", FLOAT: "float", ALAW: "A-law", MULAW: "µ-law", 0x11: "ADPCM", 0x31: "GSM", 0x55: "MP3"}


def is_wav(data: bytes) -> bool:
    """Whether these bytes begin a WAV; needs at least `HEADER_BYTES`."""
    return data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE"


@dataclass(frozen=True, slots=True)
class WavFormat:
    """The content of a `fmt ` chunk. `channel_mask` is 0 if absent."""

    encoding: int
    channels: int
    rate_hz: int
    block_bytes: int
    bits: int
    channel_mask: int = 0

    def __str__(self) -> str:
        name = _ENCODINGS.get(self.encoding, f"encoding 0x{self.encoding:x}")
        return f"{name}, {self.bits} bits, {self.rate_hz} Hz, {self.channels} channel{'s' if self.channels != 1 else ''}"


def parse_format(chunk: bytes) -> WavFormat:
    """Read a `fmt ` chunk. Raises `SoundError` if it is too short."""
    if len(chunk) < 16:
        raise SoundError(f"its 'fmt ' chunk has {len(chunk)} bytes; at least 16 are needed")
    encoding, channels, rate_hz, _, block_bytes, bits = struct.unpack_from("<HHIIHH", chunk)
    mask = 0
    if encoding == EXTENSIBLE and len(chunk) >= 40:
        mask, encoding = struct.unpack_from("<IH", chunk, 20)
    return WavFormat(encoding, channels, rate_hz, block_bytes, bits, mask)


class WavReader:
    """Reads one WAV. `check` is called with its format before the first sample, and may raise."""

    def __init__(self, check: Callable[[WavFormat], None]) -> None:
        self._check = check
        self._buffer = b""
        self._position = 0
        """Bytes of the file before the buffer."""
        self._end: int | None = None
        """End of the file; None if its size is unknown."""
        self._long_data_bytes = 0
        self._skip_bytes = 0
        self.format: WavFormat | None = None
        self.data_left: int | None = 0
        """Remaining bytes of samples; None if unknown."""
        self.in_data = False
        """Whether samples are next."""
        self.data_begins = 0
        """Position of the samples in the file, once known."""
        self.ended = False
        """Whether rule 3 is complete; `rest` has the following bytes."""
        self.rest = b""
        self._read = self._read_header

    def feed(self, data: bytes) -> bytes:
        """The samples in these bytes. Raises `SoundError` if it is not WAV, and what `check` raises."""
        self._buffer += data
        samples: list[bytes] = []
        while not self.ended and (piece := self._read()) is not None:
            samples.append(piece)
        if self.ended:
            self.rest, self._buffer = self._buffer, b""
        return samples[0] if len(samples) == 1 else b"".join(samples)

    def _take(self, count: int) -> bytes:
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        self._position += len(taken)
        return taken

    # Each state consumes the bytes that it needs, and returns samples; None if it needs more.

    def _read_header(self) -> bytes | None:
        if len(self._buffer) < HEADER_BYTES:
            return None
        header = self._take(HEADER_BYTES)
        if not is_wav(header):
            raise SoundError("it is not WAV")
        size = int.from_bytes(header[4:8], "little")
        self._end = size + 8 if 4 < size < _UNKNOWN_FROM else None
        self._read = self._read_chunk
        return b""

    def _read_chunk(self) -> bytes | None:
        needed = 8
        if len(self._buffer) < needed:
            return None
        name, size = self._buffer[:4], int.from_bytes(self._buffer[4:8], "little")
        if name in (b"fmt ", b"ds64"):
            if size > _MAX_FORMAT_BYTES:
                raise SoundError(f"its '{name.decode()}' chunk claims {size} bytes")
            if len(self._buffer) < needed + size:
                return None
        self._take(needed)
        if name == b"data":
            self._begin_data(size)
        elif name == b"fmt ":
            self.format = parse_format(self._take(size))
            self._check(self.format)
            self._skip_bytes = size & 1
        elif name == b"ds64":
            chunk = self._take(size)
            self._end, self._long_data_bytes = None, int.from_bytes(chunk[8:16], "little")
            self._skip_bytes = size & 1
        else:
            self._skip_bytes = size + (size & 1)
        if not self.in_data:
            self._read = self._skip
        return b""

    def _begin_data(self, size: int) -> None:
        if self.format is None:
            raise SoundError("its samples come before its 'fmt ' chunk")
        if size == 0xFFFFFFFF and self._long_data_bytes:
            size = self._long_data_bytes
            self.data_left = size
        else:
            self.data_left = size if 0 < size < _UNKNOWN_FROM else None
        self._skip_bytes = size & 1
        self.in_data, self.data_begins = True, self._position
        self._read = self._read_data

    def _read_data(self) -> bytes | None:
        if self.data_left == 0:
            self.in_data = False
            self._read = self._skip
            return b""
        if not self._buffer:
            return None
        piece = self._take(len(self._buffer) if self.data_left is None else self.data_left)
        if self.data_left is not None:
            self.data_left -= len(piece)
        return piece

    def _skip(self) -> bytes | None:
        self._skip_bytes -= len(self._take(self._skip_bytes))
        if self._skip_bytes:
            return None
        self._read = self._read_chunk if self.data_begins == 0 else self._read_trailing
        return b""

    def _read_trailing(self) -> bytes | None:
        if self._end is not None and self._position >= self._end:
            self.ended = True
            return None
        head = self._buffer[:8]
        size = int.from_bytes(head[4:8], "little")
        printable = all(32 <= byte < 127 for byte in head[:4])
        if not printable or (len(head) == 8 and (is_wav(self._buffer) or size > _MAX_TRAILING_CHUNK_BYTES)):
            self.ended = True
            return None
        if len(head) < 8 or (head[:4] in (b"RIFF", b"RF64") and len(self._buffer) < HEADER_BYTES):
            return None
        self._take(8)
        self._skip_bytes = size + (size & 1)
        self._read = self._skip
        return b""
