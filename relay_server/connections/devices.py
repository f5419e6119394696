"""Ports of devices: attachment, takeover, heartbeats and silence. Their messages go to `DeviceReports`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, repeat

from avatar_relay.errors import PeerError
from avatar_relay.limits import IDLE_BEATS, MAX_JOINED_WITH_DEVICE
from avatar_relay.messages import GoAway, Hello, Ping, Pong, ToRelayFromDevice
from avatar_relay.reasons import Fault, Reason
from avatar_relay.stream_numbers import is_newer
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.ports import RETRY_AFTER_MS, Port
from relay_server.core.device_outbox import JoinedMessages, MediaMessage, Outgoing
from relay_server.core.device_reports import DeviceReports
from relay_server.core.events import Effect
from relay_server.core.registry import Registry
from relay_server.core.session import Session
from relay_server.observer import RelayObserver

PHASE_STEP = 0.618
"""Golden ratio: spreads the phases of any number of devices evenly."""


PING_WITH_MEDIA_US = 250_000
"""A ping due within this time is sent with media, if the device supports joined messages: a separate message costs much more."""


class DevicePort(Port[Outgoing | JoinedMessages]):
    """One device's stream. Created by `Relay.connect_device`."""

    def __init__(self, devices: Devices) -> None:
        super().__init__()
        self._devices = devices
        self.session: Session | None = None
        """Set by hello."""
        self.heard_us = 0
        """Time of the device's last message."""
        self.next_ping_us = 0
        self.due_us = 0
        """Time of its next check, unless a conversation begins or ends before."""
        self.busy_us: int | None = None
        """When pings at the normal interval began; None while it is idle and pinged rarely."""

    async def send(self, message: ToRelayFromDevice, *, alone: bool = True) -> None:
        """Handle a message from the device; `alone`: it was not joined with others. Raises `PeerError` if it ends the stream."""
        self.take(message, alone=alone)

    def take(self, message: ToRelayFromDevice, *, alone: bool) -> None:
        """Like `send`, without a coroutine."""
        if self.fault is not None:
            self.check_open()
        self._devices.take(self, message, alone=alone)

    def next(self) -> Outgoing | JoinedMessages | None:
        """See `Port`."""
        session = self.session
        if session is not None and not self.ended and session.outbox.changed:
            message = self._devices.next_for(self, session)
            if message is not None and session.outbox.changed and session.hello.takes_joined:
                return self._joined(session, message)
            return message
        farewell, self.farewell = self.farewell, None
        return farewell

    def _joined(self, session: Session, first: Outgoing) -> Outgoing | JoinedMessages:
        """Join `first` with the messages queued after it, but at most one media message, which may have the maximum size."""
        messages = [first]
        has_media = isinstance(first, MediaMessage)
        while len(messages) < MAX_JOINED_WITH_DEVICE and (session.outbox.control_waits or not has_media):
            if (following := self._devices.next_for(self, session)) is None:
                break
            messages.append(following)
            has_media = has_media or isinstance(following, MediaMessage)
        return JoinedMessages(messages) if len(messages) > 1 else messages[0]

    def close(self) -> None:
        """The device's stream is closed: its lease begins. Idempotent."""
        self._devices.leave(self)


class Devices:
    """Serves the ports of all devices. `credit_due` is called with the id of a conversation whose publisher is owed credit."""

    def __init__(
        self,
        registry: Registry,
        reports: DeviceReports,
        config: RelayConfig,
        clocks: Clocks,
        observer: RelayObserver | None,
        *,
        perform: Callable[[Iterable[Effect]], None],
        credit_due: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._reports = reports
        self._config = config
        self._clocks = clocks
        self._observer = observer
        self._perform = perform
        self._credit_due = credit_due
        self.ports: dict[str, DevicePort] = {}
        """Ports of attached devices, by device id."""
        self.stale: Callable[[str, str], None] | None = None
        """Called with the id of a device that returns from another relay, and the reason why its session here is stale."""
        self._elsewhere: Iterator[str] = repeat("")
        """The address to which each device is sent when the relay drains; empty: unknown."""
        self._late_us = 0
        """How late this program was in about the last second, in µs."""
        self._phase = 0.0
        """Phase of the last device's pings within a heartbeat, 0 to 1."""

    # --- what ports ask --------------------------------------------------------------------------------------------

    def take(self, port: DevicePort, message: ToRelayFromDevice, *, alone: bool) -> None:
        """Handle a message; `alone`: see `DevicePort.send`. Raises `PeerError` if it ends the stream."""
        port.heard_us = self._clocks.now_us()
        session = port.session
        match message:
            case Hello():
                self._attach(port, message)
            case _ if session is None:
                raise PeerError(Fault(Reason.HELLO_MISSING, "the first message of a device must be hello", "hello"))
            case Ping():
                session.confirm()
                session.outbox.put(self._clocks.pong(message))
                if alone:
                    port.wake()
            case Pong():  # its clock readings are for the device; here it confirms received media
                session.confirm()
                session.flight.answered(message.ping_id, port.heard_us, late_us=self._late_us)
                if session.flight.wants_ping:  # the window is now smaller than the media sent after that ping
                    session.ping(port.heard_us)
                if session.outbox.changed:
                    port.wake()
            case _:
                self._perform(self._reports.handle(session, message, port.heard_us))
                if self._registry.sessions.get(session.device_id) is not session:
                    port.end()  # goodbye

    def next_for(self, port: DevicePort, session: Session) -> Outgoing | None:
        """The next message to send; None if nothing may be sent now."""
        now_us = self._clocks.now_us()
        if session.flight.is_narrow and (conversation_id := self._reports.yield_motion(session, now_us)):
            self._credit_due(conversation_id)
        message = session.take(now_us)
        if isinstance(message, MediaMessage):  # `match` costs twice as much, for each payload
            cid, batches = message
            conversation, delivery = self._registry.conversations[cid], session.deliveries[cid]
            for batch in batches:
                size = batch.size_bytes if not delivery.again_bytes[batch.kind] else delivery.first_time(batch.kind, batch.size_bytes)
                conversation.sent(session.device_id, batch.kind, size)
            if self._observer is not None:
                self._observer.payloads_sent(session.device_id, cid, batches, now_us)
            if conversation.owes_credit:
                self._credit_due(cid)
            if session.pinged_us == now_us:  # to confirm this media
                port.next_ping_us = max(port.next_ping_us, now_us + self._config.heartbeat_us)
            elif now_us >= port.next_ping_us - PING_WITH_MEDIA_US and session.hello.takes_joined:
                port.next_ping_us = max(port.next_ping_us, now_us) + self._config.heartbeat_us
                session.ping(now_us)
        elif isinstance(message, Ping):
            return Ping(message.ping_id, now_us)
        elif isinstance(message, Pong):
            return self._clocks.sent(message)
        return message

    def leave(self, port: DevicePort) -> None:
        """Handle a closed stream."""
        port.end()
        session, port.session = port.session, None
        if session is not None and self.ports.get(session.device_id) is port:
            del self.ports[session.device_id]
            reason = port.fault.reason.value if port.fault is not None else "stream_ended"
            self._perform(self._reports.detach(session, reason, self._clocks.now_us()))

    # --- what the relay does with them -----------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Number of attached devices."""
        return len(self.ports)

    def look_after(self, step: int, steps: int, *, late_us: int) -> None:
        """Ping devices, and end streams that are silent or not read. Each step of `steps` covers a part of the devices.

        `late_us`: how late this call is.
        """
        self._late_us = max(late_us, self._late_us)
        now_us = self._clocks.now_us()
        for port in list(self.ports.values())[step::steps]:
            if (session := port.session) is None or port.ended:
                continue
            if now_us >= port.due_us or (port.busy_us is None) is bool(session.deliveries) or session.outbox.overrun:
                self._look_after(port, session, now_us)

    def tick(self) -> None:
        """End sessions whose lease has expired. Called after the last step of `look_after`."""
        self._late_us //= 2
        self._perform(self._reports.tick(self._clocks.now_us()))

    def heard_us(self, device_id: str, now_us: int) -> int:
        """Time of an attached device's last message; `now_us` if it is not attached."""
        port = self.ports.get(device_id)
        return now_us if port is None else port.heard_us

    def hand_over(self, device_id: str) -> None:
        """End the stream of a device that now has one at another relay."""
        port = self.ports.pop(device_id, None)
        if port is not None:
            port.session = None
            port.give_way(f"device {device_id}")

    def go_away(self, elsewhere: Sequence[str]) -> None:
        """Notify all devices that the relay is draining. When their streams end, they are sent to these addresses in turn."""
        self._elsewhere = cycle(elsewhere or ("",))
        for port in self.ports.values():
            if port.session is not None:
                port.session.outbox.put(GoAway("drain", RETRY_AFTER_MS))
                port.wake()

    def end_idle(self, fault: Fault) -> None:
        """End the streams of devices without a conversation."""
        for port in self.ports.values():
            if port.session is not None and not port.session.deliveries:
                self._send_away(port, fault)

    def end_all(self, fault: Fault) -> None:
        """End all streams."""
        for port in self.ports.values():
            self._send_away(port, fault)

    def _send_away(self, port: DevicePort, fault: Fault) -> None:
        if not port.ended and (address := next(self._elsewhere)):
            port.farewell = GoAway("drain", RETRY_AFTER_MS, address)
        port.end(fault)

    # --- within ----------------------------------------------------------------------------------------------------

    def _attach(self, port: DevicePort, hello: Hello) -> None:
        if port.session is not None:
            raise PeerError(Fault(Reason.HELLO_REPEATED, "hello comes first, and only once", "hello"))
        known = self._registry.sessions.get(hello.device_id)
        if known is not None and is_newer(known.hello.stream_number, hello.stream_number):
            raise PeerError(Fault(Reason.REPLACED, f"device {hello.device_id} has opened a newer stream"))
        if self.stale is not None and known is not None and hello.session_token and not known.proves(hello.session_token):
            self.stale(hello.device_id, f"device {hello.device_id} was at another relay meanwhile")
        effects = self._reports.attach(hello, self._clocks.now_us(), self._clocks.unix_time_us())
        stale = self.ports.pop(hello.device_id, None)
        if stale is not None:
            stale.session = None
            stale.give_way(f"device {hello.device_id}")
        port.session = self._registry.sessions[hello.device_id]
        self.ports[hello.device_id] = port
        self._perform(effects)

    def _look_after(self, port: DevicePort, session: Session, now_us: int) -> None:
        heartbeat_us, timeout_us = self._pace(port, session, now_us)
        silent_us, answer_us = now_us - port.heard_us, session.flight.unanswered_us(now_us)
        counted_us = min(silent_us, now_us - (port.busy_us or 0))
        is_unanswered = answer_us > self._config.peer_timeout_us
        if counted_us > timeout_us or (is_unanswered and silent_us >= answer_us):
            text = f"device {session.device_id} said nothing for {silent_us // 1_000} ms"
            port.end(Fault(Reason.PEER_SILENT, text))  # no retry hint: it may reconnect at once, with its own backoff
        elif session.outbox.overrun:
            text = f"device {session.device_id} reads too slowly: too many messages wait; it may attach again"
            port.end(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=RETRY_AFTER_MS))
        elif is_unanswered:
            text = f"device {session.device_id} reads too slowly: it talks, but pings have no answer; it may attach again"
            port.end(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=RETRY_AFTER_MS))
        elif now_us >= port.next_ping_us:
            port.next_ping_us = now_us + (heartbeat_us if port.next_ping_us else self._part_of(heartbeat_us))
            session.ping(now_us)
            port.wake()
        port.due_us = min(port.next_ping_us, now_us + timeout_us - counted_us, now_us + self._config.peer_timeout_us - answer_us)

    def _pace(self, port: DevicePort, session: Session, now_us: int) -> tuple[int, int]:
        """The heartbeat and timeout of a device, in µs: longer while it has no conversation, if it supports that.

        When a conversation begins, the device is pinged at once, and its silence is measured from then.
        """
        config = self._config
        if session.deliveries or not session.hello.slow_when_idle or config.idle_heartbeat_us <= config.heartbeat_us:
            if port.busy_us is None:
                port.busy_us = now_us
                port.next_ping_us = min(port.next_ping_us, now_us)
            return config.heartbeat_us, config.peer_timeout_us
        port.busy_us = None
        return config.idle_heartbeat_us, max(config.peer_timeout_us, IDLE_BEATS * config.idle_heartbeat_us)

    def _part_of(self, heartbeat_us: int) -> int:
        """The delay in µs from a device's first ping, which is sent at once, to its second: spreads devices over the heartbeat."""
        self._phase = (self._phase + PHASE_STEP) % 1.0
        return round(self._phase * heartbeat_us)
