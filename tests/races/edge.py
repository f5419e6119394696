"""A device: the real player on a simple sound card, and the real outbox. Its stream follows the life cycle of `edge_client.link`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from avatar_relay import messages as m
from avatar_relay.limits import PROTOCOL_VERSION
from avatar_relay.media import Codec, ConversationOpen, Kind, MotionEncoding
from avatar_relay.stream_numbers import StreamNumbers
from edge_client.link.player_port import PlayerPort
from edge_client.link.report_outbox import ReportOutbox
from edge_client.playback.events import ConversationEvent, PlaybackConfig, PlayerState
from relay_server.connections.relay import Relay
from relay_server.core.device_outbox import MediaMessage
from tests.edge_client.simulation.world import PlainCard, World
from tests.races.backend import DEVICE
from tests.races.legs import Leg


class Edge:
    """One device."""

    def __init__(self, clock: Callable[[], int], device_id: str = DEVICE) -> None:
        self._clock = clock
        self.device_id = device_id
        self.card = PlainCard()
        self.world = World(self.card, PlaybackConfig(decode_ahead_us=400_000))
        self.leg: Leg | None = None
        self.opened: dict[str, int] = {}
        """The conversations that it was told to open, numbered in that order."""
        self.finished: list[tuple[str, m.Finished]] = []
        """The player's `finished` reports, in order."""
        self.revived: list[str] = []
        """Conversations with reports other than drops after their end."""
        self.moved: dict[str, set[int]] = defaultdict(set)
        """The motion payloads received of each conversation, by `seq`."""
        self._port = PlayerPort(self.world.playback, loudest=1.0)
        self._outbox = ReportOutbox()
        self._token = ""
        self._numbers = StreamNumbers(b"edge")
        self._welcomed = False
        self._told = 0

    @property
    def is_idle(self) -> bool:
        """Whether there is no active conversation."""
        return self.world.playback.state is PlayerState.IDLE

    def pass_time(self, until_us: int) -> None:
        """Play until `until_us`, and collect the player's reports."""
        self.world.run(until_us)
        for _, output in self.world.outputs[self._told :]:
            self._outbox.put(output)
            if isinstance(output, ConversationEvent):
                self._note(output)
        self._told = len(self.world.outputs)

    def _note(self, event: ConversationEvent) -> None:
        over = any(event.conversation_id == conversation_id for conversation_id, _ in self.finished)
        if isinstance(event.body, m.Finished):
            self.finished.append((event.conversation_id, event.body))
        if over and not isinstance(event.body, m.Dropped):
            self.revived.append(event.conversation_id)

    # --- its stream ------------------------------------------------------------------------------------------------

    def connect(self, relay: Relay) -> None:
        """Open a new stream: send hello with all state held, and nothing else before the welcome."""
        self.leg = Leg(relay.connect_device())
        self._welcomed = False
        credit, cursors = self._port.buffer_credit(), self._port.cursors()
        self._outbox.begin_stream(credit)
        known, encodings = (self._token, cursors), tuple(MotionEncoding)
        hello = m.Hello(self.device_id, PROTOCOL_VERSION, "test", tuple(Codec), 48_000, encodings, credit, *known)
        self.leg.up.append(replace(hello, stream_number=self._numbers.next()))

    def notice(self) -> None:
        """Notice that the stream is gone."""
        self.leg, self._welcomed = None, False

    def send(self, count: int) -> int:
        """Send up to `count` messages; returns the number sent."""
        if not self._welcomed or self.leg is None:
            return 0
        for number in range(count):
            message = self._outbox.take(self._clock())
            if message is None:
                return number
            self.leg.up.append(message)
        return count

    def hear(self) -> None:
        """Receive the first message in flight."""
        assert self.leg is not None
        message = self.leg.down.popleft()
        match message:
            case m.Welcome():
                self._welcomed = True
                if message.session_token != self._token:
                    self._token = message.session_token
                    self._outbox.begin_session()
                self._port.handle(message, self._clock())
            case m.EventAck():
                self._outbox.acknowledge(message.event_id)
            case m.Ping():
                self._outbox.put(m.Pong(message.ping_id, message.sent_time_us, self._clock(), self._clock(), 0))
            case m.Pong() | m.GoAway():
                pass
            case MediaMessage():
                payloads = tuple(payload for run in message.batches for payload in run.entries)
                self._port.handle(m.Media(message.conversation_id, payloads), self._clock())  # type: ignore[arg-type] # encoded as itself
            case m.Media():
                self.moved[message.conversation_id] |= {payload.seq for payload in message.payloads if payload.kind is Kind.MOTION}
                self._port.handle(message, self._clock())
            case _:
                if isinstance(message, ConversationOpen):
                    self.opened.setdefault(message.conversation_id, len(self.opened))
                self._port.handle(message, self._clock())
