"""Resolves a relay's name to addresses with the system resolver: includes `.local` and all sources in nsswitch.conf.

gRPC's own resolver (c-ares) knows only DNS and /etc/hosts. An environment variable would replace it for the whole program, which a library
must not do. So gRPC gets addresses, and the name that TLS must find in the relay's certificate.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from concurrent.futures import Future
from ipaddress import ip_address

from avatar_relay.addresses import split_address
from avatar_relay.errors import ConfigError
from avatar_relay.forward_proxy import proxy_note
from avatar_relay.publisher.errors import ConnectionLostError

LOOKUP_S = 3.0
Target = tuple[str, tuple[tuple[str, str], ...]]
"""The target for gRPC, and channel options for it."""


class NameLookup:
    """Looks up the host of HOST:PORT. The system's lookup may hang, and cannot be cancelled: at most one is under way."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._running: Future[list[str]] | None = None

    async def target(self) -> Target:
        """The current target. Cancellable; the next call then uses the result of the pending lookup.

        Raises `ConnectionLostError` if the name is unknown, or not found within `LOOKUP_S`.
        """
        try:
            host, port = split_address(self._address, "address")
        except ConfigError:
            return self._address, ()  # gRPC interprets it
        if _is_address(host) or proxy_note(self._address, os.environ):  # a proxy looks the name up
            return self._address, ()
        try:
            async with asyncio.timeout(LOOKUP_S):
                found = await self._addresses(host)
        except TimeoutError:
            raise ConnectionLostError(f"the name {host!r} of the relay was not found within {LOOKUP_S:g} s") from None
        except (OSError, UnicodeError) as error:
            raise ConnectionLostError(f"the name {host!r} of the relay is not known here: {error}") from error
        return "ipv6:" + ",".join(f"[{one}]:{port}" for one in found), (("grpc.default_authority", self._address),)

    async def _addresses(self, host: str) -> list[str]:
        lookup = self._running = self._running or _in_a_thread(host)
        try:
            return await asyncio.wrap_future(lookup)
        finally:
            if lookup.done():
                self._running = None


def _in_a_thread(host: str) -> Future[list[str]]:
    """Look up on a daemon thread, which does not keep the program from ending."""
    future: Future[list[str]] = Future()
    future.set_running_or_notify_cancel()  # cannot be cancelled from now on

    def look_up() -> None:
        try:
            future.set_result(_look_up(host))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=look_up, name="name lookup", daemon=True).start()
    return future


def _look_up(host: str) -> list[str]:
    """All addresses, best first, as IPv6: gRPC uses one family only, and connects to IPv4 by mapped addresses."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    texts = [str(place[0]) if family is socket.AF_INET6 else f"::ffff:{place[0]}" for family, _, _, _, place in found]
    return [text.replace("%", "%25") for text in dict.fromkeys(texts)]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
