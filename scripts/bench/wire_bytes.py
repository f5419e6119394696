"""Counts the bytes of a server's connections with the kernel's counters, at lower cost than a packet capture.

The kernel reports `tcp_info` of all TCP sockets on a netlink socket (sock_diag(7), linux/inet_diag.h, linux/tcp.h). Stream
bytes count in both directions; TCP and IP headers do not.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
REQUEST_AND_DUMP = 0x1 | 0x300
DONE, ERROR = 3, 2
INET_DIAG_INFO, ESTABLISHED = 2, 1
HEADER = struct.Struct("<IHHII")
"""nlmsghdr: length, type, flags, sequence, port id."""
ATTRIBUTE = struct.Struct("<HH")
MESSAGE_BYTES = 72
"""Size of inet_diag_msg, before its attributes; the ports are at offset 4, in network order."""
BYTES_ACKED_AT = 120
"""Offset in tcp_info of tcpi_bytes_acked and tcpi_bytes_received, each a u64."""


def wire_bytes(port: int) -> int:
    """Bytes carried so far by established connections to a local port, in both directions. Raises `OSError`."""
    return sum(acked + received for family in (socket.AF_INET, socket.AF_INET6) for acked, received in _connections(family, port))


def _connections(family: int, port: int) -> Iterator[tuple[int, int]]:
    """Bytes sent and acknowledged, and bytes received, of each connection with this local port."""
    anything = bytes(4 + 32 + 4 + 8)
    body = struct.pack("<BBBBI", family, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0, 1 << ESTABLISHED) + anything
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as asking:
        asking.send(HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, REQUEST_AND_DUMP, 1, 0) + body)
        while True:
            answer, at = asking.recv(1 << 17), 0
            while at < len(answer):
                length, kind, *_ = HEADER.unpack_from(answer, at)
                if kind == DONE:
                    return
                if kind == ERROR:
                    raise OSError(-struct.unpack_from("<i", answer, at + HEADER.size)[0], "the kernel tells nothing of TCP sockets")
                message = answer[at + HEADER.size : at + length]
                if struct.unpack_from(">H", message, 4)[0] == port:
                    yield _carried(message)
                at += (length + 3) & ~3


def _carried(message: bytes) -> tuple[int, int]:
    at = MESSAGE_BYTES
    while at < len(message):
        length, kind = ATTRIBUTE.unpack_from(message, at)
        if kind == INET_DIAG_INFO:
            acked, received = struct.unpack_from("<QQ", message, at + ATTRIBUTE.size + BYTES_ACKED_AT)
            return acked, received
        at += (length + 3) & ~3
    raise OSError(f"no tcp_info in {len(message)} bytes of the kernel's answer")
