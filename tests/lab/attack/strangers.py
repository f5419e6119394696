"""Attacks by a caller without credentials on a relay. Each runs for about `seconds` and returns a one-line report."""

from __future__ import annotations

import gzip
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tests.lab.attack import http2
from tests.lab.attack.http2 import RawClient, frame, header_block, large_headers, literal, message

Attack = Callable[[str, float], str]
"""Accepts HOST:PORT and seconds; returns what was done."""
RESET = struct.pack(">I", 8)
ONE_KB = [("authorization", "Bearer " + "x" * 500)]
BOMB = gzip.compress(bytes(8 << 20), 9)
seen = bytearray()
"""The end of the relays' responses; must not contain data of another tenant."""


def rounds(seconds: float) -> Callable[[], bool]:
    """Return a function that tells whether time is left."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() < until


def _keep(client: RawClient) -> None:
    seen.extend(client.taken)
    del seen[: -(4 << 20)]
    client.close()


def on_connections(
    address: str, seconds: float, act: Callable[[RawClient], bool], most: int = 20_000, **how: bytes | bool | ssl.SSLContext
) -> str:
    """Repeatedly connect, and call `act` until it returns False or the relay closes the connection."""
    left, connections, acts = rounds(seconds), 0, 0
    while left() and connections < most:
        try:
            client = RawClient(address, **how)  # type: ignore[arg-type]
        except OSError:
            time.sleep(0.01)
            continue
        connections += 1
        while left() and not client.closed and act(client):
            acts += 1
        _keep(client)
    return f"{acts} rounds on {connections} connections"


def rapid_reset(method: str, address: str, seconds: float) -> str:
    """Streams that are opened and reset at once."""

    def act(client: RawClient) -> bool:
        block = header_block(method, ONE_KB)
        data = b"".join([client.begin(block) + frame(http2.RST_STREAM, 0, client.stream, RESET) for _ in range(100)])
        return client.send(data) and client.stream < 60_000

    return on_connections(address, seconds, act) + " of 100 streams"


def calls(method: str, data: bytes, address: str, seconds: float, more: list[tuple[str, str]] | None = None, window: int = 65_535) -> str:
    """Whole calls as fast as they are answered; `window`: what the answer to each may hold."""

    def act(client: RawClient) -> bool:
        sent = client.send(b"".join([client.call(method, data, more or []) for _ in range(50)]))
        client.drain()
        return sent and client.stream < 60_000

    return on_connections(address, seconds, act, settings=struct.pack(">HI", http2.INITIAL_WINDOW, window)) + " of 50 calls"


def unknown_methods(address: str, seconds: float) -> str:
    """Calls of nonexistent methods, each a different one."""

    def act(client: RawClient) -> bool:
        sent = client.send(b"".join([client.call(f"/nope/{client.stream}") for _ in range(50)]))
        client.drain()
        return sent

    return on_connections(address, seconds, act)


def half_sent(method: str, size: int, streams: int, address: str, seconds: float, more: Sequence[tuple[str, str]] = ()) -> str:
    """Messages whose last byte is never sent, as large as the flow-control windows permit."""
    client = RawClient(address, settings=struct.pack(">HI", http2.INITIAL_WINDOW, 1 << 24))
    left, window, windows, rest, inbox = rounds(seconds), 65_535, {}, {}, bytearray()
    for _ in range(streams):
        client.send(client.begin(header_block(method, more)))
        client.send(frame(http2.DATA, 0, client.stream, message(b"", size=size)))
        windows[client.stream], rest[client.stream] = 65_535 - 5, size - 1
        window -= 5
    sent = 0
    while left() and not client.closed:
        for stream in list(rest):
            count = min(http2.CHUNK, rest[stream], window, windows[stream])
            if count > 0 and client.send(frame(http2.DATA, 0, stream, bytes(count))):
                rest[stream] -= count
                windows[stream] -= count
                window -= count
                sent += count
        before = len(client.taken)
        client.drain(0.002)
        inbox += client.taken[before:]
        client.taken.clear()
        while len(inbox) >= 9 and len(inbox) >= 9 + (size_ := int.from_bytes(inbox[:3], "big")):
            kind, stream, payload = inbox[3], int.from_bytes(inbox[5:9], "big"), bytes(inbox[9 : 9 + size_])
            ended = kind == http2.RST_STREAM or (kind == http2.HEADERS and inbox[4] & http2.END_STREAM)
            del inbox[: 9 + size_]
            if kind == http2.WINDOW_UPDATE:
                grown = int.from_bytes(payload, "big")
                window += 0 if stream else grown
                windows[stream] = windows.get(stream, 0) + grown if stream else 0
            elif ended:
                rest.pop(stream, None)
    _keep(client)
    return f"{sent >> 20} MiB sent on {streams} streams, {len(rest)} still open"


def endless_headers(size: int, count: int, address: str, seconds: float, tls: ssl.SSLContext | None = None) -> str:
    """On each of `count` connections a header of `size` bytes without its end, sent by turns; ended connections are replaced."""
    left, open_, sent, ended = rounds(seconds), list[tuple[RawClient, Iterator[bytes]]](), 0, 0
    frames = large_headers(1, size)
    while left():
        while len(open_) < count:
            try:
                client = RawClient(address, wait_s=0.1, tls=tls)
            except OSError:
                time.sleep(0.01)
                break
            open_.append((client, (frames[at : at + http2.CHUNK] for at in range(0, size, http2.CHUNK))))
        for client, parts in list(open_):
            part = next(parts, b"")
            if client.is_ended() or not client.send(part):
                open_.remove((client, parts))
                client.close()
                ended += 1
            sent += len(part)
    for client, _ in open_:
        _keep(client)
    return f"{sent >> 20} MiB sent, {ended} connections ended by the relay"


def idle(opening: bytes, count: int, address: str, seconds: float) -> str:
    """Idle connections that only send `opening`."""
    left, open_, refused = rounds(seconds), list[RawClient](), 0
    while left():
        if len(open_) < count:
            try:
                open_.append(RawClient(address, preface=False, wait_s=0.5))
                open_[-1].send(opening)
            except OSError:
                refused += 1
                time.sleep(0.01)
        else:
            time.sleep(0.05)
    for client in open_:
        client.drain(0.0005)
    closed = sum(client.closed for client in open_)
    for client in open_:
        client.close()
    return f"{len(open_)} connections, {closed} ended by the relay, {refused} refused"


def crowd(opening: bytes, count: int, address: str, seconds: float) -> str:
    """`count` connections that are begun at once, send `opening`, and are replaced as soon as they are established."""
    host, _, port = address.rpartition(":")
    left, poll, pending, established = rounds(seconds), select.epoll(), dict[int, socket.socket](), 0
    while left():
        while len(pending) < count and left():
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((host, int(port)))
            pending[one.fileno()] = one
            poll.register(one, select.EPOLLOUT)
        for number, events in poll.poll(0.01):
            one = pending.pop(number)
            if not events & (select.EPOLLERR | select.EPOLLHUP):
                established += 1
                one.send(opening)
            one.close()
    for one in pending.values():
        one.close()
    poll.close()
    return f"{established} connections of {count} at once"


def churn(address: str, seconds: float, **how: bool | ssl.SSLContext) -> str:
    """Connections that are closed as soon as they are established."""
    return on_connections(address, seconds, lambda client: False, most=1 << 30, **how)


def flood(kind: int, payload: bytes, read: bool, address: str, seconds: float) -> str:
    """Endless control frames, with or without reading the replies."""

    def act(client: RawClient) -> bool:
        sent = client.send(frame(kind, 0, 0, payload) * 500)
        if read:
            client.drain(0.001)
        return sent

    return on_connections(address, seconds, act) + " of 500 frames"


def on_a_stream(build: Callable[[RawClient], bytes], address: str, seconds: float) -> str:
    """The same bytes repeatedly, each time on a new stream or connection."""

    def act(client: RawClient) -> bool:
        sent = client.send(build(client))
        client.drain(0.002)
        return sent and client.stream < 60_000

    return on_connections(address, seconds, act)


def bytes_only(data: bytes, address: str, seconds: float) -> str:
    """Bytes that are not HTTP/2, on one connection after another."""

    def act(client: RawClient) -> bool:
        client.send(data)
        client.drain(0.02)
        return False

    return on_connections(address, seconds, act, preface=False)


def slow_preface(address: str, seconds: float) -> str:
    """The preface at one byte per second, on many connections."""
    host, _, port = address.rpartition(":")
    left, sockets = rounds(seconds), list[socket.socket]()
    while left():
        if len(sockets) < 300:
            try:
                sockets.append(socket.create_connection((host, int(port)), timeout=1))
            except OSError:
                time.sleep(0.02)
                continue
        else:
            time.sleep(1)
        for one in sockets[-300:]:
            try:
                one.send(http2.PREFACE[:1])
            except OSError:
                continue
    return f"{len(sockets)} connections"


def _headers_without_end(part: bytes, count: int, client: RawClient) -> bytes:
    client.stream += 2
    begun = frame(http2.HEADERS, 0, client.stream, header_block(http2.HEALTH)) if client.stream == 1 else b""
    return begun + frame(http2.CONTINUATION, 0, 1, part) * count


def _large_header(size: int) -> Callable[[RawClient], bytes]:
    def build(client: RawClient) -> bytes:
        client.stream += 2
        return large_headers(client.stream, size)

    return build


def _expanding_header(client: RawClient) -> bytes:
    """4 KB of which a table entry is made, then 4,000 references of one byte to it: 16 MB of metadata."""
    entry = b"\x40" + http2.integer(3, 7) + b"x-a" + http2.integer(4_000, 7) + b"v" * 4_000
    return client.begin(header_block(http2.HEALTH) + entry + b"\xbe" * 4_000)


def _reset_by_server(client: RawClient) -> bytes:
    """Calls that the server resets, because of a window update of 0, while their handlers run ("MadeYouReset")."""
    block, nothing = header_block(LIST), bytes(4)
    return b"".join([client.begin(block) + frame(http2.WINDOW_UPDATE, 0, client.stream, nothing) for _ in range(50)])


def _raw_call(method: str, body: bytes, **how: object) -> Callable[[RawClient], bytes]:
    block = header_block(method, **how)  # type: ignore[arg-type]

    def build(client: RawClient) -> bytes:
        begun = client.begin(block)
        parts = [body[at : at + http2.CHUNK] for at in range(0, len(body), http2.CHUNK)] or [b""]
        return begun + b"".join([frame(http2.DATA, int(part is parts[-1]), client.stream, part) for part in parts])

    return build


GZIP = [("grpc-encoding", "gzip")]
LIST, SPEAK = http2.ADMIN + "ListDevices", http2.ADMIN + "Speak"
STRANGERS: dict[str, Attack] = {
    "rapid reset, health": partial(rapid_reset, http2.HEALTH),
    "rapid reset, Attach": partial(rapid_reset, http2.ATTACH),
    "rapid reset, ListDevices": partial(rapid_reset, LIST),
    "calls without credentials": partial(calls, LIST, b""),
    "calls with a wrong token": partial(calls, LIST, b"", more=[("authorization", "Bearer avr_" + "0" * 16 + "_" + "0" * 64)]),
    "calls with a long token": partial(calls, LIST, b"", more=ONE_KB),
    "Attach without credentials": partial(calls, http2.ATTACH, b""),
    "Publish without credentials": partial(calls, http2.PUBLISH, b""),
    "reflection without credentials": partial(calls, http2.REFLECTION, b""),
    "Health.Watch without credentials": partial(calls, http2.WATCH, b""),
    "health checks": partial(calls, http2.HEALTH, b""),
    "health checks of rubbish": partial(calls, http2.HEALTH, b"\xff" * 40),
    "unknown methods": unknown_methods,
    "half-sent health checks": partial(half_sent, http2.HEALTH, 8 << 20, 100),
    "half-sent ListDevices": partial(half_sent, LIST, 8 << 20, 100),
    "half-sent Speak, 1,000 streams": partial(half_sent, SPEAK, 8 << 20, 1_000),
    "half-sent Attach": partial(half_sent, http2.ATTACH, 8 << 20, 100),
    "half-sent Publish": partial(half_sent, http2.PUBLISH, 8 << 20, 100),
    "idle TCP connections": partial(idle, b"", 2_000),
    "idle HTTP/2 connections": partial(idle, http2.PREFACE + frame(http2.SETTINGS, 0, 0), 2_000),
    "connections come and go": churn,
    "connections come in crowds": partial(crowd, http2.PREFACE + frame(http2.SETTINGS, 0, 0), 500),
    "slow prefaces": slow_preface,
    "PING flood": partial(flood, http2.PING, b"12345678", True),
    "PING flood, answers unread": partial(flood, http2.PING, b"12345678", False),
    "SETTINGS flood": partial(flood, http2.SETTINGS, struct.pack(">HI", 4, 65_535), True),
    "SETTINGS flood, answers unread": partial(flood, http2.SETTINGS, struct.pack(">HI", 4, 65_535), False),
    "WINDOW_UPDATE flood": partial(flood, http2.WINDOW_UPDATE, struct.pack(">I", 1), True),
    "PRIORITY flood": partial(on_a_stream, lambda client: frame(http2.PRIORITY, 0, 1, b"\0\0\0\0\1") * 500),
    "empty DATA flood": partial(on_a_stream, lambda client: client.begin(header_block(http2.HEALTH)) + frame(0, 0, client.stream) * 500),
    "CONTINUATION flood": partial(on_a_stream, partial(_headers_without_end, b"\0" * 16_000, 10)),
    "CONTINUATION flood, empty frames": partial(on_a_stream, partial(_headers_without_end, b"", 5_000)),
    "headers of 16 KB": partial(on_a_stream, _large_header(16 << 10)),
    "headers of 1 MB": partial(on_a_stream, _large_header(1 << 20)),
    "headers of 15 MB without end": partial(endless_headers, 15 << 20, 60),
    "headers that expand": partial(on_a_stream, _expanding_header),
    "headers without name": partial(on_a_stream, lambda client: client.begin(header_block(http2.HEALTH) + literal(b"", b"") * 5_000)),
    "table sizes without end": partial(on_a_stream, lambda client: client.begin(b"\x20" * 8_000 + header_block(http2.HEALTH))),
    "streams reset by the server": partial(on_a_stream, _reset_by_server),
    "frames of 1 MB": partial(on_a_stream, lambda client: client.begin(header_block(LIST)) + frame(0, 0, client.stream, bytes(1 << 20))),
    "unknown frames": partial(flood, 0xFA, bytes(8), True),
    "padding": partial(
        on_a_stream, lambda client: client.begin(header_block(LIST)) + frame(0, 8, client.stream, b"\xff" + bytes(255)) * 200
    ),
    "no window for answers": partial(calls, http2.HEALTH, b"", window=0),
    "gzip bombs, health": partial(on_a_stream, _raw_call(http2.HEALTH, message(BOMB, flag=1), more=GZIP)),
    "gzip bombs, ListDevices": partial(on_a_stream, _raw_call(LIST, message(BOMB, flag=1), more=GZIP)),
    "gzip that is none": partial(on_a_stream, _raw_call(http2.HEALTH, message(b"abc", flag=1), more=GZIP)),
    "unknown compression": partial(on_a_stream, _raw_call(http2.HEALTH, message(b"abc", flag=1), more=[("grpc-encoding", "zstd")])),
    "prefix of 4 GiB": partial(on_a_stream, _raw_call(http2.HEALTH, message(b"abc", size=(1 << 32) - 1))),
    "bytes behind a message": partial(on_a_stream, _raw_call(http2.HEALTH, message(b"") + b"junk")),
    "wrong content type": partial(on_a_stream, _raw_call(http2.HEALTH, message(b""), content="text/html")),
    "GET instead of POST": partial(on_a_stream, _raw_call(http2.HEALTH, b"", verb="GET")),
    "PUSH_PROMISE from a client": partial(on_a_stream, lambda client: frame(http2.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + header_block("/"))),
    "even stream numbers": partial(on_a_stream, lambda client: frame(http2.HEADERS, 5, 2, header_block(http2.HEALTH))),
    "DATA on no stream": partial(on_a_stream, lambda client: frame(http2.DATA, 0, 99, b"x" * 100)),
    "GOAWAY from a client": partial(on_a_stream, lambda client: frame(http2.GOAWAY, 0, 0, bytes(8) + b"x" * 1_000)),
    "HTTP/1.1": partial(bytes_only, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a TLS hello to plaintext": partial(bytes_only, b"\x16\x03\x01\x02\x00" + bytes(512)),
    "random bytes": partial(bytes_only, os.urandom(4_096)),
    "half a preface": partial(bytes_only, http2.PREFACE[:10]),
}
