"""The relay's cores without I/O, driven by plain-text scripts on a clock that only `wait` advances.

One step per line or separated by semicolons, actor first: `a opens c1 queue`, `a audio c1 3`, `lobby finishes c1`, `wait 6`.
What each actor receives is also recorded in words: `open c1`, `audio c1 1-3`, `error c1 CONVERSATION_CLOSED`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import assert_never

from avatar_relay import messages as m
from avatar_relay.device_state import DeviceSettings, Identify, Restart, Update
from avatar_relay.media import (
    AudioFormat,
    Codec,
    ConversationOpen,
    Credit,
    Cursor,
    Kind,
    MotionEncoding,
    MotionFormat,
    OnPlaying,
    Payload,
)
from relay_server.config import RelayConfig
from relay_server.connections.relay import limits_of
from relay_server.core.allowance import Allowance
from relay_server.core.congestion import MAX_WINDOW_BYTES, CongestionWindow
from relay_server.core.device_outbox import MediaMessage, Outgoing
from relay_server.core.device_reports import DeviceReports
from relay_server.core.events import Effect, FinishedIgnored, PlayerTold, TellPublisher
from relay_server.core.open_conversation import ConversationOpener
from relay_server.core.publisher_commands import PublisherCommands
from relay_server.core.registry import PublisherRecord, Registry
from relay_server.core.session import Session

AUDIO_BYTES = 3_200
"""100 ms of PCM at 16 kHz."""
MOTION_BYTES = 1_000
PLENTY = Credit(1 << 30, 1 << 30)
PCM_16K = AudioFormat(Codec.PCM_S16LE, 16_000)
AVATARKIT = MotionFormat(MotionEncoding.AVATARKIT_V2)


def hello(device_id: str, *, token: str = "", cursors: tuple[Cursor, ...] = (), buffer: Credit = PLENTY) -> m.Hello:
    """The hello of a device that accepts everything."""
    return m.Hello(device_id, 1, "test", tuple(Codec), 48_000, tuple(MotionEncoding), buffer, token, cursors)


class RelayDsl:
    """Publishers, devices and the cores between them."""

    def __init__(self, config: RelayConfig | None = None) -> None:
        config = config or RelayConfig(groups={"everyone": ("lobby", "hall")})
        self.rate = config.max_payloads_per_second
        numbers = itertools.count(1)
        self.now_us = 1_000_000_000
        self.registry = Registry(config.groups)

        def random_bytes(count: int) -> bytes:
            return next(numbers).to_bytes(count, "big")

        opening = ConversationOpener(self.registry, config, random_bytes=random_bytes, begin=lambda open_: open_)
        self.publishing = PublisherCommands(self.registry, opening, config, encode=lambda payload: payload.data, observed=True)
        self.attending = DeviceReports(self.registry, config, limits_of(config), random_bytes=random_bytes)
        self._config = config
        self._heard: dict[str, list[str]] = defaultdict(list)
        self._seqs: dict[tuple[str, Kind], int] = defaultdict(int)
        self._event_ids: dict[str, int] = defaultdict(int)
        self._tokens: dict[str, str] = {}
        self.told: list[m.ToPublisher] = []
        """All messages sent to publishers, unmodified."""

    # --- acting ----------------------------------------------------------------------------------------------------

    def play(self, script: str) -> None:
        """Perform a script; after each step, devices receive what may be sent to them."""
        for step in script.replace(";", "\n").splitlines():
            words = step.split()
            if not words:
                continue
            if words[0] == "wait":
                self._wait(int(words[1]))
            elif words[0] in ("a", "b", "byhand"):
                self._publisher_step(self.publisher(words[0]), words[1], words[2:])
            else:
                self._device_step(words[0], words[1], words[2:])
            self.pump()

    def publisher(self, key: str) -> PublisherRecord:
        """Return the publisher of this name; it connects on first use."""
        if key not in self.registry.publishers:
            self.registry.publishers[key] = PublisherRecord(
                key,
                f"token-{key}",
                by_hand=key == "byhand",
                owner="",
                allowance=Allowance(self.rate, 2 * self.rate, self.now_us),
                unopened_bytes=self.registry.unopened_bytes,
            )
        return self.registry.publishers[key]

    def session(self, device_id: str) -> Session:
        """A device's session."""
        return self.registry.sessions[device_id]

    def say(self, key: str, message: m.PublishOpen | m.Media | m.ConversationEnd | m.DeviceVolume) -> None:
        """Send a publisher's message that the script language cannot express."""
        self.perform(self.publishing.handle(self.publisher(key), message, self.now_us))
        self.pump()

    def _publisher_step(self, publisher: PublisherRecord, verb: str, words: list[str]) -> None:
        named = words[0].removeprefix("-") if words else ""
        message: m.PublishOpen | m.Media | m.AudioOnly | m.ConversationEnd | m.Interrupt | m.Pause | m.Resume | m.EventAck
        match verb:
            case "opens":
                message = self._opening(named, words[1:])
            case "audio" | "motion":
                message = self._media(named, Kind(verb), int(words[1]) if len(words) > 1 else 1, by_hand=publisher.by_hand)
            case "skips":
                self._seqs[named, Kind.AUDIO] += 1
                message = self._media(named, Kind.AUDIO, 1, by_hand=False)
            case "audio-only":
                message = m.AudioOnly(named)
            case "ends":
                message = m.ConversationEnd(named)
            case "interrupts":
                message = m.Interrupt(named)
            case "pauses":
                message = m.Pause(named)
            case "resumes":
                message = m.Resume(named)
            case "acks":
                message = m.EventAck(int(words[1]), named)
            case "vanishes":
                publisher.connected = False
                publisher.expires_at_us = self.now_us + self._config.publisher_lease_us
                return
            case "half-closes":
                self.perform(self.publishing.leave(publisher, lost=False))
                return
            case _:
                raise ValueError(f"no such verb: {verb}")
        self.perform(self.publishing.handle(publisher, message, self.now_us))

    def _opening(self, conversation_id: str, words: list[str]) -> m.PublishOpen:
        targets = tuple(words[words.index("on") + 1].split(",")) if "on" in words else ("lobby",)
        open_ = ConversationOpen(
            conversation_id,
            PCM_16K,
            None if "silent-face" in words else AVATARKIT,
            on_playing=OnPlaying.QUEUE if "queue" in words else OnPlaying.REPLACE,
        )
        return m.PublishOpen(open_, targets)

    def _media(self, conversation_id: str, kind: Kind, count: int, *, by_hand: bool) -> m.Media:
        payloads = []
        for _ in range(count):
            self._seqs[conversation_id, kind] += 1
            seq = self._seqs[conversation_id, kind]
            size = AUDIO_BYTES if kind is Kind.AUDIO else MOTION_BYTES
            pts_us = (seq - 1) * (100_000 if kind is Kind.AUDIO else 1_000_000)
            payloads.append(Payload(kind, 0 if by_hand else seq, bytes(size), pts_us, 100_000))
        return m.Media(conversation_id, tuple(payloads))

    def _device_step(self, device_id: str, verb: str, words: list[str]) -> None:
        match verb:
            case "attaches":
                self._attach(hello(device_id))
            case "returns":
                cursors = tuple(Cursor(name, int(audio), int(motion)) for name, audio, motion in (word.split(":") for word in words))
                self._attach(hello(device_id, token=self._tokens[device_id], cursors=cursors))
            case "leaves":
                self.perform(self.attending.detach(self.session(device_id), "stream_ended", self.now_us))
            case "goodbyes":
                self.perform(self.attending.handle(self.session(device_id), m.Goodbye("shutdown"), self.now_us))
            case "starts":
                self._event(device_id, words[0], m.Started())
            case "pauses":
                self._event(device_id, words[0], m.Paused(int(words[1])))
            case "drops":
                self._event(device_id, words[0], m.Dropped(Kind.MOTION, 1, 10, words[1]))
            case "finishes":
                reason = words[2] if len(words) > 2 else "completed"
                self._event(device_id, words[0], m.Finished(int(words[1]) if len(words) > 1 else 0, reason != "completed", reason))
            case "says-unnumbered":
                event = m.PlayerEvent(0, words[0], m.Finished(3, False, "completed"))
                self.perform(self.attending.handle(self.session(device_id), event, self.now_us))
            case "repeats":
                self._event_ids[device_id] -= 1
                self._event(device_id, words[0], m.Finished(int(words[1]), False, "completed"))
            case "holds":
                held = m.Held((Cursor(words[0], int(words[1]), int(words[2])),))
                self.perform(self.attending.handle(self.session(device_id), held, self.now_us))
            case _:
                raise ValueError(f"no such verb: {verb}")

    def _attach(self, said: m.Hello) -> None:
        self.perform(self.attending.attach(said, self.now_us, 0))
        self._tokens[said.device_id] = self.session(said.device_id).token

    def _event(self, device_id: str, conversation_id: str, body: m.PlayerEventBody) -> None:
        self._event_ids[device_id] += 1
        event = m.PlayerEvent(self._event_ids[device_id], conversation_id, body)
        self.perform(self.attending.handle(self.session(device_id), event, self.now_us))

    def _wait(self, seconds: int) -> None:
        self.now_us += seconds * 1_000_000
        self.perform(self.attending.tick(self.now_us))
        for publisher in list(self.registry.publishers.values()):
            self.perform(self.publishing.tick(publisher, self.now_us))
            if not publisher.connected and publisher.expires_at_us <= self.now_us:
                self.perform(self.publishing.forget(publisher, lost=True))
                del self.registry.publishers[publisher.key]

    # --- receiving -------------------------------------------------------------------------------------------------

    def perform(self, effects: list[Effect]) -> None:
        """Record the messages to publishers and the public events."""
        for effect in effects:
            match effect:
                case TellPublisher(publisher=key, message=message):
                    self.told.append(message)
                    self._heard[key] += _publisher_words(message)
                case FinishedIgnored():
                    self._heard["everybody"].append(f"ignored {effect.conversation_id}")
                case PlayerTold():
                    self._heard["everybody"] += _publisher_words(effect.event)
                case _:
                    pass

    def pump(self) -> None:
        """Send everything that may be sent to all attached devices."""
        for device_id, session in self.registry.sessions.items():
            if session.flight.window < MAX_WINDOW_BYTES:
                session.flight = CongestionWindow(MAX_WINDOW_BYTES)  # this tests what is sent, not how soon
            while session.attached and (message := session.take(self.now_us)) is not None:
                if isinstance(message, m.Ping):
                    session.flight.answered(message.ping_id, self.now_us)
                    continue
                self._heard[device_id] += _device_words(message)
                if isinstance(message, MediaMessage):
                    conversation = self.registry.conversations[message.conversation_id]
                    for run in message.batches:
                        fresh = session.deliveries[message.conversation_id].first_time(run.kind, run.size_bytes)
                        conversation.sent(device_id, run.kind, fresh)
                    self.perform(self.publishing.credit(conversation))

    def heard(self, actor: str) -> list[str]:
        """Return what an actor received since the last call."""
        words, self._heard[actor] = self._heard[actor], []
        return words


def _device_words(message: Outgoing) -> list[str]:
    match message:
        case MediaMessage(conversation_id=cid, batches=runs):
            entries = [(run.kind, seq) for run in runs for seq in run.seqs]
            stretches = itertools.groupby(entries, key=lambda entry: entry[0])
            return [f"{kind.value} {cid} {_range([seq for _, seq in stretch])}" for kind, stretch in stretches]
        case m.Welcome():
            words = ["welcome"]
            words += [f"resumed {cid}" for cid in message.resumed_conversation_ids]
            return words + [f"lost {cid}" for cid in message.lost_conversation_ids]
        case ConversationOpen():
            return [f"open {message.conversation_id}"]
        case m.ConversationEnd():
            return [f"end {message.conversation_id} {message.last_audio_seq} {message.last_motion_seq}"]
        case m.AudioOnly() | m.Interrupt() | m.Pause() | m.Resume():
            name = {"AudioOnly": "audio-only"}.get(type(message).__name__, type(message).__name__.lower())
            return [f"{name} {message.conversation_id}"]
        case m.EventAck():
            return [f"ack {message.event_id}"]
        case m.Volume():
            return [f"volume {message.gain}"]
        case DeviceSettings():
            return [f"settings {message.values}"]
        case Restart() | Identify() | Update():
            return [type(message).__name__.lower()]
        case m.ConversationError() | m.GoAway() | m.Ping() | m.Pong() | m.Media():
            return [type(message).__name__.lower()]
        case _:
            assert_never(message)


def _range(seqs: list[int]) -> str:
    return f"{seqs[0]}-{seqs[-1]}" if len(seqs) > 1 else str(seqs[0])


def _publisher_words(message: m.ToPublisher) -> list[str]:
    match message:
        case m.Opened():
            return [f"opened {message.conversation_id} {','.join(message.device_ids)}"]
        case m.ConversationError():
            where = f" {message.device_id}" if message.device_id else ""
            return [f"error {message.conversation_id} {message.fault.reason}{where}"]
        case m.PlayerEvent(body=m.Finished() as body):
            return [f"finished {message.conversation_id} {message.device_id or 'all'} {body.position_us} {body.reason}"]
        case m.PlayerEvent(body=m.Dropped() as body):
            where = f" {message.device_id}" if message.device_id else ""
            return [f"dropped {message.conversation_id} {body.payloads} {body.kind.value} {body.reason}{where}"]
        case m.PlayerEvent():
            return [f"{type(message.body).__name__.lower()} {message.conversation_id} {message.device_id}"]
        case m.Held():
            return [f"held {cursor.conversation_id} {cursor.audio_seq} {cursor.motion_seq}" for cursor in message.cursors]
        case m.ConversationCredit():
            return []
        case m.PublisherWelcome() | m.GoAway() | m.Pong() | m.UnknownEvent():
            return [type(message).__name__.lower()]
        case _:
            assert_never(message)
