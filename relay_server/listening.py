"""Explains why an address cannot be listened on, before or after an attempt."""

from __future__ import annotations

import errno
import socket


def resolved(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    """Resolve the addresses to listen on. Blocks while `host` is resolved. Raises `OSError` and `UnicodeError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(socket.AddressFamily(family), address) for family, _, _, _, address in found]


def why_not(host: str, port: int) -> str:
    """Why an address cannot be listened on, with a remedy; empty if it is free. Blocks while `host` is resolved."""
    try:
        found = resolved(host, port)
    except (OSError, UnicodeError) as error:
        return f"cannot be used: {host} cannot be resolved ({error.args[-1]}); use an IP address of this machine"
    for family, address in found:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
                tried.listen()
        except OSError as error:
            return _REMEDIES.get(error.errno or 0, f"cannot be used: {error.strerror}")
    return ""


_REMEDIES = {
    errno.EADDRINUSE: "cannot be used: address already in use; stop the other program, or choose another port",
    errno.EACCES: "cannot be used: this user is not allowed to listen there; choose a port of at least 1024",
    errno.EADDRNOTAVAIL: "cannot be used: it is no address of this machine; `ip address` lists them",
}
