"""Outputs of the playback engine: to the relay, to the face, and the final summary."""

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
    """State of the player."""

    IDLE = "idle"
    """No conversation."""
    BUFFERING = "buffering"
    """A conversation is open and not heard yet."""
    PLAYING = "playing"
    PAUSED = "paused"
    STALLED = "stalled"
    """A conversation was heard, and waits for data."""


@dataclass(frozen=True, slots=True)
class ConversationEvent:
    """An event of a conversation; the transport assigns an id and repeats it until acknowledged."""

    conversation_id: str
    body: PlayerEventBody


Output = ConversationEvent | Credit | Held | ConversationError
"""What `PlaybackEngine.tick` returns, in order."""


@dataclass(frozen=True, slots=True)
class View:
    """What is heard, and what the face shows, at one instant."""

    state: PlayerState
    conversation_id: str | None = None
    """The conversation that is heard, else the next one."""
    audible_pts_us: int | None = None
    """The PTS that is heard; None until something of a live conversation has been heard."""
    motion: Pose | None = None
    """The pose from motion, faded in and out; None if motion does not apply."""
    motion_weight: float = 0.0
    """Share of the face that motion drives, 0 to 1; idle motion drives the rest."""
    shown_pts_us: int | None = None
    """The PTS of the pose in `motion`: behind `audible_pts_us` while a pose is held; None if there is no motion."""
    buffered_us: int = 0
    """Sound not heard yet, decoded and in its turn."""


@dataclass(frozen=True, slots=True)
class PlaybackConfig:
    """Buffer settings of the engine. Sizes in bytes are the initial credit of the relay."""

    audio_buffer_bytes: int = MAX_PAYLOAD_BYTES
    motion_buffer_bytes: int = 2 * MAX_PAYLOAD_BYTES
    burst_prefill_us: int = 20_000
    """Sound buffered before a `BURST` conversation starts."""
    live_prefill_us: int = 40_000
    """Sound buffered before a `LIVE` conversation starts."""
    decode_ahead_us: int = 2_000_000
    """Maximum of decoded sound."""
    frame_starvation: FrameStarvation = FrameStarvation.AUDIO_INDEPENDENT
    mouth_source: MouthSource = MouthSource.AUTO
    """The source of mouth motion."""
    gestures: bool = True
    """Nods and brow beats on stressed speech if its motion contains none."""
    output_offset_us: int = 0
    """Delay of the sound beyond what the device reports (HDMI, a TV, Bluetooth)."""

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
    """Summary of one conversation. Times are monotonic; None if the event did not occur."""

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
    """Silence while sound was due."""
    filled_gaps: int = 0
    """Underruns that were concealed with filler."""
    filled_seconds: float = 0.0
    payloads_received: int = 0
    late_payloads: int = 0
    dropped_payloads: int = 0
    keyframes_received: int = 0
    conversations: tuple[ConversationSummary, ...] = field(default=())
    """The last 256."""
