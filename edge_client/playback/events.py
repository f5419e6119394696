"""What the playback engine says: to the relay, to the face, and at the end."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from avatar_relay.desk_settings import OUTPUT_OFFSET_MS
from avatar_relay.errors import ConfigError
from avatar_relay.limits import MAX_PAYLOAD_BYTES
from avatar_relay.media import Credit
from avatar_relay.messages import ConversationError, Finished, Held, PlayerEventBody
from edge_client.choices import FrameStarvation
from edge_client.motion.mouth_source import MouthSource
from edge_client.motion.pose import Pose


class PlayerState(enum.Enum):
    """What the player does."""

    IDLE = "idle"
    """No conversation."""
    BUFFERING = "buffering"
    """A conversation is open and not heard yet."""
    PLAYING = "playing"
    PAUSED = "paused"
    STALLED = "stalled"
    """It was heard, and waits for data."""


@dataclass(frozen=True, slots=True)
class ConversationEvent:
    """Something happened to a conversation; the transport gives it an id and repeats it until acknowledged."""

    conversation_id: str
    body: PlayerEventBody


Output = ConversationEvent | Credit | Held | ConversationError
"""What `Playback.tick` returns, in order."""


@dataclass(frozen=True, slots=True)
class View:
    """What is heard, and what the face is to show, at one instant."""

    state: PlayerState
    conversation_id: str | None = None
    """The conversation heard, else the one that is next."""
    audible_pts_us: int | None = None
    """The PTS heard; None while nothing of a live conversation was heard yet."""
    motion: Pose | None = None
    """The pose that motion asks for, faded in and out; None if motion has no say at all."""
    motion_weight: float = 0.0
    """How much of the face motion drives, 0 to 1; the rest is idle life's."""
    shown_pts_us: int | None = None
    """The PTS whose pose `motion` is: behind `audible_pts_us` while a pose is held; None if there is no motion."""
    buffered_us: int = 0
    """Sound that waits to be heard, decoded and in its turn."""


@dataclass(frozen=True, slots=True)
class PlaybackConfig:
    """How the engine buffers. Sizes in bytes are what the relay is granted at first."""

    audio_buffer_bytes: int = MAX_PAYLOAD_BYTES
    motion_buffer_bytes: int = 2 * MAX_PAYLOAD_BYTES
    burst_prefill_us: int = 20_000
    """Sound that must be there before the first is heard, `BURST`."""
    live_prefill_us: int = 40_000
    """The same for `LIVE`."""
    decode_ahead_us: int = 2_000_000
    """Decoded sound that is held at most."""
    frame_starvation: FrameStarvation = FrameStarvation.AUDIO_INDEPENDENT
    mouth_source: MouthSource = MouthSource.AUTO
    """What moves the mouth."""
    gestures: bool = True
    """Nods and brow beats with the stress of speech whose motion brings none."""
    output_offset_us: int = 0
    """How much later than the device says its sound is heard (HDMI, a TV, Bluetooth)."""

    def __post_init__(self) -> None:
        for name in ("audio_buffer_bytes", "motion_buffer_bytes"):
            if getattr(self, name) < MAX_PAYLOAD_BYTES:
                raise ConfigError(f"{name} is {getattr(self, name)}; the largest payload has {MAX_PAYLOAD_BYTES} bytes, and must fit")
        if not 0 <= max(self.burst_prefill_us, self.live_prefill_us) <= self.decode_ahead_us:
            raise ConfigError("decode_ahead_us must be at least burst_prefill_us and live_prefill_us, and none may be negative")
        low, high = OUTPUT_OFFSET_MS
        if not low * 1_000 <= self.output_offset_us <= high * 1_000:
            raise ConfigError(f"output_offset_us is {self.output_offset_us}; from {low * 1_000} to {high * 1_000} is allowed")


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """One conversation, as told at the end. Times are readings of the monotonic clock; None if it never came to that."""

    conversation_id: str
    opened_time_us: int
    first_payload_time_us: int | None = None
    first_audio_time_us: int | None = None
    """When its first sample was heard."""
    audio_us: int = 0
    """Sound decoded."""
    motion_us: int = 0
    finished: Finished | None = None


@dataclass(frozen=True, slots=True)
class PlaybackSummary:
    """Counters since the start."""

    audio_seconds_received: float = 0.0
    """Decoded sound."""
    audio_seconds_played: float = 0.0
    """Sound heard."""
    underruns: int = 0
    silence_seconds: float = 0.0
    """Silence where sound was due."""
    filled_gaps: int = 0
    """Times that sound ran dry, and filler took its place."""
    filled_seconds: float = 0.0
    payloads_received: int = 0
    late_payloads: int = 0
    dropped_payloads: int = 0
    keyframes_received: int = 0
    conversations: tuple[ConversationSummary, ...] = field(default=())
    """The last 256."""
