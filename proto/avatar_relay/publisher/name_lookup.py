"""Which addresses a relay's name stands for, as the machine it runs on says: with `.local`, and all that nsswitch.conf names.

gRPC's own resolver (c-ares) knows only DNS and /etc/hosts. An environment variable would replace it for the whole program, which is
not the library's to set. So gRPC is given addresses, and the name as what TLS has to find in the relay's certificate.
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
"""What gRPC connects to, and options of the channel for it."""


class NameLookup:
    """Looks up the host of HOST:PORT. The system's own lookup may hang, and cannot be cancelled: there is never more than one of it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._running: Future[list[str]] | None = None

    async def target(self) -> Target:
        """Where to connect to now. Cancellable; the next call then takes what the lookup under way finds.

        Raises `ConnectionLostError` if the name is not known, or not found within `LOOKUP_S`.
        """
        try:
            host, port = split_address(self._address, "address")
        except ConfigError:
            return self._address, ()  # what gRPC makes of it
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
    """A daemon thread: it keeps no program from ending."""
    future: Future[list[str]] = Future()
    future.set_running_or_notify_cancel()  # from now on nobody cancels it

    def look_up() -> None:
        try:
            future.set_result(_look_up(host))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=look_up, name="name lookup", daemon=True).start()
    return future


def _look_up(host: str) -> list[str]:
    """All addresses, the best one first, as IPv6: gRPC takes one family only, and connects to IPv4 by the mapped ones."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    texts = [str(place[0]) if family is socket.AF_INET6 else f"::ffff:{place[0]}" for family, _, _, _, place in found]
    return [text.replace("%", "%25") for text in dict.fromkeys(texts)]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
