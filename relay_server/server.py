"""Composition root of the relay: the only module that reads clocks and randomness, and that builds gRPC servers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from avatar_relay import wire
from avatar_relay.media import TraceContext
from avatar_relay.pem import read_authorities
from avatar_relay.service_manager import Heart, ServiceManager
from avatar_relay.tracing import CONVERSATION_ID, Stage, Telemetry, context_of, current_context, parent_from, start_telemetry
from relay_server.access.connection_rules import ConnectionRules
from relay_server.access.guard import LOOK_AFTER_S, Guard
from relay_server.access.new_devices import NewDevices
from relay_server.access.store import AccessFile
from relay_server.announcer import Announcer, is_announced
from relay_server.background import Background, Start
from relay_server.config import ADMIN_OFF, RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import STREAMS_END_US, Relay
from relay_server.errors import BackgroundError
from relay_server.free_memory import find_trim, give_back_memory
from relay_server.observer import RelayObserver
from relay_server.service import admin, device, publisher
from relay_server.service.connection_watch import ConnectionWatch, max_connections, raise_descriptor_limit
from relay_server.service.garbage import start_collections
from relay_server.service.grpc_servers import NOT_SERVING, GrpcServers
from relay_server.service.pairing import NAME as PAIRING
from relay_server.service.pairing import PairingService, offers_pairing
from relay_server.sources import lazy_import as late
from relay_server.sources.configured import configured_sources
from relay_server.sources.lazy_import import LazySource
from relay_server.sources.plugins import SourceContext
from relay_server.sources.speech_publishing import serving_speech
from relay_server.telemetry import RelayTelemetry

if TYPE_CHECKING:
    from relay_server.cluster.cluster import Cluster

logger = logging.getLogger(__name__)
MAX_STRANGERS = 1_024
"""Limit on connections without an admitted caller; lower if the descriptor limit is low."""
TURN_S = 0.0005
"""The interpreter's thread switch interval while exporting: exporters use threads of their own, and must not delay media, even if the
collector is unreachable. Python's default of 5 ms would show in the p99."""


def boot_time_us() -> int:
    """A monotonic clock in µs that includes time in suspend, so that leases end on time."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000


def monotonic_us() -> int:
    """A monotonic clock in µs that excludes time in suspend."""
    return time.monotonic_ns() // 1_000


def unix_time_us() -> int:
    """The wall clock, µs since the Unix epoch."""
    return time.time_ns() // 1_000


def build_relay(config: RelayConfig, observer: RelayObserver | None = None) -> Relay:
    """Create a relay with the real clocks. Needs a running event loop."""
    clocks, token = Clocks(boot_time_us, unix_time_us), None
    if config.cluster_nats:
        from relay_server.cluster.joining import publisher_token

        token = publisher_token(config)
    return Relay(config, clocks, random_bytes=os.urandom, encode=wire.encode_payload, observer=observer, publisher_token=token)


def cluster_of(relay: Relay) -> Cluster | None:
    """The cluster in the relay's configuration, not joined yet; None if there is none. Raises `ConfigError`."""
    if not relay.config.cluster_nats:
        return None
    from relay_server.cluster.cluster import Cluster
    from relay_server.cluster.joining import backplane_of, links_of, names_of

    names = names_of(relay.config, socket.gethostname(), os.urandom(2))
    links = links_of(relay.config, names, os.urandom, boot_time_us)
    return Cluster(relay, backplane_of(relay.config, names), names, links=links, now_us=boot_time_us, random_bytes=os.urandom)


class RelayServer:
    """A relay behind its gRPC servers."""

    def __init__(self, relay: Relay, speech: admin.Speech, background: Background, cluster: Cluster | None = None) -> None:
        """`background` runs the relay's own tasks; `cluster` is not joined yet.

        Raises `ConfigError` if the access file or the certificate cannot be used.
        """
        self.relay = relay
        self._background = background
        self._cluster = cluster
        config = relay.config
        descriptors = raise_descriptor_limit()
        connections = max_connections(descriptors, servers=1 if config.admin_listen in ("", ADMIN_OFF) else 2)
        self._watch = ConnectionWatch(ConnectionRules(min(MAX_STRANGERS, connections // 4), config.proxies), boot_time_us)
        self.guard: Guard | None = None
        """Admits callers; None without access control."""
        if config.access_file is not None:
            file = AccessFile(config.access_file)
            self.guard = Guard(file, config.groups, now_us=boot_time_us, unix_time_us=unix_time_us, cut=self._watch.cut)
        self._pairing = self._make_pairing() if offers_pairing(config) else None
        pair = None if self._pairing is None else self._pairing.pair
        publishers, operators = _services(relay, speech, cluster, pair)
        for_all = [(device.NAME, device.DeviceService(relay).handler()), (publisher.NAME, publishers.handler())]
        if self._pairing is not None:
            for_all.append((PAIRING, self._pairing.handler()))
        for_operators = (admin.NAME, operators.handler())
        self._listeners = GrpcServers(
            config, self.guard, for_all, for_operators, watch=self._watch, connections=connections, unix_s=lambda: int(time.time())
        )
        self._announced = is_announced(config.announce, config.listen)
        self.addresses: list[str] = []
        """HOST:PORT of `listen`, and of `admin_listen` if it is a separate address."""

    def _make_pairing(self) -> PairingService:
        """Create the pairing service. Raises `ConfigError` if `pairing_ca_file` cannot be used."""
        config, guard = self.relay.config, self.guard
        assert config.access_file is not None and guard is not None
        authorities = (
            b"" if config.pairing_ca_file is None else read_authorities("pairing_ca_file", config.pairing_ca_file, int(time.time()))
        )

        async def read_again() -> None:
            await guard.read_again()
            if config.is_worker:  # the device may connect to another worker next, which reads the file every LOOK_AFTER_S
                await asyncio.sleep(2 * LOOK_AFTER_S)

        devices = NewDevices(
            AccessFile(config.access_file), read_again=read_again, random_bytes=os.urandom, unix_s=lambda: int(time.time())
        )

        def certificate_sha256() -> bytes:
            certificate = self._listeners.certificate
            assert certificate is not None
            return certificate.sha256

        return PairingService(
            devices, certificate_sha256=certificate_sha256, now_us=boot_time_us, random_bytes=os.urandom, authorities=authorities
        )

    async def start(self) -> str:
        """Join the cluster if there is one, and listen; returns HOST:PORT with the actual port. Raises `ConfigError`."""
        if self._cluster is not None:
            await self._cluster.start()
            self._background.start("cluster", self._cluster.run())
            await self._cluster.settle()
        self._background.start("relay upkeep", self.relay.run())
        if self.guard is not None:
            self._background.start("access file", self.guard.run())
        self.addresses = await self._listeners.start()
        self._background.start("gRPC servers", self._listeners.run())
        self._background.start("connections", self._watch.run())
        if (certificate := self._listeners.certificate) is not None:
            self._background.start("certificate", certificate.watch())
            self.relay.observer.certificate(lambda: certificate.expires_in_s)
        if self._announced:
            announcer = Announcer(self.addresses[0], tls=certificate is not None, pairing=self._pairing is not None)
            self._background.start("announcement", announcer.run())
        return self.addresses[0]

    async def drain(self, grace_us: int | None = None) -> None:
        """Take the relay out of service: NOT_SERVING at once, conversations finish within the grace, then all streams end."""
        await self._listeners.tell_health(NOT_SERVING)
        elsewhere = () if self._cluster is None else await self._cluster.addresses_elsewhere()
        left = await self.relay.drain(grace_us, hand_over=self._cluster is not None, elsewhere=elsewhere)
        if left:
            logger.warning("%d conversations were cut off by the end of the grace", left)
        await self._listeners.stop(STREAMS_END_US / 1e6)
        if self._cluster is not None:
            await self._cluster.leave()


def _services(
    relay: Relay, speech: admin.Speech, cluster: Cluster | None, pair: admin.Pair | None
) -> tuple[publisher.PublisherService, admin.AdminService]:
    """The services for publishers and operators, with or without a cluster."""
    if cluster is None:
        return publisher.PublisherService(relay), admin.AdminService(relay, speech, pair)
    from relay_server.cluster.admin import ClusterAdmin
    from relay_server.cluster.service import DoorService

    return DoorService(relay, cluster), ClusterAdmin(relay, speech, pair, cluster)


@asynccontextmanager
async def serving(
    relay: Relay, speech: admin.Speech, background: Background | None = None, cluster: Cluster | None = None
) -> AsyncIterator[tuple[RelayServer, str]]:
    """Run a relay and listen; yields the server and its HOST:PORT. On exit, drains it without grace and stops `background`."""
    background = background or Background()
    server = RelayServer(relay, speech, background, cluster)
    try:
        yield server, await server.start()
    finally:
        await server.drain(0)
        await background.stop()


def beat_watchdog(manager: ServiceManager, background: Background) -> None:
    """Ping systemd's watchdog from the event loop; systemd restarts a relay whose loop hangs. Does nothing without a watchdog."""
    heart = Heart(manager, ("loop",), monotonic_us)

    async def beat() -> None:
        while True:
            heart.beat("loop")
            await asyncio.sleep(manager.watchdog_us / 8e6)

    if manager.watchdog_us:
        background.start("systemd watchdog", beat())


async def serve(config: RelayConfig, environment: Mapping[str, str], ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT or a request to drain; `ready` is called with HOST:PORT.

    Raises `ConfigError`, and `BackgroundError` if a background task ended by itself: then the relay is drained without grace.

    OpenTelemetry's variables in `environment` determine whether and where to export.
    """
    telemetry = start_telemetry("relay-server", os.urandom(8).hex(), version("avatar-relay"), environment)
    observer = RelayTelemetry(telemetry, unix_time_us) if telemetry.enabled else None
    if telemetry.enabled:
        sys.setswitchinterval(TURN_S)
    relay = build_relay(config, observer)
    manager = ServiceManager(environment)
    background = Background()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, relay.drain_asked.set)
    try:
        async with (
            voice(relay, telemetry, environment, background.start) as speech,
            serving(relay, speech, background, cluster_of(relay)) as (server, address),
        ):
            beat_watchdog(manager, background)
            if (trim := find_trim()) is not None:
                background.start("freed memory", give_back_memory(trim))
            start_collections()
            ready(address)
            manager.tell("READY=1")
            await background.until(relay.drain_asked)
            manager.tell("STOPPING=1")
            logger.info("draining")
            await server.drain(None if background.ended is None else 0)
    finally:
        if observer is not None:
            observer.close()
        await asyncio.to_thread(telemetry.shutdown)
    if background.ended is not None:
        raise BackgroundError(f"{background.ended} ended unexpectedly")


@asynccontextmanager
async def voice(relay: Relay, telemetry: Telemetry, environment: Mapping[str, str], start: Start) -> AsyncIterator[admin.Speech]:
    """The implementation of `Speak`, which publishes within this process. Each conversation has a trace of its own,
    or its source's. `start` runs background tasks.

    It uses the built-in sources, and Server SDKs for the devices configured for them; `environment` has their keys.
    Raises `ConfigError`.
    """

    def trace(conversation_id: str) -> TraceContext:
        now_us, attributes = unix_time_us(), {CONVERSATION_ID: conversation_id}
        stage = Stage(telemetry.tracer, "relay.speak", parent_from(current_context()), now_us, attributes=attributes)
        stage.end(now_us)
        return context_of(stage.span)

    config = relay.config
    text = LazySource("speech", lambda: late.speech(config.speech_voice, config.speech_rate, config.speech_pitch))
    audio, recording = LazySource("local", late.local), LazySource("recording", late.recording)
    context = SourceContext(text, audio, environment, monotonic_us, telemetry, unix_time_us, start)
    async with (
        configured_sources(config, context) as by_target,
        serving_speech(
            relay,
            text=text,
            audio=audio,
            recording=recording,
            folder=config.speech_folder,
            by_target=by_target,
            voices=config.speech_voices,
            report=relay.report,
            trace=trace,
        ) as speech,
    ):
        yield speech
