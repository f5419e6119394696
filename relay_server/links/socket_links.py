"""The links of one relay over sockets: TCP, with the relay's own certificate if it has one, and Unix sockets between workers.

Strangers may connect too: they have little time, few places, which others may take (see `places`), and no effect until they have proved
that they know the cluster's secret.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import socket
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from avatar_relay.addresses import split_address
from avatar_relay.errors import ConfigError
from relay_server.access.refusal_log import RefusalLog
from relay_server.backplane.backplane import BackplaneError
from relay_server.links.links import Link
from relay_server.links.listener import LinkListener
from relay_server.links.places import one_too_many
from relay_server.links.proof import NONCE_BYTES, AcceptingProof, ConnectingProof, ProofError
from relay_server.links.socket_link import SocketLink
from relay_server.service.garbage import Garbage

logger = logging.getLogger(__name__)

PROOF_S = 1.0
"""How long TLS and the proof may take at the relay that accepts."""
CONNECT_S = 0.5
"""How long all of it may take at the relay that connects: a publisher waits for it."""
AGAIN_S = 10.0
"""After a failure, the backplane carries all new tunnels to that relay for so long."""
READ_BYTES = 64 << 10
"""Received at once at most."""
MAX_UNPROVED = 64
"""Connections that have not proved anything yet."""
CLOSE_S = 1.0
"""How long a relay that leaves waits for others to read."""
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Where a relay accepts links."""

    secret: bytes
    own: str
    """This relay's name."""
    address: tuple[str, int] | None = None
    """Host and port; port 0 takes a free one."""
    certificate: tuple[Path, Path] | None = None
    """Certificate and key (PEM) for TLS at the address; None: plaintext."""
    socket: Path | None = None
    """A Unix socket for workers of the same supervisor, in a folder that only this user can enter."""
    siblings: str = ""
    """What the names of those workers begin with."""


class SocketLinks:
    """See `Links`."""

    def __init__(self, settings: LinkSettings, random_bytes: Callable[[int], bytes], now_us: Callable[[], int]) -> None:
        self._settings = settings
        self._random_bytes = random_bytes
        self._now_us = now_us
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._garbage = Garbage()
        self._log = RefusalLog(logger, now_us)
        self._listeners: list[tuple[LinkListener, asyncio.Server]] = []
        self._offered: dict[str, object] = {}
        self._tls: ssl.SSLContext | None = None
        self._digest = b""
        """SHA-256 of this relay's certificate."""
        self._unproved: dict[SocketLink, str] = {}
        """Each with its network; the oldest one first."""
        self._accepting = set[asyncio.Task[None]]()
        self._accepted: dict[str, SocketLink] = {}
        self._opened: dict[str, SocketLink] = {}
        """The links to other relays, by their names."""
        self._opening = defaultdict[str, asyncio.Lock](asyncio.Lock)
        self._not_before_s: dict[str, float] = {}

    async def start(self) -> None:
        """See `Links`."""
        settings, loop = self._settings, asyncio.get_running_loop()
        if settings.socket is not None:
            self._listen(await loop.create_unix_server(asyncio.Protocol, settings.socket, start_serving=False), None)
        if settings.address is None:
            return
        if settings.certificate is not None:
            self._tls, self._digest = _server_tls(*settings.certificate)
        host, port = settings.address
        try:
            server = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
        except OSError as error:
            raise ConfigError(f"cluster_listen: cannot listen on {host}, port {port}: {error.strerror or error}") from error
        self._listen(server, self._tls)
        port = server.sockets[0].getsockname()[1]
        self._offered = {"address": f"[{host}]:{port}" if ":" in host else f"{host}:{port}", "tls": self._tls is not None}

    def offer(self, asker: str) -> bytes:
        """See `Links`."""
        settings = self._settings
        if settings.socket is not None and settings.siblings and asker.startswith(settings.siblings):
            return json.dumps({"socket": str(settings.socket)}).encode()
        return json.dumps(self._offered).encode() if self._offered else b""

    def is_open(self, relay: str) -> bool:
        """See `Links`."""
        link = self._opened.get(relay)
        return link is not None and not link.ended

    def accepted(self, link_id: str) -> Link | None:
        """See `Links`."""
        link = self._accepted.get(link_id)
        return None if link is None or link.ended else link

    # --- accepting -------------------------------------------------------------------------------------------------

    def _listen(self, server: asyncio.Server, tls: ssl.SSLContext | None) -> None:
        """`server` only binds its sockets: asyncio would accept without a limit."""
        self._listeners += [(LinkListener(bound.dup(), partial(self._take_in, tls), self._log), server) for bound in server.sockets]

    def _take_in(self, tls: ssl.SSLContext | None, connection: socket.socket, network: str) -> None:
        link = SocketLink(self._now_us, self._buffer)
        self._unproved[link] = network
        if (out := one_too_many(self._unproved, MAX_UNPROVED)) is not None:
            del self._unproved[out]
            if not out.proved.done():
                out.end("newer connections have taken its place")
        task = asyncio.create_task(self._accept(link, connection, network, tls))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    async def _accept(self, link: SocketLink, connection: socket.socket, network: str, tls: ssl.SSLContext | None) -> None:
        """Is never cancelled, so `connection` is always closed: the link may be ended meanwhile."""
        settings, loop = self._settings, asyncio.get_running_loop()
        proof = AcceptingProof(settings.secret, settings.own, self._random_bytes(NONCE_BYTES), b"" if tls is None else self._digest)
        try:
            async with asyncio.timeout(PROOF_S):
                transport: asyncio.Transport | None = (await loop.connect_accepted_socket(lambda: link, connection))[0]
                if tls is not None and transport is not None and not link.ended:
                    transport = await loop.start_tls(transport, link, tls, server_side=True)
                if transport is not None and not link.ended:
                    link.begin(transport, proof)
                await link.proved
            self._accepted = {known: other for known, other in self._accepted.items() if not other.ended}
            self._accepted[link.link_id] = link
        except (ProofError, OSError, TimeoutError) as error:
            link.end("it proved nothing")
            if self._listeners:
                reason = str(error) or "it took too long"
                self._log.write(network, "a connection of another relay from %s is refused: %s", network or "this machine", reason)
        finally:
            self._unproved.pop(link, None)
            self._garbage.other_ended()

    # --- connecting ------------------------------------------------------------------------------------------------

    async def to(self, relay: str, ask: Callable[[], Awaitable[bytes]]) -> Link | None:
        """See `Links`."""
        async with self._opening[relay]:
            if self.is_open(relay):
                return self._opened[relay]
            now_s = asyncio.get_running_loop().time()
            if now_s < self._not_before_s.get(relay, now_s):
                return None
            self._not_before_s = {name: until_s for name, until_s in self._not_before_s.items() if until_s > now_s}
            self._not_before_s[relay] = now_s + AGAIN_S
            try:
                async with asyncio.timeout(CONNECT_S):
                    if not (offered := await ask()):
                        return None
                    link = await self._connect(relay, offered)
            except BackplaneError:
                return None  # a relay of an earlier version
            except (ProofError, OSError, TimeoutError, ValueError, ConfigError) as error:
                logger.warning("relay %s cannot be reached directly: %s", relay, str(error) or "it took too long")
                return None
            del self._not_before_s[relay]
            self._opened = {name: other for name, other in self._opened.items() if not other.ended}
            self._opened[relay] = link
            return link

    async def _connect(self, relay: str, offered: bytes) -> SocketLink:
        """Raises `ProofError`, `OSError`, or `ValueError` if the offer is malformed."""
        offer = json.loads(offered)
        loop, settings, digest = asyncio.get_running_loop(), self._settings, b""
        if not isinstance(offer, dict):
            raise ValueError("its offer is malformed")
        link = SocketLink(self._now_us, self._buffer)
        try:
            if "socket" in offer:
                transport, _ = await loop.create_unix_connection(lambda: link, str(offer["socket"]))
            else:
                host, port = split_address(str(offer.get("address")), "address")
                context = _client_tls() if offer.get("tls") else None
                transport, _ = await loop.create_connection(lambda: link, host, port, ssl=context)
                if context is not None:
                    certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
                    digest = hashlib.sha256(certificate).digest()
            proof = ConnectingProof(settings.secret, settings.own, relay, self._random_bytes(NONCE_BYTES), digest)
            link.begin(transport, proof)
            await link.proved
        except BaseException:
            link.end("it was not opened")
            raise
        return link

    # --- life ------------------------------------------------------------------------------------------------------

    def _all(self) -> list[SocketLink]:
        return [link for link in (*self._accepted.values(), *self._opened.values()) if not link.ended]

    def tick(self, busy_us: int) -> None:
        """See `Links`."""
        for link in self._all():
            link.tick(busy_us)

    def busy_us(self) -> int:
        """See `Links`."""
        busy_s = 0.0
        for link in self._all():
            busy_s, link.busy_s = busy_s + link.busy_s, 0.0
        return round(busy_s * 1e6)

    async def stop(self) -> None:
        """See `Links`."""
        for listener, server in self._listeners:
            listener.close()
            server.close()
        self._listeners.clear()
        for link in tuple(self._unproved):
            link.end("this relay leaves")
        links = self._all()
        for link in links:
            link.flush()
            if link.transport is not None:
                link.transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*self._accepting, *(link.gone.wait() for link in links))
        for link in self._all():
            link.end("this relay leaves")


def _server_tls(certificate: Path, key: Path) -> tuple[ssl.SSLContext, bytes]:
    """TLS for accepted links, and the SHA-256 of the certificate. Raises `ConfigError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
        text = certificate.read_text("ascii", errors="replace")
        first = text[text.index(_BEGIN) : text.index(_END) + len(_END)]
        return context, hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).digest()
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigError(f"tls_cert_file, tls_key_file: {error}") from error


def _client_tls() -> ssl.SSLContext:
    """TLS without a check of the certificate: the other end proves that it is its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def socket_path(folder: Path, worker: str) -> Path:
    """The socket of one run of a worker; `worker` is what its name has after the common prefix."""
    return folder / f"link-{worker}"
