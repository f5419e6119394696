"""The relay: owns the cores, performs their effects, keeps the time. Runs on one event loop; not thread-safe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES, PROTOCOL_VERSION
from avatar_relay.media import Kind, Payload
from avatar_relay.messages import (
    FromPublisher,
    GoAway,
    Hello,
    Limits,
    Media,
    Ping,
    Pong,
    PublisherHello,
    PublisherWelcome,
    ToRelayFromDevice,
    Volume,
)
from avatar_relay.reasons import Fault, Reason
from relay_server.attending import Attending
from relay_server.config import RelayConfig
from relay_server.errors import PeerError, RequestError
from relay_server.events import Effect, EndDeviceStream, FinishedIgnored, PayloadReceived, TellPublisher, WakeDevice
from relay_server.notices import devices_of, observe
from relay_server.observer import NullObserver, Observer
from relay_server.outbox import MediaBatch, Outgoing
from relay_server.ports import DevicePort, PublisherPort
from relay_server.publishing import Publishing
from relay_server.registry import Publisher, Registry
from relay_server.session import Session
from relay_server.steering import Steering
from relay_server.watching import MAX_WATCHERS, Watcher

logger = logging.getLogger(__name__)

TICK_US = 250_000
"""How often leases, heartbeats and held media are looked after."""
RETRY_AFTER_DRAIN_MS = 1_000


class Relay:
    """Publishers and devices connect here by ports. `run` must run beside them.

    Clocks are callables in µs: `clock_us` is monotonic and counts on while the machine sleeps, `unix_time_us` is the wall
    clock. `encode` makes a payload's bytes on the wire, once for all devices.
    """

    def __init__(
        self,
        config: RelayConfig,
        *,
        clock_us: Callable[[], int],
        unix_time_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        encode: Callable[[Payload], bytes],
        observer: Observer | None = None,
    ) -> None:
        self.config = config
        self.limits = Limits(
            max_payload_bytes=MAX_PAYLOAD_BYTES,
            max_message_bytes=MAX_MESSAGE_BYTES,
            max_fragment_bytes=MAX_FRAGMENT_BYTES,
            lease_ms=config.device_lease_us // 1_000,
            heartbeat_ms=config.heartbeat_us // 1_000,
        )
        self.drain_asked = asyncio.Event()
        """Set when a person asked to take the relay out of service."""
        self.drain_grace_us = config.drain_grace_us
        self._clock_us = clock_us
        self._unix_time_us = unix_time_us
        self._random_bytes = random_bytes
        self._observer: Observer = observer or NullObserver()
        self._registry = Registry(config.groups)
        self._publishing = Publishing(self._registry, config, random_bytes=random_bytes, encode=encode, begin=self._observer.begin)
        self._attending = Attending(self._registry, config, self.limits, mint_token=self._mint_token)
        self._steering = Steering(self._registry)
        self._device_ports: dict[str, DevicePort] = {}
        self._publisher_ports: dict[str, PublisherPort] = {}
        self._watchers: set[Watcher] = set()
        self._ping_id = 0
        self._finished = asyncio.Event()
        """Set whenever something may have finished."""

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look after leases and heartbeats until cancelled."""
        while True:
            await asyncio.sleep(TICK_US / 1e6)
            self.tick()

    def tick(self) -> None:
        """What the time brings: leases that end, silent peers, pings, media that nobody opened."""
        now_us = self._clock_us()
        for port in list(self._device_ports.values()):
            self._look_after(port, now_us)
        self._perform(self._attending.tick(now_us))
        for publisher in list(self._registry.publishers.values()):
            self._perform(self._publishing.tick(publisher, now_us))
            if not publisher.connected and publisher.expires_at_us <= now_us:
                self._forget(publisher, lost=True)

    async def drain(self, grace_us: int | None = None) -> int:
        """Open nothing new, let conversations finish within the grace, then end all streams; returns how many were cut off."""
        self._publishing.draining = True
        goaway = GoAway("drain", RETRY_AFTER_DRAIN_MS)
        for publisher in self._registry.publishers.values():
            self._perform([TellPublisher(publisher.key, goaway)])
        for device_id, port in self._device_ports.items():
            if port.session is not None:
                port.session.outbox.put(goaway)
            self._perform([WakeDevice(device_id)])
        with suppress(TimeoutError):
            async with asyncio.timeout((self.drain_grace_us if grace_us is None else grace_us) / 1e6):
                while self._registry.conversations:
                    self._finished.clear()
                    await self._finished.wait()
        left = len(self._registry.conversations)
        self._end_all(Fault(Reason.DRAINING, "the relay stops", retry_after_ms=RETRY_AFTER_DRAIN_MS))
        return left

    def ask_to_drain(self, grace_us: int) -> int:
        """Ask the program to drain, within `grace_us` or the configured grace where it is 0; returns the conversations left."""
        if grace_us:
            self.drain_grace_us = grace_us
        self.drain_asked.set()
        return len(self._registry.conversations)

    def _end_all(self, fault: Fault) -> None:
        for port in [*self._device_ports.values(), *self._publisher_ports.values()]:
            port.end(fault)
        for watcher in self._watchers:
            watcher.end()

    @contextmanager
    def watch(self, device_ids: frozenset[str]) -> Iterator[Watcher]:
        """Look on: what happens to these devices, or to all where empty. Raises `RequestError` where too many watch."""
        if len(self._watchers) >= MAX_WATCHERS:
            raise RequestError(Fault(Reason.LIMIT_REACHED, f"{MAX_WATCHERS} watch already", retry_after_ms=10_000))
        watcher = Watcher(device_ids)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    # --- publishers ------------------------------------------------------------------------------------------------

    def connect_publisher(self) -> PublisherPort:
        """A new publisher's stream."""
        return PublisherPort(self)

    def publisher_says(self, port: PublisherPort, message: FromPublisher) -> None:
        """Take a message from a publisher's port."""
        match message:
            case PublisherHello():
                self._welcome(port, message)
            case Ping():
                publisher = port.publisher or self._take_by_hand(port)
                self._perform([TellPublisher(publisher.key, self._pong(message))])
            case _:
                publisher = port.publisher or self._take_by_hand(port)
                self._perform(self._publishing.handle(publisher, message, self._clock_us()))

    def publisher_faulty(self, port: PublisherPort, conversation_id: str, fault: Fault) -> None:
        """A message about a conversation could not be read."""
        publisher = port.publisher or self._take_by_hand(port)
        self._perform(self._publishing.faulty(publisher, conversation_id, fault))

    def publisher_blocked(self, port: PublisherPort, message: FromPublisher) -> bool:
        """Whether a message must wait for room."""
        return port.publisher is not None and isinstance(message, Media) and self._publishing.blocked(port.publisher, message)

    def publisher_leaves(self, port: PublisherPort, *, said_all: bool) -> None:
        """A publisher's stream is gone, or nothing more comes on it."""
        publisher = port.publisher
        if publisher is None or self._publisher_ports.get(publisher.key) is not port:
            port.end()
            return
        if said_all:
            self._perform(self._publishing.leave(publisher, lost=False))
            port.said_all = True
            self._end_when_told_all(publisher)
            return
        port.end()
        del self._publisher_ports[publisher.key]
        publisher.connected = False
        publisher.expires_at_us = self._clock_us() + self.config.publisher_lease_us
        if not publisher.conversations:
            self._forget(publisher, lost=False)

    def _welcome(self, port: PublisherPort, hello: PublisherHello) -> None:
        if port.publisher is not None:
            raise PeerError(Fault(Reason.HELLO_REPEATED, "hello comes first, and only once", "hello"))
        if hello.protocol_version != PROTOCOL_VERSION:
            text = f"protocol version {hello.protocol_version}; this relay speaks {PROTOCOL_VERSION}"
            raise PeerError(Fault(Reason.PROTOCOL_VERSION_UNSUPPORTED, text, "hello.protocol_version"))
        known = self._registry.publishers.get(hello.publisher_id)
        old_port = self._publisher_ports.pop(hello.publisher_id, None)
        if known is not None and known.proves(hello.session_token):
            publisher = known
            publisher.connected = True
        else:
            if known is not None:
                self._forget(known, lost=True)
            publisher = self._take(hello.publisher_id, by_hand=False)
        if old_port is not None:
            old_port.publisher = None
            old_port.end(Fault(Reason.REPLACED, f"another stream of publisher {hello.publisher_id} took over"))
        self._plug(port, publisher)
        publisher.backlog.appendleft(PublisherWelcome(publisher.token, self.limits))

    def _take_by_hand(self, port: PublisherPort) -> Publisher:
        publisher = self._take(f"by-hand-{self._random_bytes(6).hex()}", by_hand=True)
        self._plug(port, publisher)
        return publisher

    def _take(self, key: str, *, by_hand: bool) -> Publisher:
        if self._publishing.draining:
            raise PeerError(Fault(Reason.DRAINING, "the relay is about to stop", retry_after_ms=RETRY_AFTER_DRAIN_MS))
        if len(self._registry.publishers) >= self.config.max_publishers:
            raise PeerError(Fault(Reason.LIMIT_REACHED, f"{self.config.max_publishers} publishers are here already", retry_after_ms=10_000))
        publisher = Publisher(key, self._mint_token(), by_hand=by_hand)
        self._registry.publishers[key] = publisher
        return publisher

    def _plug(self, port: PublisherPort, publisher: Publisher) -> None:
        port.publisher = publisher
        self._publisher_ports[publisher.key] = port
        port.wake()

    def _forget(self, publisher: Publisher, *, lost: bool) -> None:
        self._perform(self._publishing.leave(publisher, lost=lost))
        self._registry.publishers.pop(publisher.key, None)
        for session in self._registry.sessions.values():
            session.events.acknowledge(publisher.key)
            session.acknowledge()
            self._perform([WakeDevice(session.device_id)])

    def _end_when_told_all(self, publisher: Publisher) -> None:
        port = self._publisher_ports.get(publisher.key)
        if port is not None and port.said_all and not publisher.conversations:
            port.end()

    # --- devices ---------------------------------------------------------------------------------------------------

    def connect_device(self) -> DevicePort:
        """A new device's stream."""
        return DevicePort(self, self._clock_us)

    def device_says(self, port: DevicePort, message: ToRelayFromDevice) -> None:
        """Take a message from a device's port."""
        session = port.session
        match message:
            case Hello():
                self._attach(port, message)
            case _ if session is None:
                raise PeerError(Fault(Reason.HELLO_MISSING, "the first message of a device must be hello", "hello"))
            case Ping():
                session.outbox.put(self._pong(message))
                port.wake()
            case Pong():
                self._observer.clock_probe(
                    session.device_id,
                    message.ping_sent_time_us,
                    message.received_time_us,
                    message.sent_time_us,
                    self._clock_us(),
                    message.sent_unix_time_us,
                )
            case _:
                self._perform(self._attending.handle(session, message, self._clock_us()))
                if session.device_id not in self._registry.sessions:
                    port.end()

    def _attach(self, port: DevicePort, hello: Hello) -> None:
        if port.session is not None:
            raise PeerError(Fault(Reason.HELLO_REPEATED, "hello comes first, and only once", "hello"))
        if self._publishing.draining:
            raise PeerError(Fault(Reason.DRAINING, "the relay is about to stop", retry_after_ms=RETRY_AFTER_DRAIN_MS))
        effects = self._attending.attach(hello, self._clock_us(), self._unix_time_us())
        stale = self._device_ports.pop(hello.device_id, None)
        if stale is not None:
            stale.session = None
            stale.farewell = GoAway("replaced", RETRY_AFTER_DRAIN_MS)
            stale.end(Fault(Reason.REPLACED, f"another stream of device {hello.device_id} took over"))
        port.session = self._registry.sessions[hello.device_id]
        self._device_ports[hello.device_id] = port
        self._perform(effects)

    def next_for_device(self, port: DevicePort) -> Outgoing | None:
        """What to send on a device's port now."""
        session = port.session
        if session is None:
            return None
        now_us = self._clock_us()
        message = session.take(now_us)
        match message:
            case MediaBatch():
                self._account(session, message, now_us)
            case Ping():
                return replace(message, sent_time_us=now_us)
            case Pong():
                return replace(message, sent_time_us=now_us, sent_unix_time_us=self._unix_time_us())
        return message

    def device_leaves(self, port: DevicePort) -> None:
        """A device's stream is gone."""
        session = port.session
        port.end()
        if session is None or self._device_ports.get(session.device_id) is not port:
            return
        del self._device_ports[session.device_id]
        port.session = None
        reason = port.fault.reason.value if port.fault is not None else "stream_ended"
        self._perform(self._attending.detach(session.device_id, reason, self._clock_us()))

    def _account(self, session: Session, batch: MediaBatch, now_us: int) -> None:
        conversation = self._registry.conversations[batch.conversation_id]
        for kind in Kind:
            fragments = [fragment for fragment in batch.fragments if fragment.kind is kind]
            if fragments:
                size = sum(fragment.size_bytes for fragment in fragments)
                conversation.sent(session.device_id, kind, size)
                queued_us = now_us - min(fragment.received_us for fragment in fragments)
                seqs = [fragment.seq for fragment in fragments]
                self._observer.payloads_sent(session.device_id, batch.conversation_id, kind, seqs, size, queued_us)
        self._perform(self._publishing.credit(conversation))
        publisher_port = self._publisher_ports.get(conversation.publisher)
        if publisher_port is not None:
            publisher_port.room.set()

    def _look_after(self, port: DevicePort, now_us: int) -> None:
        session = port.session
        if session is None:
            return
        if now_us - port.heard_us > self.config.peer_timeout_us:
            text = f"device {session.device_id} said nothing for {(now_us - port.heard_us) // 1_000} ms"
            port.end(Fault(Reason.PEER_SILENT, text, retry_after_ms=RETRY_AFTER_DRAIN_MS))
        elif now_us >= port.next_ping_us:
            port.next_ping_us = now_us + self.config.heartbeat_us
            self._ping_id += 1
            session.outbox.put(Ping(self._ping_id, now_us))
            port.wake()
        self._perform(self._attending.overrun(session))

    # --- what a person does ----------------------------------------------------------------------------------------

    def sessions(self) -> tuple[Session, ...]:
        """All sessions, sorted by device. Look, do not touch."""
        return tuple(session for _, session in sorted(self._registry.sessions.items()))

    def session(self, device_id: str) -> Session:
        """One session. Look, do not touch. Raises `RequestError`."""
        return self._steering.session(device_id)

    def lease_remaining_us(self, session: Session) -> int:
        """How long a device that is away is still waited for; 0 while it is attached."""
        return 0 if session.attached else max(0, session.expires_at_us - self._clock_us())

    def interrupt(self, device_id: str, conversation_id: str = "") -> str:
        """Cut short what a device says; see `Steering.interrupt`."""
        found, effects = self._steering.interrupt(device_id, conversation_id)
        self._perform(effects)
        return found

    def pause(self, device_id: str) -> str:
        """Hold what a device says; returns the conversation, empty where none played."""
        found, effects = self._steering.pause(device_id)
        self._perform(effects)
        return found

    def resume(self, device_id: str) -> str:
        """Let a device go on; returns the conversation, empty where none was held."""
        found, effects = self._steering.resume(device_id)
        self._perform(effects)
        return found

    def set_volume(self, device_id: str, volume: Volume) -> None:
        """Set a device's loudness."""
        self._perform(self._steering.set_volume(device_id, volume))

    # --- effects ---------------------------------------------------------------------------------------------------

    def message_unknown(self, leg: str) -> None:
        """A message that this version does not know came; it is counted, and nothing else."""
        self._observer.message_unknown(leg)

    def stream_failed(self, leg: str, fault: Fault) -> None:
        """A stream ends with a fault."""
        logger.info("%s stream ends: %s", leg, fault.reason)
        self._observer.stream_failed(leg, fault)

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case TellPublisher():
                    self._tell(effect)
                case WakeDevice(device_id=device_id):
                    if (port := self._device_ports.get(device_id)) is not None:
                        port.wake()
                case EndDeviceStream(device_id=device_id, fault=fault):
                    if (port := self._device_ports.get(device_id)) is not None:
                        port.end(fault)
                case PayloadReceived() | FinishedIgnored():
                    observe(self._observer, effect)
                case _:
                    observe(self._observer, effect)
                    self._finished.set()
                    for watcher in self._watchers:
                        for device_id in devices_of(effect):
                            watcher.show(self._unix_time_us(), device_id, effect)

    def _tell(self, effect: TellPublisher) -> None:
        publisher = self._registry.publishers.get(effect.publisher)
        if publisher is None:
            return
        publisher.backlog.append(effect.message)
        port = self._publisher_ports.get(effect.publisher)
        if port is not None:
            port.wake()
            self._end_when_told_all(publisher)

    def _pong(self, ping: Ping) -> Pong:
        now_us = self._clock_us()
        return Pong(ping.ping_id, ping.sent_time_us, now_us, now_us, self._unix_time_us())

    def _mint_token(self) -> str:
        return self._random_bytes(24).hex()
