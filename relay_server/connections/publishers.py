"""Ports of publishers: connection, takeover and leases. Their messages go to `PublisherCommands`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from avatar_relay.errors import PeerError
from avatar_relay.limits import PROTOCOL_VERSION
from avatar_relay.messages import AtRelay, GoAway, Held, Limits, Media, Ping, PublishedMedia, PublisherHello, PublisherWelcome, ToPublisher
from avatar_relay.reasons import Fault, Reason
from avatar_relay.stream_numbers import is_newer
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.ports import RETRY_AFTER_MS, Port
from relay_server.core.allowance import Allowance
from relay_server.core.events import Effect, TellPublisher
from relay_server.core.finishing import report_fault
from relay_server.core.open_conversation import ConversationOpener
from relay_server.core.publisher_commands import PublisherCommands
from relay_server.core.registry import PublisherRecord, Registry


class PublisherPort(Port[ToPublisher]):
    """One publisher's stream. Created by `Relay.connect_publisher`."""

    def __init__(self, publishers: Publishers, owner: str) -> None:
        super().__init__()
        self._publishers = publishers
        self.owner = owner
        """The stream's identity; empty if there is none."""
        self.publisher: PublisherRecord | None = None
        """Set by the first message."""
        self.said_all = False
        """The publisher has half-closed the stream; messages are still sent to it."""
        self.heard_us = 0
        """Time of the publisher's last message."""
        self.pings = True
        """Whether the publisher pings; one in this process does not, and is never silent."""
        self.leaves_us: int | None = None
        """When its open conversations will be ended; None if done or not scheduled."""
        self.lease_us = publishers.lease_us
        """How long its conversations stay open after the stream closed, in µs."""
        self.room = asyncio.Event()
        """Set when media was sent to a device."""

    async def send(self, message: AtRelay) -> None:
        """Handle a message from the publisher. Blocks a stream without hello while too much media is queued; safe to cancel then.

        Raises `PeerError` if the message ends the stream. Faults of a conversation are reported by `receive` instead.
        """
        if self.publisher is not None and self.publisher.by_hand and isinstance(message, Media | PublishedMedia):
            while self._publishers.blocks(self.publisher, message):
                self.check_open()
                self.room.clear()
                await self.room.wait()
        self.take(message)

    def take(self, message: AtRelay) -> None:
        """`send` for a stream with hello, which never blocks."""
        if self.fault is not None:
            self.check_open()
        self._publishers.take(self, message)

    def send_media(self, media: Sequence[PublishedMedia]) -> Awaitable[None] | None:
        """Like `send` for each, but returns None if they are handled already: only media of a stream without hello may have to wait.

        Devices are woken when all of it is queued, so media for one device is sent in one message.
        """
        publisher = self.publisher
        if self.fault is not None or publisher is None or publisher.by_hand:
            return self._send_each(media)
        self._publishers.take_media(self, publisher, media)
        return None

    async def _send_each(self, media: Sequence[PublishedMedia]) -> None:
        for one in media:
            await self.send(one)

    def next(self) -> ToPublisher | None:
        """See `Port`."""
        if self.publisher is not None and self.publisher.backlog:
            return self.publisher.backlog.popleft()
        farewell, self.farewell = self.farewell, None
        return farewell

    def finish_sending(self) -> None:
        """Half-close the stream: open conversations are ended, and the stream ends when they have finished."""
        self._publishers.leave(self, said_all=True)

    def close(self) -> None:
        """The publisher's stream is closed: its lease begins. Idempotent."""
        self._publishers.leave(self, said_all=False)

    def end(self, fault: Fault | None = None) -> None:
        """End the stream, and unblock a waiting `send`."""
        super().end(fault)
        self.room.set()


class Publishers:
    """Serves the ports of all publishers."""

    def __init__(
        self,
        registry: Registry,
        opener: ConversationOpener,
        commands: PublisherCommands,
        config: RelayConfig,
        limits: Limits,
        clocks: Clocks,
        *,
        mint_token: Callable[[str], str],
        random_bytes: Callable[[int], bytes],
        perform: Callable[[Iterable[Effect]], None],
    ) -> None:
        self._registry = registry
        self._opener = opener
        self._commands = commands
        self._config = config
        self._limits = replace(limits, lease_ms=config.publisher_lease_us // 1_000)
        self._clocks = clocks
        self._mint_token = mint_token
        self._random_bytes = random_bytes
        self._perform = perform
        self._ports: dict[str, PublisherPort] = {}
        self.lease_us = config.publisher_lease_us
        """Lease of a publisher whose stream closed."""
        self.is_cut_off: Callable[[], bool] = lambda: False
        """Whether a publisher may be at another relay that cannot reach this one: then its lease is as long as a device's."""

    # --- what ports ask----------------------------------------------------------------------------------------------

    def take(self, port: PublisherPort, message: AtRelay) -> None:
        """Handle a message. Raises `PeerError` if it ends the stream."""
        port.heard_us = self._clocks.now_us()
        if isinstance(message, PublisherHello):
            self._welcome(port, message)
            return
        publisher = port.publisher or self._take_by_hand(port)
        if isinstance(message, PublishedMedia):
            self.take_media(port, publisher, (message,))
        elif isinstance(message, Ping):
            self._perform([TellPublisher(publisher.key, self._clocks.pong(message))])
        else:
            self._perform(self._commands.handle(publisher, message, port.heard_us))

    def take_media(self, port: PublisherPort, publisher: PublisherRecord, media: Sequence[PublishedMedia]) -> None:
        """Handle media of the port's publisher."""
        now_us = port.heard_us = self._clocks.now_us()
        effects = self._commands.take_media(publisher, media[0], now_us)
        for more in media[1:]:
            effects += self._commands.take_media(publisher, more, now_us)
        self._perform(effects)

    def blocks(self, publisher: PublisherRecord, message: Media | PublishedMedia) -> bool:
        """Whether media of a stream without credit must wait for room."""
        return self._commands.blocked(publisher, message)

    def leave(self, port: PublisherPort, *, said_all: bool) -> None:
        """Handle a closed stream, or if `said_all`, a half-closed one."""
        publisher = port.publisher
        if publisher is None or self._ports.get(publisher.key) is not port:
            port.end()
        elif said_all:
            port.said_all = True
            port.leaves_us = self._clocks.now_us() + (0 if publisher.by_hand else self._config.publisher_lease_us)
            self._let_leave(port, publisher)
        else:
            port.end()
            del self._ports[publisher.key]
            publisher.connected = False
            publisher.expires_at_us = self._clocks.now_us() + port.lease_us
            has_news = bool(publisher.closed or publisher.drops)
            if not publisher.conversations and (publisher.by_hand or port.said_all or not has_news):
                self._forget(publisher, lost=False)

    # --- what the relay does with them -----------------------------------------------------------------------------

    def faulty(self, port: PublisherPort, conversation_id: str, fault: Fault, *, opens: bool) -> None:
        """Handle an unreadable message about a conversation; `opens`: it was an `open`."""
        publisher = port.publisher or self._take_by_hand(port)
        self._perform(self._commands.faulty(publisher, conversation_id, fault, opens=opens))

    def refuse(self, port: PublisherPort, fault: Fault, device_id: str, conversation_id: str = "") -> None:
        """Report a refused request to a device; the stream stays open, and the id of the conversation can be used."""
        publisher = port.publisher or self._take_by_hand(port)
        self._perform(report_fault(publisher.key, conversation_id, fault, device_id))

    def known(self) -> tuple[PublisherRecord, ...]:
        """All publishers, connected or within their lease. Read-only."""
        return tuple(self._registry.publishers.values())

    def parts_of(self, port: PublisherPort) -> tuple[str, ...]:
        """Ids of a publisher's conversations that also have devices at other relays."""
        ids = () if port.publisher is None else sorted(port.publisher.conversations)
        return tuple(conversation_id for conversation_id in ids if self._registry.conversations[conversation_id].is_part)

    def tick(self) -> None:
        """Send what waited, drop unopened media, end silent streams, and remove publishers whose lease has expired."""
        now_us = self._clocks.now_us()
        for plugged in list(self._ports.values()):
            if plugged.publisher is not None and not plugged.ended:
                if plugged.publisher.backlog:
                    plugged.wake()
                self._look_after(plugged, plugged.publisher, now_us)
        for publisher in list(self._registry.publishers.values()):
            self._perform(self._commands.tick(publisher, now_us))
            if (port := self._ports.get(publisher.key)) is not None and port.leaves_us is not None:
                self._let_leave(port, publisher)
            if not publisher.connected and publisher.expires_at_us <= now_us and not self._may_be_elsewhere(publisher, now_us):
                self._forget(publisher, lost=True)

    def tell(self, key: str, message: ToPublisher) -> None:
        """Send a message to a publisher, or queue it until the publisher reconnects. `held` waits for another message, or for the tick."""
        publisher = self._registry.publishers.get(key)
        if publisher is None:
            return
        publisher.tell(message)
        if (port := self._ports.get(key)) is not None and not isinstance(message, Held):
            port.wake()
            port.room.set()
            self._end_when_told_all(publisher)

    def make_room(self, key: str) -> None:
        """Unblock a waiting `send`, after media of this publisher was sent to a device."""
        if (port := self._ports.get(key)) is not None:
            port.room.set()

    def cut(self, key: str, fault: Fault) -> None:
        """End a publisher's stream; it may reconnect."""
        if (port := self._ports.get(key)) is not None:
            port.end(fault)

    def go_away(self) -> None:
        """Notify all publishers that the relay is draining."""
        for key in self._ports:
            self.tell(key, GoAway("drain", RETRY_AFTER_MS))

    def end_all(self, fault: Fault) -> None:
        """End all streams."""
        for port in self._ports.values():
            port.end(fault)

    # --- within ----------------------------------------------------------------------------------------------------

    def _welcome(self, port: PublisherPort, hello: PublisherHello) -> None:
        if port.publisher is not None:
            raise PeerError(Fault(Reason.HELLO_REPEATED, "hello comes first, and only once", "hello"))
        if hello.protocol_version != PROTOCOL_VERSION:
            text = f"protocol version {hello.protocol_version}; this relay supports {PROTOCOL_VERSION}"
            raise PeerError(Fault(Reason.PROTOCOL_VERSION_UNSUPPORTED, text, "hello.protocol_version"))
        key = f"{port.owner}/{hello.publisher_id}" if port.owner else hello.publisher_id
        known = self._registry.publishers.get(key)
        if known is not None and is_newer(known.stream_number, hello.stream_number):
            raise PeerError(Fault(Reason.REPLACED, f"publisher {hello.publisher_id} has opened a newer stream"))
        if known is not None and known.proves(hello.session_token):
            publisher = known
            publisher.connected = True
        else:
            publisher = self._take(key, port.owner, by_hand=False, instead_of=known)
        stale = self._ports.pop(key, None)
        if stale is not None:
            stale.publisher = None
            stale.give_way(f"publisher {hello.publisher_id}")
        publisher.stream_number = hello.stream_number
        taken, missed = self._commands.restate(publisher)
        limits = self._limits if port.pings else replace(self._limits, heartbeat_ms=0)
        publisher.come_back(PublisherWelcome(publisher.token, limits, taken), missed)
        self._plug(port, publisher)

    def _take_by_hand(self, port: PublisherPort) -> PublisherRecord:
        publisher = self._take(f"by-hand-{self._random_bytes(6).hex()}", port.owner, by_hand=True, instead_of=None)
        self._plug(port, publisher)
        return publisher

    def _take(self, key: str, owner: str, *, by_hand: bool, instead_of: PublisherRecord | None) -> PublisherRecord:
        if self._opener.draining:
            raise PeerError(Fault(Reason.DRAINING, "the relay is draining", retry_after_ms=RETRY_AFTER_MS))
        if instead_of is not None:
            self._forget(instead_of, lost=True)
        elif len(self._registry.publishers) >= self._config.max_publishers:
            text = f"{self._config.max_publishers} publishers are here already"
            raise PeerError(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=10 * RETRY_AFTER_MS))
        elif owner and (count := sum([one.owner == owner for one in self.known()])) >= self._config.max_publishers_per_identity:
            text = f"{owner} has {count} publishers here already, which is its share"
            raise PeerError(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=10 * RETRY_AFTER_MS))
        rate = self._config.max_payloads_per_second
        publisher = PublisherRecord(
            key,
            self._mint_token(key),
            by_hand=by_hand,
            owner=owner,
            allowance=Allowance(rate, 2 * rate, self._clocks.now_us()),
            unopened_bytes=self._registry.unopened_bytes,
        )
        self._registry.publishers[key] = publisher
        return publisher

    def _look_after(self, port: PublisherPort, publisher: PublisherRecord, now_us: int) -> None:
        """End the stream of a silent publisher; its lease then begins. Streams without hello, and half-closed ones, may be silent."""
        silent_us = now_us - port.heard_us
        if silent_us > self._config.peer_timeout_us and not publisher.by_hand and not port.said_all and port.pings:
            text = f"publisher {publisher.key} said nothing for {silent_us // 1_000} ms; one that said hello pings at each heartbeat"
            port.end(Fault(Reason.PEER_SILENT, text))

    def _may_be_elsewhere(self, publisher: PublisherRecord, now_us: int) -> bool:
        longest_us = publisher.expires_at_us + self._config.device_lease_us - self.lease_us
        return now_us < longest_us and not publisher.by_hand and self.is_cut_off()

    def _plug(self, port: PublisherPort, publisher: PublisherRecord) -> None:
        port.publisher = publisher
        self._ports[publisher.key] = port
        port.wake()

    def _let_leave(self, port: PublisherPort, publisher: PublisherRecord) -> None:
        """End a publisher's open conversations if that is due. A broken connection first looks like a half-closed stream, so
        a publisher that can reconnect is given its lease."""
        if port.leaves_us is None or self._clocks.now_us() < port.leaves_us:
            return
        port.leaves_us = None
        self._perform(self._commands.leave(publisher, lost=False))
        self._end_when_told_all(publisher)

    def _forget(self, publisher: PublisherRecord, *, lost: bool) -> None:
        effects = self._commands.forget(publisher, lost=lost)
        del self._registry.publishers[publisher.key]
        self._perform(effects)

    def _end_when_told_all(self, publisher: PublisherRecord) -> None:
        port = self._ports.get(publisher.key)
        if port is not None and port.said_all and port.leaves_us is None and not publisher.conversations:
            port.end()
