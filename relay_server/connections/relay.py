"""The relay: connects ports to the core, performs its effects and runs its timers. One event loop; not thread-safe.

    publisher ── port ── Publishers ── ConversationOpener, PublisherCommands ─┐
    device ───── port ── Devices ───── DeviceReports ─────────────────────────┼─ Registry: Session (outbox), Conversation, PublisherRecord
    operator ─────────── Relay ─────── OperatorCommands ──────────────────────┘

The left half does I/O and reads clocks; the right half is pure and returns effects, which are performed here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_JOINED_REQUESTS, MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES
from avatar_relay.media import Payload
from avatar_relay.messages import Limits
from avatar_relay.reasons import Fault, Reason
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.devices import DevicePort, Devices
from relay_server.connections.media_tick import MediaTick
from relay_server.connections.ports import RETRY_AFTER_MS
from relay_server.connections.publishers import PublisherPort, Publishers
from relay_server.connections.timers import until_next
from relay_server.connections.watching import MAX_WATCHERS, MAX_WATCHERS_PER_IDENTITY, EventWatcher
from relay_server.core.device_reports import DeviceReports
from relay_server.core.events import (
    ConversationFaulted,
    Effect,
    FinishedIgnored,
    PayloadsReceived,
    StreamFailed,
    TellPublisher,
    WakeDevice,
    WakeForMedia,
)
from relay_server.core.finishing import report_fault
from relay_server.core.open_conversation import ConversationOpener
from relay_server.core.operator_commands import OperatorCommands
from relay_server.core.publisher_commands import PublisherCommands
from relay_server.core.registry import Registry
from relay_server.core.session import Session
from relay_server.core.shares import Shares
from relay_server.observer import RelayObserver

logger = logging.getLogger(__name__)

STREAMS_END_US = 1_000_000
"""Time for streams to close after the relay ended them."""
TICK_S = 0.25
"""Interval of the checks of leases, heartbeats and held media."""
MAX_STEPS = 5
DEVICES_IN_STEP = 100
"""A tick has up to `MAX_STEPS` steps, each for a part of the devices, as pinging many at once would delay media."""


class Relay:
    """Connects publishers and devices by ports. `run` must run at the same time.

    `encode` returns a payload's bytes on the wire; called once for all devices.
    """

    def __init__(
        self,
        config: RelayConfig,
        clocks: Clocks,
        *,
        random_bytes: Callable[[int], bytes],
        encode: Callable[[Payload], bytes],
        observer: RelayObserver | None = None,
        publisher_token: Callable[[str], str] | None = None,
    ) -> None:
        """`publisher_token` returns a publisher's session token from its key, if other relays must know it; by default it is random."""
        self.config = config
        self.limits = limits_of(config)
        self.drain_asked = asyncio.Event()
        """Set when a drain was requested."""
        self._drain_grace_us = config.drain_grace_us
        self._moved = asyncio.Event()
        """Set after each notice for watchers."""
        self._clocks = clocks
        self.observer = observer or RelayObserver()
        self.watchers: set[EventWatcher] = set()
        """The current watchers; see `watch`."""
        self._watches = Shares("watches", MAX_WATCHERS, MAX_WATCHERS_PER_IDENTITY)
        registry = self._registry = Registry(config.groups)
        self.operator = OperatorCommands(registry, self._perform)
        self._opener = ConversationOpener(registry, config, random_bytes=random_bytes, begin=self.observer.begin)
        self._commands = PublisherCommands(registry, self._opener, config, encode=encode, observed=observer is not None)
        self._reports = DeviceReports(registry, config, self.limits, random_bytes=random_bytes)
        self.publishers = Publishers(
            registry,
            self._opener,
            self._commands,
            config,
            self.limits,
            clocks,
            mint_token=publisher_token or _drawn(random_bytes),
            random_bytes=random_bytes,
            perform=self._perform,
        )
        self._devices = Devices(registry, self._reports, config, clocks, observer, perform=self._perform, credit_due=self._return_credit)
        self._media_tick = MediaTick(config.media_tick_us) if config.media_tick_us else None

    # --- ports -----------------------------------------------------------------------------------------------------

    def connect_publisher(self, owner: str = "") -> PublisherPort:
        """Create the port of a publisher's stream, for the identity `owner`."""
        return PublisherPort(self.publishers, owner)

    def connect_device(self) -> DevicePort:
        """Create the port of a device's stream."""
        return DevicePort(self._devices)

    def report(self, conversation_id: str, fault: Fault) -> None:
        """Report a fault of a conversation from a publisher in this process, to watchers and the observer."""
        conversation = self._registry.conversations.get(conversation_id)
        devices = ("",) if conversation is None else conversation.device_ids
        self._perform([ConversationFaulted(conversation_id, device_id, fault) for device_id in devices])

    def stream_failed(self, leg: str, fault: Fault) -> None:
        """Log and count a stream on `leg` that ended with a fault."""
        logger.info("%s stream ends: %s: %s", leg, fault.reason, fault.text)
        self.observer.notice(StreamFailed(leg, fault))

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Check leases and heartbeats until cancelled."""
        while True:
            steps = min(MAX_STEPS, 1 + self._devices.count // DEVICES_IN_STEP)
            for step in range(steps):
                wait_s = until_next(TICK_S / steps)
                due_us = self._clocks.now_us() + round(wait_s * 1e6)
                await asyncio.sleep(wait_s)
                self.tick(step, steps, late_us=self._clocks.now_us() - due_us)

    def tick(self, step: int = 0, steps: int = 1, *, late_us: int = 0) -> None:
        """Run the timers: pings and silent devices, a part of them at each of `steps`; at the last step also expired leases, silent
        publishers and unopened media. `late_us`: how late this call is."""
        self._devices.look_after(step, steps, late_us=late_us)
        if step < steps - 1:
            return
        self._devices.tick()
        self.publishers.tick()
        self.observer.tick()

    async def drain(self, grace_us: int | None = None, *, hand_over: bool = False, elsewhere: Sequence[str] = ()) -> int:
        """Accept no new conversations, let the others finish within the grace, then end all streams; returns how many were left.

        The publishers of those are notified, and may reopen them at another relay. The time for streams to close
        (`STREAMS_END_US`) is part of the grace. `hand_over`: end each device's stream once it has no conversation, as other relays take it;
        `elsewhere`: their addresses.
        """
        self._opener.draining = self._reports.draining = True
        self.publishers.go_away()
        self._devices.go_away(elsewhere)
        fault = Fault(Reason.DRAINING, "the relay stops", retry_after_ms=RETRY_AFTER_MS)
        with suppress(TimeoutError):
            grace_us = self._drain_grace_us if grace_us is None else grace_us
            async with asyncio.timeout(max(0, grace_us - STREAMS_END_US) / 1e6):
                while self._registry.conversations:
                    if hand_over:
                        self._devices.end_idle(fault)
                    self._moved.clear()
                    await self._moved.wait()
        left = len(self._registry.conversations)
        self._perform(self._reports.tell_yielded())
        for conversation in self._registry.conversations.values():
            self._perform(report_fault(conversation.publisher, conversation.conversation_id, fault))
        self.publishers.end_all(fault)
        self._devices.end_all(fault)
        for watcher in self.watchers:
            watcher.end()
        return left

    def ask_to_drain(self, grace_us: int) -> int:
        """Request a drain within `grace_us`, or the configured grace if it is 0; returns the number of open conversations."""
        self._drain_grace_us = grace_us or self._drain_grace_us
        self.drain_asked.set()
        return len(self._registry.conversations)

    @contextmanager
    def watch(self, device_ids: frozenset[str], owner: str = "") -> Iterator[EventWatcher]:
        """Watch these devices for `owner`; an empty set means all. Raises `RequestError` if there are too many watchers."""
        with self._watches.place(owner):
            watcher = EventWatcher(device_ids)
            self.watchers.add(watcher)
            try:
                yield watcher
            finally:
                self.watchers.discard(watcher)

    # --- for a cluster ---------------------------------------------------------------------------------------------

    def has(self, device_id: str) -> bool:
        """Whether a device has a session at this relay."""
        return device_id in self._registry.sessions

    def presence(self, device_id: str) -> tuple[bool, int, int] | None:
        """Whether a device is attached, the time in µs since its last message or its detachment, and the number of its last stream; None
        without a session here."""
        session = self._registry.sessions.get(device_id)
        if session is None:
            return None
        now_us = self._clocks.now_us()
        if session.attached:
            return True, now_us - self._devices.heard_us(device_id, now_us), session.hello.stream_number
        return False, now_us - (session.expires_at_us - self.config.device_lease_us), session.hello.stream_number

    @property
    def in_cluster(self) -> bool:
        """Whether the relay is in a cluster: a stale session is then handed over if its device returns with another relay's token, and
        publishers of a device that comes from another relay may be away for longer, as they may wait for the backplane."""
        return self._devices.stale is not None

    @in_cluster.setter
    def in_cluster(self, value: bool) -> None:
        self._registry.in_cluster = value
        self._devices.stale = self.hand_over if value else None
        away_us = (self.config.publisher_lease_us, self.config.device_lease_us)
        self._reports.publishers_away_us = max(away_us) if value else self.config.publisher_lease_us

    def hand_over(self, device_id: str, why: str) -> None:
        """Release a device that is now at another relay. The streams of its conversations' publishers end; they reconnect to it there."""
        session = self._registry.sessions.get(device_id)
        if session is not None:
            self._devices.hand_over(device_id)
            effects, publishers = self._reports.hand_over(session)
            self._perform(effects)  # before the streams end: nothing is sent afterwards
            for key in publishers:
                self.publishers.cut(key, Fault(Reason.MOVED, why))

    # --- for operators ---------------------------------------------------------------------------------------------

    def sessions(self) -> tuple[Session, ...]:
        """All sessions, sorted by device id. Read-only."""
        return tuple(session for _, session in sorted(self._registry.sessions.items()))

    def lease_remaining_us(self, session: Session) -> int:
        """Remaining lease in µs of a device that is away; 0 while it is attached."""
        return 0 if session.attached else max(0, session.expires_at_us - self._clocks.now_us())

    # --- effects ---------------------------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if (for_media := isinstance(effect, WakeForMedia)) or isinstance(effect, WakeDevice):  # `match` costs more for each payload
                if (port := self._devices.ports.get(effect.device_id)) is None:
                    continue
                if for_media and self._media_tick is not None:
                    self._media_tick.wake(port)
                else:
                    port.wake()
            elif isinstance(effect, TellPublisher):
                self.publishers.tell(effect.publisher, effect.message)
            elif isinstance(effect, PayloadsReceived):
                self.observer.payloads_received(effect)
            else:
                self.observer.notice(effect)
                if isinstance(effect, FinishedIgnored):
                    continue
                self._moved.set()
                for watcher in self.watchers:
                    watcher.show(self._clocks.unix_time_us(), effect)

    def _return_credit(self, conversation_id: str) -> None:
        conversation = self._registry.conversations[conversation_id]
        self._perform(self._commands.credit(conversation))
        self.publishers.make_room(conversation.publisher)


def _drawn(random_bytes: Callable[[int], bytes]) -> Callable[[str], str]:
    return lambda _: random_bytes(24).hex()


def limits_of(config: RelayConfig) -> Limits:
    """The limits that this relay announces to peers."""
    return Limits(
        max_payload_bytes=MAX_PAYLOAD_BYTES,
        max_message_bytes=MAX_MESSAGE_BYTES,
        max_fragment_bytes=MAX_FRAGMENT_BYTES,
        lease_ms=config.device_lease_us // 1_000,
        heartbeat_ms=config.heartbeat_us // 1_000,
        idle_heartbeat_ms=max(config.idle_heartbeat_us, config.heartbeat_us) // 1_000,
        max_joined_requests=MAX_JOINED_REQUESTS,
    )
