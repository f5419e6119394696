"""A device that plays many times faster than real time: the real playback over a virtual sound device, on its own clock.

It attaches to a relay in the same process; payloads are passed as wire bytes. Per conversation it records the
motion payloads that arrived and were decoded, how each was shown, and each finished event.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from avatar_relay import avatarkit, wire
from avatar_relay.fragments import Reassembler
from avatar_relay.media import Codec, ConversationOpen, Kind, MotionEncoding, MotionFormat
from avatar_relay.messages import AudioOnly, ConversationEnd, EventAck, Finished, GoAway, Hello, Media, Ping, Pong, Started
from avatar_relay.reasons import Fault
from avatar_relay.v1 import media_pb2
from edge_client.audio.decoders import make_decoder
from edge_client.audio.sink import Pcm
from edge_client.audio.sinks.virtual import PERIOD_US
from edge_client.link.player_port import PlayerPort
from edge_client.link.report_outbox import ReportOutbox
from edge_client.motion.decoder import MotionDecoder
from edge_client.motion.pose import POSE_SIZE, Poses
from edge_client.motion.track import MotionTrack
from edge_client.playback.engine import PlaybackEngine
from edge_client.playback.events import ConversationEvent, View
from edge_client.playback.playing import DecoderFactories
from relay_server.connections.devices import DevicePort
from relay_server.core.device_outbox import JoinedMessages, MediaMessage
from tests.edge_client.playback_bench import SteppedSink

LEISURE_S = 0.003
"""Time left to other tasks between bouts, even if the requested speed is not reached."""
MAX_BOUT = 12
"""Steps without a break: 120 ms of the device's time."""
STAMP_BASE = 1 << 14
"""The two numbers of a stamped pose add up to this over itself, so that their ratio names the request at any stage of a fade."""
SETTLED_US = 1_000_000
"""By this time in a conversation, and this long after its first motion, it controls the face: a fade takes at most 0.8 s …"""
FADED_US = 2_000_000
"""… and after this, nothing else is visible: if motion is late, sound-derived motion may reverse a fade twice (0.8 + 0.32 + 0.8 s)."""


class StampedDecoder:
    """Decodes to poses that contain only the stand-in's stamp; records the decoded payloads."""

    def __init__(self) -> None:
        self.decoded: list[bytes] = []

    def make_track(self, keyframes_per_second: float) -> MotionTrack:
        """Return a plain track."""
        return MotionTrack(keyframes_per_second)

    def complaint(self) -> Fault | None:
        """Return no complaint."""
        return None

    def decode(self, data: bytes) -> Poses:
        """See `MotionDecoder`."""
        self.decoded.append(data)
        keyframes = avatarkit.read(data).keyframes
        poses = np.zeros((len(keyframes), POSE_SIZE), np.float32)
        poses[:, 0] = keyframes[:, 0] / STAMP_BASE
        poses[:, 1] = 1 - keyframes[:, 0] / STAMP_BASE
        return poses


@dataclass
class Seen:
    """What a device recorded of one conversation."""

    motion: list[bytes] = field(default_factory=list)
    """Payloads as they arrived, whole …"""
    motion_places: list[tuple[int, int]] = field(default_factory=list)
    """… and their PTS and duration in µs."""
    opened: ConversationOpen | None = None
    finished: list[Finished] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)
    """Requests whose keyframes were in the picture once it had settled."""
    audio_only: bool = False
    ended: bool = False
    """Set when all of it has arrived."""
    moved_us: int | None = None
    """Arrival of its first motion, in µs of the device's clock."""
    first_motion_us: int | None = None
    """First picture with motion, in µs of the device's clock since the conversation was opened."""
    opened_us: int = 0
    started_us: int = 0
    finished_us: int = 0
    """Reported times of its first and last audible sample, in µs of the device's clock."""


class FastDevice:
    """Attach it with `attached`; each call of `step` plays 10 ms."""

    def __init__(
        self,
        port: DevicePort,
        device_id: str = "lobby",
        *,
        make_motion_decoder: Callable[[MotionFormat], MotionDecoder] | None = None,
        rate_hz: int = 48_000,
    ) -> None:
        """`make_motion_decoder`: replaces `StampedDecoder` for motion that is not from a stand-in Motion Server."""
        self.heard: list[Pcm] | None = None
        """Samples played from here on, if set to a list."""
        self.now_us = 1_000_000
        self.seen: dict[str, Seen] = defaultdict(Seen)
        self.decoders: list[StampedDecoder] = []
        self.finished = asyncio.Event()
        """Set with each finished event."""
        self._port = port
        self._device_id = device_id
        self._outbox = ReportOutbox()
        self._sink = SteppedSink(rate_hz)
        decoders = DecoderFactories(make_decoder, make_motion_decoder or self._make_motion_decoder)
        self.playback = PlaybackEngine(sink=self._sink, decoders=decoders)
        self._player = PlayerPort(self.playback, loudest=1.0)
        self._sink.start(self.playback)
        self._whole: dict[str, Reassembler] = {}

    async def attach(self) -> None:
        """Send hello."""
        hello = Hello(self._device_id, 1, "fast", tuple(Codec), self._sink.rate_hz, tuple(MotionEncoding), self.playback.buffer_credit())
        await self._port.send(hello)

    async def listen(self) -> None:
        """Process messages of the relay until cancelled."""
        while (message := await self._port.receive()) is not None:
            match message:
                case MediaMessage():
                    entries = (media_pb2.Media.FromString(entry).payloads[0] for run in message.batches for entry in run.entries)
                    payloads = (wire.payload_from_wire(entry, message.conversation_id) for entry in entries)
                    self._take(Media(message.conversation_id, tuple(payloads)))
                case Ping():
                    self._outbox.put(Pong(message.ping_id, message.sent_time_us, self.now_us, self.now_us, self.now_us))
                case EventAck():
                    self._outbox.acknowledge(message.event_id)
                case GoAway() | JoinedMessages():
                    pass  # hello does not offer to accept joined ones
                case _:
                    if isinstance(message, ConversationOpen):
                        self.seen[message.conversation_id].opened_us = self.now_us
                        self.seen[message.conversation_id].opened = message
                        self._whole[message.conversation_id] = Reassembler(Kind.MOTION)
                    elif isinstance(message, ConversationEnd):
                        self.seen[message.conversation_id].ended = True
                    elif isinstance(message, AudioOnly):
                        self.seen[message.conversation_id].audio_only = True
                    self._player.handle(message, self.now_us)

    async def play(self, speed: float) -> None:
        """Advance the clock at `speed` times real time, or as fast as possible, until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        bout = min(max(round(speed * LEISURE_S * 1e6 / PERIOD_US), 1), MAX_BOUT)
        while True:
            for _ in range(bout):
                await self.step()
            due = max(due + bout * PERIOD_US / 1e6 / speed, loop.time() - 0.1)
            await asyncio.sleep(max(due - loop.time(), LEISURE_S))

    async def until(self, now_us: int) -> None:
        """Wait until its clock has reached the given time, however long that takes; `play` runs meanwhile."""
        while self.now_us < now_us:  # noqa: ASYNC110
            await asyncio.sleep(LEISURE_S)

    async def step(self) -> None:
        """Play the next 10 ms, update the face, and send the resulting messages."""
        self._sink.step(self.now_us)
        if self.heard is not None:
            self.heard += self._sink.blocks
        self._sink.blocks.clear()
        self._look(self.playback.view(self.now_us))
        await self.talk()
        self.now_us += PERIOD_US

    async def talk(self) -> None:
        """Send pending messages without advancing time."""
        for output in self.playback.tick(self.now_us):
            self._outbox.put(output)
            if isinstance(output, ConversationEvent) and isinstance(output.body, Finished):
                self.seen[output.conversation_id].finished.append(output.body)
                self.seen[output.conversation_id].finished_us = self.now_us
                self.finished.set()
            elif isinstance(output, ConversationEvent) and isinstance(output.body, Started):
                self.seen[output.conversation_id].started_us = self.now_us
        while (message := self._outbox.take(self.now_us)) is not None:
            await self._port.send(message)

    def _take(self, media: Media) -> None:
        for payload in media.payloads:
            if payload.kind is Kind.MOTION and (whole := self._whole[media.conversation_id].add(payload)) is not None:
                seen = self.seen[media.conversation_id]
                seen.motion.append(whole.data)
                seen.moved_us = seen.moved_us or self.now_us
                seen.motion_places.append((whole.pts_us or 0, whole.duration_us))
        self._player.handle(media, self.now_us)

    def _look(self, view: View) -> None:
        if view.motion is None or view.conversation_id is None:
            return
        seen = self.seen[view.conversation_id]
        stamp, rest = float(view.motion[0]), float(view.motion[1])
        if stamp + rest > 0.01:
            seen.first_motion_us = seen.first_motion_us or self.now_us - seen.opened_us
            heard_us = view.audible_pts_us or 0
            moves_long = seen.moved_us is None or self.now_us >= seen.moved_us + SETTLED_US
            if moves_long and heard_us >= (FADED_US if stamp + rest < 0.5 else SETTLED_US):
                seen.shown.add(round(stamp / (stamp + rest) * STAMP_BASE))

    def _make_motion_decoder(self, motion_format: MotionFormat) -> StampedDecoder:
        assert motion_format.encoding is MotionEncoding.AVATARKIT_V2
        self.decoders.append(StampedDecoder())
        return self.decoders[-1]
