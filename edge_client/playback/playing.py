"""State of one live conversation in the engine: its streams, and its progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from avatar_relay.fragments import Reassembler
from avatar_relay.media import AudioFormat, Cursor, Kind, MotionFormat, Pacing, Payload
from avatar_relay.reasons import Fault, Reason
from edge_client.audio.decoder import AudioDecoder
from edge_client.audio.jitter_buffer import PushResult
from edge_client.audio.joiner import Joiner
from edge_client.audio.playout_queue import Chunk
from edge_client.audio.stream import AudioStream
from edge_client.errors import EdgeError, NotUnderstoodError
from edge_client.motion.audio_mouth import AudioMouth
from edge_client.motion.decoder import MotionDecoder
from edge_client.motion.expressions import Weights, mood_weights
from edge_client.motion.gestures import AT_REST, Beats, Gesture
from edge_client.motion.mouth_source import MouthSource, heard_share
from edge_client.motion.stream import MotionStream
from edge_client.playback.events import ConversationSummary, PlaybackConfig, PlayerState
from edge_client.playback.live_conversations import LiveConversation
from edge_client.playback.live_delay import LiveDelay


@dataclass(frozen=True, slots=True)
class DecoderFactories:
    """Creates the decoders of a conversation. For formats that this device cannot decode they raise `SoundError` or an `EdgeError`."""

    audio: Callable[[AudioFormat, int], AudioDecoder]
    """`audio(format, sink_rate_hz)`: a decoder whose samples have the sink's rate."""
    motion: Callable[[MotionFormat], MotionDecoder]


def make_audio(conversation: LiveConversation, decoders: DecoderFactories, rate_hz: int, *, max_bytes: int) -> AudioStream:
    """The audio stream of a new conversation. Raises `SoundError` for a format that this device cannot decode."""
    format = conversation.opened.audio_format
    return AudioStream(decoders.audio(format, rate_hz), format, max_bytes=max_bytes)


def make_motion(conversation: LiveConversation, decoders: DecoderFactories) -> MotionStream | Fault | None:
    """Its motion stream; None if it is audio only from the start; or the fault that keeps this device from using its motion."""
    format = conversation.opened.motion_format
    try:
        return None if format is None else MotionStream(decoders.motion(format), format)
    except NotUnderstoodError as error:
        text, field = f"{error}; the sound moves the mouth", "open.motion_format.blendshape_names"
        return Fault(Reason.MOTION_NOT_UNDERSTOOD, text, field)
    except EdgeError as error:
        return Fault(Reason.MOTION_FORMAT_UNSUPPORTED, str(error), "open.motion_format")


def make_audio_mouth(conversation: LiveConversation, source: MouthSource, rate_hz: int) -> AudioMouth | None:
    """The analyser that moves the mouth from sound; None if only motion may."""
    opened = conversation.opened
    live = opened.pacing is Pacing.LIVE
    share = heard_share(source, opened.motion_format, live=live)
    return None if share is None else AudioMouth(rate_hz, share, live=live)


def make_beats(conversation: LiveConversation, config: PlaybackConfig, rate_hz: int) -> Beats | None:
    """The generator of nods from sound; None if there are none."""
    return Beats(rate_hz, live=conversation.opened.pacing is Pacing.LIVE) if config.gestures else None


def _reassemblers() -> dict[Kind, Reassembler]:
    return {kind: Reassembler(kind) for kind in Kind}


@dataclass(slots=True)
class Playing:
    """A live conversation on this device."""

    conversation: LiveConversation
    audio: AudioStream
    motion: MotionStream | None
    opened_us: int
    audio_mouth: AudioMouth | None = None
    beats: Beats | None = None
    conversation_id: str = field(init=False)
    mood: Weights = field(init=False)
    """What its expression adds to its poses."""
    joiner: Joiner = field(init=False)
    live: LiveDelay | None = field(init=False, default=None)
    """Controls the delay of a `LIVE` conversation."""
    reassemblers: dict[Kind, Reassembler] = field(default_factory=_reassemblers)
    told: set[Reason] = field(default_factory=set)
    """Faults that were reported; each is reported once."""
    motion_seq: int = 0
    """The highest `seq` of motion received."""
    first_payload_us: int | None = None
    first_heard_us: int | None = None
    started: bool = False
    """Its first sample was heard."""
    primed: bool = False
    """Enough sound was buffered to begin, and playout has not run dry since."""
    released_frames: int = 0
    heard_pts_us: int = 0
    stalled_since_us: int | None = None
    """When sound stalled after it had been heard."""
    times_dry: int = 0
    """Number of such stalls."""
    motion_stalled: bool = False
    waits_since_us: int | None = None
    """`strict_sync`: since when sound has waited for motion."""
    wait_over: bool = False
    """`strict_sync`: the wait has timed out, and sound continues until motion is back."""
    length_checked: bool = False

    def __post_init__(self) -> None:
        self.conversation_id = self.conversation.conversation_id
        self.mood = mood_weights(self.conversation.opened.expression)
        self.joiner = Joiner(self.conversation_id, self.audio.rate_hz)
        if self.is_live_paced:
            self.live = LiveDelay(self.audio.rate_hz)

    @property
    def is_live_paced(self) -> bool:
        """Whether its media is produced in real time."""
        return self.conversation.opened.pacing is Pacing.LIVE

    @property
    def drained(self) -> bool:
        """Whether all its sound was decoded and released."""
        return self.audio.drained and not (self.live is not None and self.live.held_frames)

    @property
    def expects_motion(self) -> bool:
        """Whether more motion is expected."""
        return self.motion is not None and self.conversation.expects_motion and self.conversation.end is None

    def release(self, chunks: Sequence[Chunk], rate_hz: int) -> None:
        """Note chunks released to the sink: they are counted, and kept for mouth analysis unless motion alone moves the mouth."""
        self.released_frames += sum(len(chunk.pcm) for chunk in chunks)
        if self.beats is not None and self._wants_gestures:
            for chunk in chunks:
                if chunk.pts_frames:
                    self.beats.hear(chunk.pts_frame * 1e6 / rate_hz, chunk.pcm)
        if self.audio_mouth is None:
            return
        for chunk in chunks:
            if not chunk.pts_frames:
                continue
            if self.audio_mouth.share or not self._is_covered(chunk, rate_hz):
                self.audio_mouth.hear(chunk.pts_frame * 1e6 / rate_hz, chunk.pcm)
            else:
                self.audio_mouth.end()
        if self.audio.drained:
            self.audio_mouth.end()

    def gesture(self, pts_us: float) -> Gesture:
        """The gesture of head and brows from sound at a position, as far as its motion leaves them free."""
        if self.beats is None or not self._wants_gestures:
            return AT_REST
        found = self.beats.at(pts_us)
        if self.motion is None:
            return found
        track = self.motion.track
        return Gesture(0.0 if track.moves_head else found.nod_rad, 0.0 if track.moves_brows else found.brow)

    @property
    def _wants_gestures(self) -> bool:
        return self.motion is None or not (self.motion.track.moves_head and self.motion.track.moves_brows)

    def _is_covered(self, chunk: Chunk, rate_hz: int) -> bool:
        """Whether motion covers the whole chunk."""
        if self.motion is None:
            return False
        begin_us = int(chunk.pts_frame * 1e6 / rate_hz)
        return self.motion.track.covered_to(begin_us) - begin_us >= len(chunk.pcm) * 1e6 / rate_hz

    @property
    def cursor(self) -> Cursor:
        """What is held of it."""
        return Cursor(self.conversation_id, self.audio.cursor, self.motion.cursor if self.motion is not None else 0)

    def push(self, payload: Payload, now_us: int) -> PushResult:
        """Accept audio. `LIVE` records its lateness. Without a PTS it follows all that is decoded, provided nothing waits to be decoded."""
        pts_us = payload.pts_us
        if pts_us is None and not self.audio.held_bytes:
            pts_us = self.audio.length_us
        result = self.audio.push(payload)
        if self.live is not None and pts_us is not None and result in (PushResult.ACCEPTED, PushResult.LATE):
            self.live.arrived(now_us, pts_us)
        return result

    @property
    def state(self) -> PlayerState:
        """The state of the player while this is the head."""
        if self.conversation.paused:
            return PlayerState.PAUSED
        if not self.started:
            return PlayerState.BUFFERING
        waits = self.stalled_since_us is not None or (self.waits_since_us is not None and self.motion_stalled)
        return PlayerState.STALLED if waits else PlayerState.PLAYING

    def summary(self) -> ConversationSummary:
        """Its summary for the final report."""
        return ConversationSummary(
            conversation_id=self.conversation_id,
            opened_time_us=self.opened_us,
            first_payload_time_us=self.first_payload_us,
            first_audio_time_us=self.first_heard_us,
            audio_us=self.audio.length_us,
            motion_us=self.motion.length_us if self.motion is not None else 0,
        )
