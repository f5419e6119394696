"""The gRPC servers of a relay: one for everything, or one for devices and publishers and one for operators."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import grpc
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from avatar_relay.addresses import split_address
from avatar_relay.errors import ConfigError
from avatar_relay.limits import GRPC_MAX_RECEIVE_BYTES
from relay_server.access.connection_rules import MAX_METADATA_BYTES
from relay_server.access.guard import Guard
from relay_server.access.tls import HotCertificate, TlsFiles
from relay_server.config import ADMIN_OFF, RelayConfig
from relay_server.listening import why_not
from relay_server.service.connection_watch import ConnectionWatch
from relay_server.service.grpc_threads import threads_without_preemption
from relay_server.service.interceptor import RequestInterceptor, admit_everybody
from relay_server.service.requests import RequestReader

logger = logging.getLogger(__name__)

MAX_CONCURRENT_STREAMS = 1_024
"""Limit for one connection; gRPC's default is unlimited. Clients delay further streams. One connection of a proxy may carry
hundreds of devices and publishers, each with one long stream, and `relayctl`. Each unread stream
occupies a transport window of 64 KiB, so one connection occupies at most 64 MiB."""
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", GRPC_MAX_RECEIVE_BYTES),
    ("grpc.max_send_message_length", GRPC_MAX_RECEIVE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),  # do not disconnect a client that pings more often
    ("grpc.max_concurrent_streams", MAX_CONCURRENT_STREAMS),
    ("grpc.server_handshake_timeout_ms", 5_000),  # TLS and HTTP/2; gRPC's default is two minutes
    ("grpc.max_connection_idle_ms", 60_000),  # time without a stream
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.http2.settings_timeout", 5_000),  # until the peer acknowledges them, gRPC applies its own defaults, such as 16 MiB of metadata
    ("grpc.http2.bdp_probe", 0),  # it allows a fast caller to send megabytes to unread streams that are refused or waiting
)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class KnownHealth(health.aio.HealthServicer):  # type: ignore[misc]  # the library has no types
    """Health service for known service names only: the library would keep every name that was ever watched."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self._names = names

    async def Watch(self, request: Any, context: Any) -> None:
        """`Watch`, as specified, except that for an unknown name it ends after one response."""
        if request.service in self._names:
            await super().Watch(request, context)
        else:
            await context.write(health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN))


class GrpcServers:
    """The gRPC servers of a relay, with admission.

    `services` are for devices and publishers, `admin` for operators: each a name and its handlers.
    """

    def __init__(
        self,
        config: RelayConfig,
        guard: Guard | None,
        services: Sequence[tuple[str, Any]],
        admin: tuple[str, Any],
        *,
        watch: ConnectionWatch,
        connections: int,
        unix_s: Callable[[], int],
    ) -> None:
        """`watch` is notified of all RPCs and addresses; each server accepts at most `connections` connections.

        Raises `ConfigError` if the certificate cannot be used. Needs a running event loop.
        """
        self._config = config
        self._guard = guard
        self._watch = watch
        self._connections = connections
        self._interceptor = RequestInterceptor(admit_everybody if guard is None else guard.admit, RequestReader(), watch)
        self._stopping = False
        self._names = ("", *(name for name, _ in services), admin[0])
        self._health = KnownHealth(self._names)
        cert, key = config.tls_cert_file, config.tls_key_file
        self.certificate = None if cert is None or key is None else HotCertificate(TlsFiles(cert, key, config.tls_client_ca_file), unix_s)
        """The relay's certificate; None in plaintext."""
        together = not config.admin_listen
        self._servers = [(self._server([*services, *([admin] if together else [])], operators=together), "listen", config.listen)]
        if not together and config.admin_listen != ADMIN_OFF:
            self._servers.append((self._server([admin], operators=True), "admin_listen", config.admin_listen))

    async def start(self) -> list[str]:
        """Listen; returns each HOST:PORT with the real port. Raises `ConfigError` if an address cannot be used."""
        addresses = [self._bind(server, name, address) for server, name, address in self._servers]
        self._watch.listen_on(addresses)
        for server, _, _ in self._servers:
            await server.start()
        await self.tell_health(SERVING)
        self._log_access(addresses)
        return addresses

    async def run(self) -> None:
        """Watch the servers until cancelled. Returns or raises if one ends before `stop`.

        Cancel it only after `stop`: cancelling grpc.aio's own wait also cancels the server's shutdown.
        """
        waits = [asyncio.create_task(server.wait_for_termination()) for server, _, _ in self._servers]
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for server_end in done:
            server_end.result()
        if self._stopping:
            await asyncio.get_running_loop().create_future()

    async def stop(self, grace_s: float) -> None:
        """Stop the servers; streams end within the grace."""
        self._stopping = True
        for server, _, _ in self._servers:
            await server.stop(grace_s)

    async def tell_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        """Set the health status of all services."""
        for name in self._names:
            await self._health.set(name, status)

    def _server(self, services: Sequence[tuple[str, Any]], *, operators: bool) -> grpc.aio.Server:
        own = (
            ("grpc.enable_channelz", int(self._config.channelz)),
            ("grpc.max_allowed_incoming_connections", self._connections),
            ("grpc.so_reuseport", int(self._config.is_worker)),  # a second relay on the same port must fail, not share it
        )
        options = [*OPTIONS, *own]
        with threads_without_preemption():  # the first server starts gRPC's threads
            server = grpc.aio.server(interceptors=(self._interceptor,), options=options)
        server.add_generic_rpc_handlers(tuple(handlers for _, handlers in services))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [name for name, _ in services] + [health.SERVICE_NAME]
        if operators and self._config.channelz:
            channelz.add_channelz_servicer(server)
            names.append("grpc.channelz.v1.Channelz")
        if operators and self._config.reflection:
            reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)
        return server

    def _bind(self, server: grpc.aio.Server, name: str, address: str) -> str:
        try:
            if self.certificate is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, self.certificate.credentials())
        except RuntimeError as error:
            text = why_not(*split_address(address, name, port_zero=True)) or "cannot be used: gRPC refuses it, and a plain socket does not"
            raise ConfigError(f"{name}: {address} {text}") from error
        host, _ = split_address(address, name, port_zero=True)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _log_access(self, addresses: list[str]) -> None:
        """Log addresses and access control in one line, so that an open relay is not overlooked."""
        who = "everybody who reaches it" if self._guard is None else "identities of the access file"
        how = "in plaintext" if self.certificate is None else "over TLS"
        where = ", operators at ".join(addresses)
        level = logging.WARNING if self._guard is None and self._config.insecure_listen else logging.INFO
        logger.log(level, "open for %s, %s, at %s", who, how, where)
