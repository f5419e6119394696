"""A minimal blocking HTTP/2 client that can send what no gRPC library would."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK, END_STREAM, END_HEADERS = 1, 1, 4
MAX_STREAMS, INITIAL_WINDOW = 3, 4
CHUNK = 16_384

ATTACH, PUBLISH = "/avatar_relay.v1.DeviceService/Attach", "/avatar_relay.v1.PublisherService/Publish"
ADMIN, HEALTH, WATCH = "/avatar_relay.v1.AdminService/", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Encode a frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def integer(value: int, bits: int) -> bytes:
    """Encode an HPACK integer with a prefix of `bits` bits; the bits before it are 0."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((value,))
    out, value = bytearray((most,)), value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes((*out, value))


def literal(name: bytes, value: bytes) -> bytes:
    """Encode a header as an HPACK literal without indexing."""
    return b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value


def header_block(method: str, more: Iterable[tuple[str, str]] = (), *, verb: str = "POST", content: str = "application/grpc") -> bytes:
    """Encode the headers of a gRPC call."""
    pairs = [(":method", verb), (":scheme", "http"), (":path", method), (":authority", "x"), ("te", "trailers"), ("content-type", content)]
    return b"".join([literal(name.encode(), value.encode()) for name, value in [*pairs, *more]])


def large_headers(stream: int, size: int) -> bytes:
    """The frames of a call's headers, one of which has `size` bytes."""
    block = header_block(HEALTH) + literal(b"x-a", b"v" * size)
    parts = [block[at : at + CHUNK] for at in range(0, len(block), CHUNK)]
    ends = [END_HEADERS if part is parts[-1] else 0 for part in parts]
    kinds = [HEADERS, *[CONTINUATION] * (len(parts) - 1)]
    return b"".join([frame(kind, end, stream, part) for kind, end, part in zip(kinds, ends, parts, strict=True)])


def message(data: bytes, *, flag: int = 0, size: int | None = None) -> bytes:
    """Encode a gRPC message with its prefix."""
    return bytes((flag,)) + struct.pack(">I", len(data) if size is None else size) + data


class RawClient:
    """A connection. `taken` holds the received bytes, `closed` whether the other end closed it."""

    def __init__(
        self, address: str, *, settings: bytes = b"", preface: bool = True, wait_s: float = 2.0, tls: ssl.SSLContext | None = None
    ) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=wait_s)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket)
        self.taken = bytearray()
        self.closed = False
        self.stream = -1
        if preface:
            self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data: bytes) -> bool:
        """Send; returns False if the other end accepts no more data."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True
        return not self.closed

    def begin(self, block: bytes, *, end: bool = False) -> bytes:
        """The frame that opens the next stream."""
        self.stream += 2
        return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), self.stream, block)

    def call(self, method: str, data: bytes = b"", more: Iterable[tuple[str, str]] = ()) -> bytes:
        """The frames of a whole call with one message."""
        return self.begin(header_block(method, more)) + frame(DATA, END_STREAM, self.stream, message(data))

    def drain(self, seconds: float = 0.002) -> int:
        """Read received data, for at most `seconds`; returns the number of bytes."""
        until, count = time.monotonic() + seconds, 0
        self.socket.settimeout(max(seconds, 0.0005))
        try:
            while time.monotonic() < until:
                data = self.socket.recv(1 << 16)
                if not data:
                    self.closed = True
                    break
                count += len(data)
                self.taken += data
                del self.taken[: -(1 << 20)]
        except TimeoutError:
            pass
        except OSError:
            self.closed = True
        self.socket.settimeout(2.0)
        return count

    def is_ended(self) -> bool:
        """Whether the other end has closed it, without waiting; discards received data."""
        wait_s = self.socket.gettimeout()
        self.socket.settimeout(0)
        try:
            while data := self.socket.recv(1 << 16):
                self.taken[:] = data
            self.closed = True
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            self.closed = True
        self.socket.settimeout(wait_s)
        return self.closed

    def close(self) -> None:
        """Close it."""
        self.socket.close()
