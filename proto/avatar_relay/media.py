"""Payloads, formats and the opening of a conversation, as both programs think of them. Plain immutable values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from avatar_relay.limits import AVATARKIT_KEYFRAMES_PER_SECOND, OPUS_RATE_HZ


class Kind(enum.Enum):
    """The two kinds of payload. Sequences, credit and cursors are kept per kind."""

    AUDIO = "audio"
    MOTION = "motion"

    __hash__ = object.__hash__  # members are single: Enum's own hash runs Python code for each of many look-ups


class Codec(enum.Enum):
    """How audio payloads are encoded."""

    PCM_S16LE = "pcm_s16le"
    OGG_OPUS = "ogg_opus"
    OPUS = "opus"


class MotionEncoding(enum.Enum):
    """How motion payloads are encoded."""

    AVATARKIT_V2 = "avatarkit_v2"
    BLENDSHAPE_WEIGHTS = "blendshape_weights"


class Pacing(enum.Enum):
    """Whether media is made faster than it is heard (BURST) or in real time (LIVE)."""

    BURST = "burst"
    LIVE = "live"


class OnPlaying(enum.Enum):
    """What a new conversation does to the one that plays: interrupt it, or follow it without a gap."""

    REPLACE = "replace"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Encoding of a conversation's audio. Mono; `sample_rate_hz` is that of the encoded stream (48000 for Opus)."""

    codec: Codec
    sample_rate_hz: int = OPUS_RATE_HZ
    channels: int = 1


@dataclass(frozen=True, slots=True)
class MotionFormat:
    """Encoding of a conversation's motion. `blendshape_names` are the columns of a weight row; empty for AvatarKit."""

    encoding: MotionEncoding
    keyframes_per_second: float = AVATARKIT_KEYFRAMES_PER_SECOND
    blendshape_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Payload:
    """Encoded media, or one fragment of it. `total_bytes` is 0 where `data` is the whole payload.

    `seq` counts per (conversation, kind) from 1; 0 asks the relay to mint it. `pts_us` is the position of the first
    sample or keyframe from the conversation's first audio sample; always set on motion.
    """

    kind: Kind
    seq: int
    data: bytes
    pts_us: int | None = None
    duration_us: int = 0
    fragment_offset: int = 0
    total_bytes: int = 0

    @property
    def is_fragment(self) -> bool:
        """Whether more than this belongs to the payload."""
        return self.total_bytes > len(self.data)


class PayloadColumns(NamedTuple):
    """Payloads of one kind, or fragments of them, that follow each other: an entry in each column for each of them.

    For who carries them on: what that costs is what it makes for each payload, and columns are made for all at once.
    """

    kind: Kind
    seqs: Sequence[int]
    pts_us: Sequence[int]
    """Negative where it was not said."""
    durations_us: Sequence[int]
    sizes: Sequence[int]
    """Bytes of `data`, which is what credit counts."""
    offsets: Sequence[int]
    totals: Sequence[int]


class EncodedMedia:
    """Media of one message as it came on the wire, which is how it leaves for each device that gets all of it.

    It is opened only where it does not leave whole, and once however many devices that concerns.
    """

    __slots__ = ("_entries", "_unpack", "counts", "data")

    def __init__(self, data: bytes, counts: Mapping[Kind, int], unpack: Callable[[bytes], Mapping[Kind, Sequence[bytes]]]) -> None:
        """`data` is an encoded `AttachResponse{media}` with so many payloads of each kind; `unpack` takes it apart."""
        self.data = data
        self.counts = counts
        self._unpack = unpack
        self._entries: Mapping[Kind, Sequence[bytes]] | None = None

    def entries(self, kind: Kind) -> Sequence[bytes]:
        """Its payloads of a kind, each encoded as an entry of `Media.payloads` with tag and length."""
        if self._entries is None:
            self._entries = self._unpack(self.data)
        return self._entries[kind]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """W3C Trace Context; empty strings where there is none."""

    traceparent: str = ""
    tracestate: str = ""


@dataclass(frozen=True, slots=True)
class ConversationOpen:
    """All that is said once about a conversation. `motion_format` is None for one that is audio only from the start."""

    conversation_id: str
    audio_format: AudioFormat
    motion_format: MotionFormat | None = None
    pacing: Pacing = Pacing.BURST
    on_playing: OnPlaying = OnPlaying.REPLACE
    trace_context: TraceContext = TraceContext()


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a conversation got: the highest contiguous `seq` of each kind, 0 for none."""

    conversation_id: str
    audio_seq: int = 0
    motion_seq: int = 0


@dataclass(frozen=True, slots=True)
class Credit:
    """Bytes of payload data that may be sent beyond all that was granted before."""

    audio_bytes: int = 0
    motion_bytes: int = 0
