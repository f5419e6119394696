"""The framing of a tunnel: records cut into numbered messages. Pure.

A tunnel is two byte streams, one in each direction. A message is a number (u64, from 0 without a gap) and a piece of the stream; an empty
piece is a heartbeat. A record is its size (u32), its kind (u8) and its bytes. A joined message holds messages of several tunnels, each
preceded by the size of the tunnel's id (u8), its own size (u32) and the id. All numbers are little-endian.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from avatar_relay.limits import MAX_MESSAGE_BYTES

MAX_PUBLISHED_BYTES = 256 << 10
"""Maximum size of a tunnel's message; joined, it has 29 bytes more. The default limit of NATS is 1 MiB."""
TUNNEL_VERSION, OLDEST_VERSION = 2, 1
"""The door offers a range of versions; the home answers with the newest that both support, or refuses."""
JOINED_VERSION = 2
"""From this version on, the messages of tunnels between the same relays are joined."""
_NUMBER = struct.Struct("<Q")
_HEAD = struct.Struct("<IB")
_WHOLE = struct.Struct("<QIB")
"""Number and head of a message that is one whole record, as most are."""
_PART = struct.Struct("<BI")
PIECE_BYTES = MAX_PUBLISHED_BYTES - _NUMBER.size
MAX_RECORD_BYTES = MAX_MESSAGE_BYTES + (64 << 10)


class RecordKind(enum.IntEnum):
    """The content of a record."""

    REQUEST = 1
    """Up: a `PublishRequest`."""
    PART_OPEN = 2
    """Up: a `PublishRequest` with an `open` whose conversation has other homes too; bounded by the lag, not by credit."""
    RESPONSE = 3
    """Down: a `PublishResponse`."""
    END = 4
    """The last record: a `google.rpc.Status`, or empty if the tunnel ended without a fault."""
    PARTS = 5
    """Down, before the welcome: the ids of the conversations of which this home has a part, separated by spaces."""
    SAID_ALL = 6
    """Up: a publisher without hello (typed by hand) has half-closed its stream."""


_KINDS = {kind.value: kind for kind in RecordKind}


class TunnelBrokenError(Exception):
    """A message was lost or is malformed."""


class TunnelRecord(NamedTuple):
    """One record."""

    kind: RecordKind
    data: bytes


class FrameWriter:
    """Numbers the messages of one end."""

    def __init__(self) -> None:
        self._number = 0

    def messages(self, records: Sequence[TunnelRecord]) -> list[bytes]:
        """The messages that carry these records; without records, a heartbeat."""
        if len(records) == 1 and len(records[0].data) <= PIECE_BYTES - _HEAD.size:
            kind, data = records[0]
            self._number += 1
            return [_WHOLE.pack(self._number - 1, len(data), kind) + data]
        stream = b"".join([part for kind, data in records for part in (_HEAD.pack(len(data), kind), data)])
        first = self._number
        pieces = [stream[at : at + PIECE_BYTES] for at in range(0, len(stream) or 1, PIECE_BYTES)]
        self._number += len(pieces)
        return [_NUMBER.pack(number) + piece for number, piece in enumerate(pieces, first)]


class FrameReader:
    """Reassembles the records of the other end."""

    def __init__(self) -> None:
        self._number = 0
        self._rest = b""

    def records(self, message: bytes) -> list[TunnelRecord]:
        """The records completed by this message. Raises `TunnelBrokenError`."""
        if not self._rest and len(message) >= _WHOLE.size:
            number, size, kind = _WHOLE.unpack_from(message)
            if number == self._number and size == len(message) - _WHOLE.size and kind in _KINDS:
                self._number += 1
                return [TunnelRecord(_KINDS[kind], message[_WHOLE.size :])]
        if len(message) < _NUMBER.size:
            raise TunnelBrokenError(f"a message of {len(message)} bytes")
        (number,) = _NUMBER.unpack_from(message)
        if number != self._number:
            raise TunnelBrokenError(f"message {number} arrived, {self._number} was expected")
        self._number += 1
        stream, at = (self._rest + message[_NUMBER.size :], 0) if self._rest else (message, _NUMBER.size)
        found = []
        while (begin := at + _HEAD.size) <= len(stream):
            size, kind = _HEAD.unpack_from(stream, at)
            if size > MAX_RECORD_BYTES:
                raise TunnelBrokenError(f"a record of {size} bytes")
            if begin + size > len(stream):
                break
            at = begin + size
            if (known := _KINDS.get(kind)) is not None:  # a later version may have more kinds
                found.append(TunnelRecord(known, stream[begin:at]))
        self._rest = stream[at:]
        return found


def join(messages: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Join messages of tunnels, in their order; each joined message has at most `MAX_PUBLISHED_BYTES`, unless it is a single one."""
    pieces: list[bytes] = []
    size = 0
    for tunnel_id, message in messages:
        name = tunnel_id.encode()
        more = _PART.size + len(name) + len(message)
        if pieces and size + more > MAX_PUBLISHED_BYTES:
            yield b"".join(pieces)
            pieces, size = [], 0
        pieces += (_PART.pack(len(name), len(message)), name, message)
        size += more
    if pieces:
        yield b"".join(pieces)


def parts_in(data: bytes) -> list[tuple[str, bytes]]:
    """The tunnels and messages in a joined message. Raises `TunnelBrokenError`."""
    found, at = [], 0
    try:
        while at < len(data):
            name_size, size = _PART.unpack_from(data, at)
            begin = at + _PART.size + name_size
            found.append((data[at + _PART.size : begin].decode(), data[begin : begin + size]))
            at = begin + size
    except (struct.error, UnicodeDecodeError) as error:
        raise TunnelBrokenError(f"a joined message of {len(data)} bytes: {error}") from error
    if at > len(data):
        raise TunnelBrokenError(f"a joined message of {len(data)} bytes, {at} were expected")
    return found
