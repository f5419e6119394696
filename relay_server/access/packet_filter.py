"""A filter in the kernel that drops data from some networks, for connections that are not accepted yet. Pure.

It is a classic BPF program, which the kernel applies to each TCP segment of a socket. Connections inherit it from their listening socket.
The instructions are those of `linux/filter.h`; offsets count from the TCP header, and from the IP header with `NETWORK`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address

MAX_NETWORKS = 64
"""A jump covers 255 instructions; the one over those of IPv4 has two for each network."""
NETWORK = 0xFFF0_0000
_LOAD_LENGTH, _LOAD_WORD, _LOAD_BYTE = 0x80, 0x20, 0x30
_AND, _SHIFT_RIGHT, _MOVE_TO_X, _SUBTRACT_X = 0x54, 0x74, 0x07, 0x1C
_IF_EQUAL, _RETURN = 0x15, 0x06
_DROP, _PASS = 0, 0xFFFF_FFFF
_DATA_OFFSET, _IPV4_SOURCE, _IPV6_SOURCE = 12, NETWORK + 12, NETWORK + 8

_Instruction = tuple[int, int, int, int]
"""Code, instructions to skip if true and if false, and the operand."""
_KEEP: _Instruction = (_RETURN, 0, 0, _PASS)
_REJECT: _Instruction = (_RETURN, 0, 0, _DROP)


def drop_all() -> bytes:
    """A program that drops each segment."""
    return _encoded([_REJECT])


def drop_data_of(networks: Sequence[str]) -> bytes:
    """A program that drops segments with data from networks, as `peers.network_of` names them: IPv4 addresses and IPv6 /64.

    Segments without data pass, so connections are established. Of more than `MAX_NETWORKS`, the last count.
    """
    addresses = [ip_address(network) for network in networks[-MAX_NETWORKS:]]
    ipv4: list[_Instruction] = [(_LOAD_WORD, 0, 0, _IPV4_SOURCE)]
    ipv6: list[_Instruction] = []
    for address in addresses:
        if isinstance(address, IPv4Address):
            ipv4 += [(_IF_EQUAL, 0, 1, int(address)), _REJECT]
        else:
            high, low = struct.unpack(">II", address.packed[:8])
            ipv6 += [(_LOAD_WORD, 0, 0, _IPV6_SOURCE), (_IF_EQUAL, 0, 3, high), (_LOAD_WORD, 0, 0, _IPV6_SOURCE + 4)]
            ipv6 += [(_IF_EQUAL, 0, 1, low), _REJECT]
    ipv4.append(_KEEP)
    has_data: list[_Instruction] = [
        (_LOAD_BYTE, 0, 0, _DATA_OFFSET),
        (_AND, 0, 0, 0xF0),
        (_SHIFT_RIGHT, 0, 0, 2),  # the header's size in bytes
        (_MOVE_TO_X, 0, 0, 0),
        (_LOAD_LENGTH, 0, 0, 0),
        (_SUBTRACT_X, 0, 0, 0),
        (_IF_EQUAL, 0, 1, 0),
        _KEEP,
    ]
    version: list[_Instruction] = [(_LOAD_BYTE, 0, 0, NETWORK), (_SHIFT_RIGHT, 0, 0, 4), (_IF_EQUAL, 0, len(ipv4), 4)]
    return _encoded([*has_data, *version, *ipv4, *ipv6, _KEEP])


def _encoded(program: Sequence[_Instruction]) -> bytes:
    return b"".join([struct.pack("HBBI", *instruction) for instruction in program])
