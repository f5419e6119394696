"""Fakes for the edge client: a sound device stepped by hand, and a bench that plays on virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avatar_relay.media import (
    AudioFormat,
    Codec,
    ConversationOpen,
    Credit,
    Kind,
    MotionEncoding,
    MotionFormat,
    OnPlaying,
    Pacing,
    Payload,
)
from avatar_relay.messages import ConversationEnd, ConversationError, Dropped, Finished, Held, Media, PlayerEventBody
from avatar_relay.reasons import Reason
from edge_client.audio.decoders import make_decoder
from edge_client.audio.sink import Anchor, AudioFeed, Pcm, SinkCounters
from edge_client.audio.sinks.virtual import PERIOD_US, VirtualDevice
from edge_client.motion.decoders import make_motion_decoder
from edge_client.observer import NULL, PlaybackObserver
from edge_client.playback.engine import Message, PlaybackEngine
from edge_client.playback.events import ConversationEvent, Output, PlaybackConfig, View
from edge_client.playback.playing import DecoderFactories

RATE_HZ = 48_000
PERIOD_FRAMES = RATE_HZ * PERIOD_US // 1_000_000
REAL_DECODERS = DecoderFactories(make_decoder, make_motion_decoder)
PCM = AudioFormat(Codec.PCM_S16LE, RATE_HZ)
JAW = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, ("jawOpen",))


class SteppedSink:
    """`AudioSink` over the virtual device, without a thread: `step` plays the next 10 ms."""

    def __init__(self, rate_hz: int = RATE_HZ) -> None:
        self.blocks: list[Pcm] = []
        self.device = VirtualDevice(rate_hz=rate_hz, tap=self.blocks.append)
        self._feed: AudioFeed | None = None

    @property
    def name(self) -> str:
        """A name for people."""
        return "stepped by hand"

    @property
    def rate_hz(self) -> int:
        """Frames per second."""
        return self.device.rate_hz

    def start(self, feed: AudioFeed) -> None:
        """Pull from this feed."""
        self._feed = feed

    def close(self) -> None:
        """No effect: nothing to release."""

    def step(self, time_us: int) -> None:
        """Play a block."""
        assert self._feed is not None
        self.device.step(self._feed, time_us)

    def anchor(self) -> Anchor | None:
        """See `AudioSink`."""
        return self.device.anchor()

    def expect(self, expected: bool) -> None:
        """See `AudioSink`."""
        self.device.expect(expected)

    def clear(self) -> int:
        """See `AudioSink`."""
        return self.device.clear()

    def pause(self) -> None:
        """See `AudioSink`."""
        self.device.pause()

    def resume(self) -> None:
        """See `AudioSink`."""
        self.device.resume()

    def set_volume(self, gain: float, *, muted: bool) -> None:
        """See `AudioSink`."""
        self.device.set_volume(gain, muted=muted)

    def counters(self) -> SinkCounters:
        """See `AudioSink`."""
        return self.device.counters()


class PlainSink:
    """`AudioSink` without fades or gain: `heard` is exactly what was played, to the sample. Stepped by hand."""

    def __init__(self, *, ahead_frames: int = 4 * PERIOD_FRAMES) -> None:
        self.heard: list[Pcm] = []
        self._feed: AudioFeed | None = None
        self._ahead_frames = ahead_frames
        self._held = np.zeros(0, np.int16)
        self._pulled = 0
        self._paused = False
        self._anchor: Anchor | None = None

    @property
    def name(self) -> str:
        """A name for people."""
        return "plain"

    @property
    def rate_hz(self) -> int:
        """Frames per second."""
        return RATE_HZ

    def start(self, feed: AudioFeed) -> None:
        """Pull from this feed."""
        self._feed = feed

    def close(self) -> None:
        """No effect: nothing to release."""

    def step(self, time_us: int) -> None:
        """Play 10 ms."""
        assert self._feed is not None
        if not self._paused:
            pcm = self._feed.pull(PERIOD_FRAMES + self._ahead_frames - len(self._held))
            self._held = np.concatenate((self._held, pcm))
            self._pulled += len(pcm)
        first = self._pulled - len(self._held)
        block = self._held[:0] if self._paused else self._held[:PERIOD_FRAMES]
        limit = first if self._paused else self._pulled
        self._anchor = Anchor(float(first), time_us, 0.0 if self._paused else RATE_HZ, limit)
        self._held = self._held[len(block) :]
        self.heard.append(block)

    def anchor(self) -> Anchor | None:
        """See `AudioSink`."""
        return self._anchor

    def expect(self, expected: bool) -> None:
        """Ignored: no underruns are counted."""

    def clear(self) -> int:
        """Discard what is held: the next block is silence."""
        heard = self._pulled - len(self._held)
        self._held = self._held[:0]
        return heard

    def pause(self) -> None:
        """Pause."""
        self._paused = True

    def resume(self) -> None:
        """Resume."""
        self._paused = False

    def set_volume(self, gain: float, *, muted: bool) -> None:
        """Ignored: the gain is always 1."""

    def counters(self) -> SinkCounters:
        """No faults."""
        return SinkCounters()


@dataclass
class Bench:
    """A playback engine on virtual time over real decoders: feed it, advance the time, examine the output."""

    config: PlaybackConfig = field(default_factory=PlaybackConfig)
    observer: PlaybackObserver = NULL
    decoders: DecoderFactories = REAL_DECODERS
    sink: SteppedSink | PlainSink = field(default_factory=SteppedSink)
    now_us: int = 1_000_000
    outputs: list[tuple[int, Output]] = field(default_factory=list)
    views: list[tuple[int, View]] = field(default_factory=list)
    sent_bytes: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))

    def __post_init__(self) -> None:
        self.playback = PlaybackEngine(sink=self.sink, decoders=self.decoders, config=self.config, observer=self.observer)
        self.sink.start(self.playback)

    def handle(self, *messages: Message) -> None:
        """Feed messages now."""
        for message in messages:
            if isinstance(message, Media):
                for payload in message.payloads:
                    self.sent_bytes[payload.kind] += len(payload.data)
            self.playback.handle(message, self.now_us)

    def run(self, duration_us: int) -> None:
        """Advance the time: each 10 ms the device plays a block, the engine ticks and the face requests a view."""
        for _ in range(duration_us // PERIOD_US):
            self.sink.step(self.now_us)
            self.tick()
            self.views.append((self.now_us, self.playback.view(self.now_us)))
            self.playback.analyse_sound()
            self.now_us += PERIOD_US

    def tick(self) -> None:
        """Tick once, without advancing the time."""
        self.outputs.extend((self.now_us, output) for output in self.playback.tick(self.now_us))

    @property
    def played(self) -> Pcm:
        """All samples that the device played."""
        blocks = self.sink.blocks if isinstance(self.sink, SteppedSink) else self.sink.heard
        return np.concatenate(blocks) if blocks else np.zeros(0, np.int16)

    @property
    def sound(self) -> Pcm:
        """The samples that are not silence. Test signals contain no zero."""
        played = self.played
        sound: Pcm = played[played != 0]
        return sound

    def events(self, conversation_id: str | None = None) -> list[PlayerEventBody]:
        """Player events in order, of one conversation or of all."""
        return [
            output.body
            for _, output in self.outputs
            if isinstance(output, ConversationEvent) and conversation_id in (None, output.conversation_id)
        ]

    def finished(self, conversation_id: str) -> list[Finished]:
        """The finished events of a conversation; there must be one."""
        return [body for body in self.events(conversation_id) if isinstance(body, Finished)]

    def dropped(self, conversation_id: str) -> dict[tuple[Kind, str], int]:
        """Payloads reported as dropped, by kind and reason."""
        counts: dict[tuple[Kind, str], int] = {}
        for body in self.events(conversation_id):
            if isinstance(body, Dropped):
                counts[body.kind, body.reason] = counts.get((body.kind, body.reason), 0) + body.payloads
        return counts

    def reasons(self, conversation_id: str) -> list[Reason]:
        """Reasons of the reported faults of a conversation, in order."""
        errors = [output for _, output in self.outputs if isinstance(output, ConversationError)]
        return [error.fault.reason for error in errors if error.conversation_id == conversation_id]

    def held(self) -> list[Held]:
        """The reported `held`."""
        return [output for _, output in self.outputs if isinstance(output, Held)]

    def granted(self) -> dict[Kind, int]:
        """Credit granted, in bytes."""
        grants = [output for _, output in self.outputs if isinstance(output, Credit)]
        return {Kind.AUDIO: sum(g.audio_bytes for g in grants), Kind.MOTION: sum(g.motion_bytes for g in grants)}


def open_(
    conversation_id: str,
    *,
    pacing: Pacing = Pacing.BURST,
    on_playing: OnPlaying = OnPlaying.REPLACE,
    motion: MotionFormat | None = JAW,
    audio: AudioFormat = PCM,
) -> ConversationOpen:
    """An `open` of a conversation of PCM and one blendshape."""
    return ConversationOpen(conversation_id, audio, motion, pacing, on_playing)


def tone(frames: int, *, start: int = 0) -> Pcm:
    """A signal whose neighbouring samples differ and are never 0, so that lost or duplicate samples show."""
    index = np.arange(start, start + frames, dtype=np.int64)
    values: NDArray[np.int64] = (index * 7_919) % 30_000 + 1
    return values.astype(np.int16)


_NOISE = np.random.default_rng(1).permutation(30_000).astype(np.int16) + np.int16(1)
_NOISE_INDEX = np.argsort(_NOISE)


def noise(frames: int, *, start: int = 0) -> Pcm:
    """A signal like `tone` in which no stretch predicts another: concealment made from it never equals it."""
    signal: Pcm = _NOISE[np.arange(start, start + frames) % len(_NOISE)]
    return signal


def noise_index(heard: Pcm) -> NDArray[np.int64]:
    """The index in `noise` of each sample, modulo 30,000; arbitrary for samples that are not from it."""
    return _NOISE_INDEX[(heard.astype(np.int64) - 1) % len(_NOISE)]


RUN_FRAMES = 24
"""The number of equal samples in a row by which media is recognised."""


def find_media(heard: Pcm, sent: Pcm, begin: int = 0) -> tuple[int, int]:
    """Search for all of `sent` in `heard` from `begin` on, in order, with silence and filler in between.

    Returns how many samples of it were found, and where the last of them ends.
    """
    at, end = 0, begin
    while begin < len(heard) and at < len(sent):
        same, size = 0, min(RUN_FRAMES, len(sent) - at)
        while size and (part := heard[begin + same : begin + same + size]).size:
            differ = np.flatnonzero(part != sent[at + same : at + same + len(part)])
            same += int(differ[0]) if len(differ) else len(part)
            size = 0 if len(differ) else min(2 * size, len(sent) - at - same)
        if same >= min(RUN_FRAMES, len(sent) - at):
            at, begin = at + same, begin + same
            end = begin
        else:
            begin += 1
    return at, end


def without_filler(heard: Pcm, sent: Pcm) -> Pcm:
    """The samples of `sent` that were heard, in order."""
    return sent[: find_media(heard, sent)[0]]


def audio_payloads(pcm: Pcm, *, payload_us: int = 20_000, first_seq: int = 1, rate_hz: int = RATE_HZ) -> tuple[Payload, ...]:
    """PCM in payloads of equal length."""
    frames = rate_hz * payload_us // 1_000_000
    return tuple(
        Payload(
            Kind.AUDIO,
            first_seq + index,
            pcm[start : start + frames].astype("<i2").tobytes(),
            round(start * 1e6 / rate_hz),
            round(min(frames, len(pcm) - start) * 1e6 / rate_hz),
        )
        for index, start in enumerate(range(0, len(pcm), frames))
    )


def motion_payload(weights: list[float], *, seq: int = 1, first_keyframe: int = 0) -> Payload:
    """`jawOpen` weights, 25 a second."""
    data = np.asarray(weights, "<f4").tobytes()
    return Payload(Kind.MOTION, seq, data, first_keyframe * 40_000, len(weights) * 40_000)


def spoken(conversation_id: str, pcm: Pcm, *, weights: list[float] | None = None, end: bool = True) -> list[Message]:
    """All messages of a conversation after its `open`; without `weights` the mouth stays shut for the length of the sound."""
    keyframes = [0.0] * (len(pcm) * 25 // RATE_HZ) if weights is None else weights
    audio = audio_payloads(pcm)
    messages: list[Message] = [Media(conversation_id, (motion_payload(keyframes),))] if keyframes else []
    messages.append(Media(conversation_id, audio))
    if end:
        messages.append(ConversationEnd(conversation_id, len(audio), 1 if keyframes else 0))
    return messages
