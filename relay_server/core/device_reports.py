"""Handling of devices' messages. Pure.

Rules (numbers of the conversation rules in the design)
- 9  Player events go to the publisher of their conversation, and are acknowledged when it has acknowledged them, or if there
     is no publisher. A conversation finishes once; later finished events are ignored.
- 11 A device that is away keeps its conversations for its lease. When the lease ends, or the device sends goodbye or returns
     with a new session, the relay finishes them: `device_lost`, last reported position.
A new stream of a device replaces the old one at once. A device that comes from another relay continues playing: see
`adoption`.
"""

from __future__ import annotations

from collections.abc import Callable

from avatar_relay.device_state import DeviceSettings, Parts
from avatar_relay.errors import PeerError
from avatar_relay.limits import PROTOCOL_VERSION
from avatar_relay.media import Credit, Kind
from avatar_relay.messages import ConversationError, Goodbye, Held, Hello, Limits, PlayerEvent, UnknownEvent, Volume, Welcome
from avatar_relay.reasons import Fault, Reason
from relay_server.config import RelayConfig
from relay_server.core.delivery import Retention
from relay_server.core.events import ConversationFaulted, DeviceAttached, DeviceDetached, DeviceLost, Effect, TellPublisher, WakeDevice
from relay_server.core.finishing import MADE_BY_RELAY, finish, tell_yielded
from relay_server.core.player_events import pass_on
from relay_server.core.registry import Registry
from relay_server.core.session import NOBODY, Session

Report = Credit | Held | PlayerEvent | UnknownEvent | Goodbye | ConversationError | Volume | DeviceSettings | Parts


class DeviceReports:
    """Applies devices' messages to their sessions, and passes them on to the publishers."""

    def __init__(self, registry: Registry, config: RelayConfig, limits: Limits, *, random_bytes: Callable[[int], bytes]) -> None:
        self._registry = registry
        self._config = config
        self._limits = limits
        self._random_bytes = random_bytes
        self.publishers_away_us = config.publisher_lease_us
        """How long publishers of an adopted device may be away."""
        self.draining = False
        """If True, no stream is accepted."""
        self._retention = Retention(config.retention_us, config.retention_bytes)

    def attach(self, hello: Hello, now_us: int, unix_time_us: int) -> list[Effect]:
        """Attach a device's new stream. Raises `PeerError` with the state unchanged if it is refused."""
        if hello.protocol_version != PROTOCOL_VERSION:
            text = f"protocol version {hello.protocol_version}; this relay supports {PROTOCOL_VERSION}"
            raise PeerError(Fault(Reason.PROTOCOL_VERSION_UNSUPPORTED, text, "hello.protocol_version"))
        if self.draining:
            raise PeerError(Fault(Reason.DRAINING, "the relay is draining", retry_after_ms=1_000))
        known = self._registry.sessions.get(hello.device_id)
        if known is None and len(self._registry.sessions) >= self._config.max_devices:
            raise PeerError(Fault(Reason.LIMIT_REACHED, f"{self._config.max_devices} devices are here already", retry_after_ms=10_000))
        effects: list[Effect] = []
        if known is not None and known.attached:
            effects.append(DeviceDetached(hello.device_id, "replaced"))
        session = known if known is not None and known.proves(hello.session_token) else self._begin(hello, known, effects, now_us)
        is_news = session.volume.hello(hello.volume)
        session.settings.hello(hello.settings)
        back = session.attach(hello, now_us)
        for conversation_id, delivery in session.deliveries.items():
            if delivery.cut:
                self._registry.conversations[conversation_id].cut(session.device_id)
        session.outbox.put(
            Welcome(
                session_token=session.token,
                limits=self._limits,
                server_time_us=now_us,
                server_unix_time_us=unix_time_us,
                resumed_conversation_ids=back.resumed,
                lost_conversation_ids=back.lost,
                volume=session.volume.volume,
                settings=session.settings.value if session.settings.supported else None,
                takes_joined=True,
            )
        )
        effects.append(DeviceAttached(hello.device_id, resumed=session is known))
        if is_news:
            effects.append(session.volume.notice)
        for conversation_id in back.lost:
            effects += self._lose(session, conversation_id)
        session.replay()
        return [*effects, WakeDevice(hello.device_id)]

    def _begin(self, hello: Hello, known: Session | None, effects: list[Effect], now_us: int) -> Session:
        session = Session(hello, self._random_bytes(24).hex(), self._retention)
        if hello.session_token:
            gone = known.closed if known is not None else {}
            cursors = [cursor for cursor in hello.cursors if cursor.conversation_id not in gone]
            notices_us = self._config.peer_timeout_us  # the longest time for a publisher to notice the loss of the other relay
            session.adoption.begin(hello.session_token, cursors, now_us + notices_us + self.publishers_away_us)
        if known is not None:
            session.inherit(known)
            effects += self._end(known, "replaced")
            session.closed, session.volume, session.settings = known.closed, known.volume, known.settings
        else:
            session.volume = self._registry.pending_volumes.take(hello.device_id)
            session.settings = self._registry.pending_settings.take(hello.device_id)
        self._registry.sessions[hello.device_id] = session
        return session

    def detach(self, session: Session, reason: str, now_us: int) -> list[Effect]:
        """Detach a device whose stream ended; its lease begins."""
        if not session.attached:
            return []
        session.detach(now_us + self._config.device_lease_us)
        return [*_tell_all_yielded(session), DeviceDetached(session.device_id, reason)]

    def handle(self, session: Session, message: Report, now_us: int) -> list[Effect]:
        """Handle a message. Does not raise for invalid messages."""
        session.confirm()
        match message:
            case Credit():
                session.outbox.grant(message)
                return [WakeDevice(session.device_id)] if session.outbox.changed else []
            case Held():
                return self._hold(session, message)
            case PlayerEvent():
                return self._event(session, message, now_us)
            case UnknownEvent(event_id):
                if not session.events.settled(event_id):
                    session.events.record(event_id, None)
                session.acknowledge()
                return [WakeDevice(session.device_id)]
            case ConversationError():
                return self._error(session, message)
            case Volume():
                return [session.volume.notice] if session.volume.told(message) else []
            case DeviceSettings():
                session.settings.told(message)
                return []
            case Parts():
                session.parts = message.parts
                return []
            case Goodbye():
                effects = self.detach(session, "goodbye", now_us)
                return effects + self._remove(session, "goodbye")

    def yield_motion(self, session: Session, now_us: int) -> str:
        """Drop motion in favour of audio if the link is narrow. Returns the conversation that lost motion; empty if none did."""
        cid, dropped = session.yield_motion(now_us)
        if not dropped:
            return ""
        size, delivery = sum([batch.size_bytes for batch in dropped]), session.deliveries[cid]
        self._registry.conversations[cid].sent(session.device_id, Kind.MOTION, delivery.first_time(Kind.MOTION, size))
        delivery.count_id = delivery.count_id or now_us
        delivery.yielded.update(payloads=len({seq for batch in dropped for seq in batch.seqs}), bytes=size)
        return cid

    def tell_yielded(self) -> list[Effect]:
        """Report the motion dropped since the last report. Call it before streams end."""
        return [effect for session in self._registry.sessions.values() for effect in _tell_all_yielded(session)]

    def tick(self, now_us: int) -> list[Effect]:
        """End the sessions whose lease has expired and conversations not reclaimed by publishers; report dropped motion."""
        effects = self.tell_yielded()
        for session in self._registry.sessions.values():
            if session.adoption.until_us and (never_told := session.give_up_adoption(now_us)) is not None:
                for conversation_id in never_told:
                    effects += self._lose(session, conversation_id)
                effects.append(WakeDevice(session.device_id))
        for session in [session for session in self._registry.sessions.values() if not session.attached]:
            if session.expires_at_us <= now_us:
                effects += self._remove(session, "lease_expired")
        return effects

    def _remove(self, session: Session, reason: str) -> list[Effect]:
        """Remove a session without a successor."""
        self._registry.sessions.pop(session.device_id, None)
        self._registry.pending_volumes.keep(session.device_id, session.volume)
        self._registry.pending_settings.keep(session.device_id, session.settings)
        return self._end(session, reason)

    def hand_over(self, session: Session) -> tuple[list[Effect], set[str]]:
        """Remove the session of a device that is now at another relay. Its conversations continue there, without a finished event here.

        Also returns the publishers of those conversations. A group's conversation continues here on the other members, and is lost on
        this device.
        """
        self._registry.sessions.pop(session.device_id, None)
        effects: list[Effect] = [DeviceLost(session.device_id, "moved")]
        publishers: set[str] = set()
        for conversation_id in list(session.deliveries):
            effects += tell_yielded(session, conversation_id)
            conversation = self._registry.conversations[conversation_id]
            if len(conversation.device_ids) > 1:
                effects += self._lose(session, conversation_id)
            else:
                del self._registry.conversations[conversation_id]
                if (publisher := self._registry.publishers.get(conversation.publisher)) is not None:
                    publisher.conversations.discard(conversation_id)
                    publishers.add(publisher.key)
        return effects, publishers

    def _end(self, session: Session, reason: str) -> list[Effect]:
        effects: list[Effect] = [DeviceLost(session.device_id, reason)]
        for conversation_id in list(session.deliveries):
            effects += self._lose(session, conversation_id)
        return effects

    def _lose(self, session: Session, conversation_id: str) -> list[Effect]:
        delivery = session.deliveries.get(conversation_id)
        if delivery is None:
            return []
        return finish(self._registry, session, PlayerEvent(MADE_BY_RELAY, conversation_id, delivery.lost))

    def _hold(self, session: Session, message: Held) -> list[Effect]:
        cursors: dict[str, list[str]] = {}
        for cursor in message.cursors:
            delivery = session.hold(cursor)
            if delivery is not None:
                cursors.setdefault(delivery.publisher, []).append(cursor.conversation_id)
        return [
            TellPublisher(publisher, Held(tuple(session.deliveries[cid].held for cid in dict.fromkeys(ids)), session.device_id))
            for publisher, ids in cursors.items()
        ]

    def _event(self, session: Session, event: PlayerEvent, now_us: int) -> list[Effect]:
        woken: list[Effect] = [WakeDevice(session.device_id)]
        if session.events.settled(event.event_id):
            session.acknowledge()
            return woken
        if session.owner(event.conversation_id) is None and session.adoption.waits(now_us):
            session.events.record(event.event_id, NOBODY)  # its publisher may still reclaim it
            session.adoption.keep(event, now_us)
            return woken
        return pass_on(self._registry, session, event, now_us) + woken

    def _error(self, session: Session, error: ConversationError) -> list[Effect]:
        told = ConversationError(error.conversation_id, error.fault, session.device_id)
        effects: list[Effect] = [ConversationFaulted(error.conversation_id, session.device_id, error.fault)]
        owner = session.owner(error.conversation_id)
        if owner is not None:
            effects.append(TellPublisher(owner, told))
        if error.fault.reason is Reason.CONVERSATION_CLOSED:
            session.cut_again()
            effects.append(WakeDevice(session.device_id))
        if error.fault.reason is Reason.CONVERSATION_UNKNOWN:
            effects += self._lose(session, error.conversation_id)  # the device will never report its end
        return effects


def _tell_all_yielded(session: Session) -> list[Effect]:
    return [effect for cid, delivery in session.deliveries.items() if delivery.yielded for effect in tell_yielded(session, cid)]
