"""Payloads, formats and the opening of a conversation, for both programs. Plain immutable values."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from avatar_relay.checks import FieldError, check_int, check_number, check_text, check_type, wrong_type
from avatar_relay.limits import (
    AVATARKIT_KEYFRAMES_PER_SECOND,
    MAX_BLENDSHAPE_NAME_CHARACTERS,
    MAX_BLENDSHAPE_NAMES,
    MAX_KEYFRAMES_PER_SECOND,
    MIN_KEYFRAMES_PER_SECOND,
    OPUS_RATE_HZ,
    PCM_RATES_HZ,
)
from avatar_relay.opus_packets import packet_duration_us

_UINT32 = (1 << 32) - 1
MAX_WEIGHT_SCALE = 1e6


def _as_float32(number: float) -> float:
    """Round to float32, as on the wire."""
    rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return rounded


class Kind(enum.Enum):
    """The two kinds of payload. Sequences, credit and cursors are kept per kind."""

    AUDIO = "audio"
    MOTION = "motion"

    __hash__ = object.__hash__  # members are singletons: Enum's own hash runs Python code in each of many look-ups


class Codec(enum.Enum):
    """How audio payloads are encoded."""

    PCM_S16LE = "pcm_s16le"
    OGG_OPUS = "ogg_opus"
    OPUS = "opus"

    @property
    def traits(self) -> CodecTraits:
        """Properties of the codec that everything except decoders needs."""
        return _TRAITS[self]


@dataclass(frozen=True, slots=True)
class CodecTraits:
    """Outer form of an encoding: samples of one size, packets, or else a byte stream that may be split anywhere."""

    rates_hz: tuple[int, ...]
    """Supported sample rates; if there is only one, it may be left out on the wire."""
    sample_bytes: int = 0
    """Size of a sample if constant, else 0; positions follow from it."""
    packet_duration_us: Callable[[bytes], int] | None = None
    """Length of a packet, for a codec whose payload is one packet, which is never split. Raises `ValueError` if it is not a packet."""


_TRAITS = {
    Codec.PCM_S16LE: CodecTraits(PCM_RATES_HZ, sample_bytes=2),
    Codec.OGG_OPUS: CodecTraits((OPUS_RATE_HZ,)),
    Codec.OPUS: CodecTraits((OPUS_RATE_HZ,), packet_duration_us=packet_duration_us),
}


class MotionEncoding(enum.Enum):
    """How motion payloads are encoded."""

    AVATARKIT_V2 = "avatarkit_v2"
    BLENDSHAPE_WEIGHTS = "blendshape_weights"


class NameSet(enum.Enum):
    """Meaning of the column names of a weight row. All except `ARKIT` are visemes, which may be combined with ARKit columns."""

    ARKIT = "arkit"
    """ARKit's blendshapes in any spelling, and angles of head and eyes (`avatar_relay.spellings`)."""
    OCULUS = "oculus"
    """`sil PP FF TH DD kk CH SS nn RR aa E I O U`, also as `viseme_PP` (Ready Player Me)."""
    AZURE = "azure"
    """Azure's viseme ids, `0` to `21`."""
    POLLY = "polly"
    """Amazon Polly's visemes. Case-sensitive."""
    RHUBARB = "rhubarb"
    """Rhubarb's mouth shapes, `A` to `H` and `X`."""
    VRM = "vrm"
    """Expressions of VRM 1.0 (`aa ih ou ee oh blink happy` …) and of VRM 0 (`A I U E O Blink Joy` …)."""


class ExpressionPreset(enum.Enum):
    """A mood of the face."""

    NEUTRAL = "neutral"
    HAPPY = "happy"
    SAD = "sad"
    ANGRY = "angry"
    SURPRISED = "surprised"
    THINKING = "thinking"


@dataclass(frozen=True, slots=True)
class Expression:
    """A mood of the face while it speaks, blended with the motion. Raises `TypeError` or `FieldError` if invalid."""

    preset: ExpressionPreset = ExpressionPreset.NEUTRAL
    intensity: float = 1.0
    """0 to 1."""

    def __post_init__(self) -> None:
        check_type(self.preset, ExpressionPreset, "preset")
        if not 0.0 <= check_number(self.intensity, "intensity") <= 1.0:
            raise FieldError("intensity", f"is {self.intensity}; it must lie between 0 and 1")


AS_MOTION_SAYS = Expression()


class AngleUnit(enum.Enum):
    """Unit of angle columns."""

    RADIANS = "radians"
    DEGREES = "degrees"


class Pacing(enum.Enum):
    """Whether media is produced faster than real time (BURST) or in real time (LIVE)."""

    BURST = "burst"
    LIVE = "live"


class OnPlaying(enum.Enum):
    """How a new conversation treats the current one: interrupt it, or follow it without a gap."""

    REPLACE = "replace"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Encoding of a conversation's audio. Mono; `sample_rate_hz` is that of the encoded stream (48000 for Opus).

    Raises `TypeError`, and `ValueError` for an unsupported rate or number of channels.
    """

    codec: Codec
    sample_rate_hz: int = OPUS_RATE_HZ
    channels: int = 1

    def __post_init__(self) -> None:
        codec = check_type(self.codec, Codec, "codec")
        rate_hz = check_int(self.sample_rate_hz, "sample_rate_hz", 0, _UINT32)
        channels = check_int(self.channels, "channels", 0, _UINT32)
        rates = codec.traits.rates_hz
        if rate_hz not in rates:
            raise FieldError("sample_rate_hz", f"is {rate_hz} Hz; {codec.value} takes {', '.join(map(str, rates))} Hz")
        if channels != 1:
            raise FieldError("channels", f"is {channels}; only mono is carried: mix down first")
        object.__setattr__(self, "sample_rate_hz", rate_hz)
        object.__setattr__(self, "channels", channels)


@dataclass(frozen=True, slots=True)
class MotionFormat:
    """Encoding of a conversation's motion. `blendshape_names` are the columns of a weight row; empty for AvatarKit.

    A list of names becomes a tuple, and numbers are rounded to the wire's `float`, so that both ends use the same values. Raises
    `TypeError`, and `ValueError` for an invalid rate, name or scale.
    """

    encoding: MotionEncoding
    keyframes_per_second: float = AVATARKIT_KEYFRAMES_PER_SECOND
    blendshape_names: tuple[str, ...] = ()
    name_set: NameSet | None = None
    """None: the device infers it, if the names are unambiguous."""
    weight_scale: float = 1.0
    """The weight that means a shape's full extent: 100 for percentages. Above 0, at most 10⁶."""
    angle_unit: AngleUnit = AngleUnit.RADIANS

    def __post_init__(self) -> None:
        encoding = check_type(self.encoding, MotionEncoding, "encoding")
        rate = check_number(self.keyframes_per_second, "keyframes_per_second")
        if not MIN_KEYFRAMES_PER_SECOND <= rate <= MAX_KEYFRAMES_PER_SECOND:
            text = f"is {rate:g}; it must be from {MIN_KEYFRAMES_PER_SECOND:g} to {MAX_KEYFRAMES_PER_SECOND:g}"
            raise FieldError("keyframes_per_second", text)
        names = self.blendshape_names
        if not isinstance(names, tuple | list):
            raise wrong_type("blendshape_names", "a tuple of str", names)
        names = tuple([check_text(name, f"blendshape_names[{index}]") for index, name in enumerate(names)])
        weights = encoding is MotionEncoding.BLENDSHAPE_WEIGHTS
        if weights != bool(names) or len(names) > MAX_BLENDSHAPE_NAMES or len(set(names)) != len(names):
            text = f"are {len(names)}; weights need 1 to {MAX_BLENDSHAPE_NAMES} different names, AvatarKit motion needs none"
            raise FieldError("blendshape_names", text)
        if any([len(name) > MAX_BLENDSHAPE_NAME_CHARACTERS for name in names]):
            raise FieldError("blendshape_names", f"have one of more than {MAX_BLENDSHAPE_NAME_CHARACTERS} characters")
        if self.name_set is not None:
            check_type(self.name_set, NameSet, "name_set")
        scale = check_number(self.weight_scale, "weight_scale")
        if not 0 < scale <= MAX_WEIGHT_SCALE or not _as_float32(scale):
            raise FieldError("weight_scale", f"is {scale:g}; it must be above 0, and at most {MAX_WEIGHT_SCALE:g}")
        check_type(self.angle_unit, AngleUnit, "angle_unit")
        object.__setattr__(self, "keyframes_per_second", _as_float32(rate))
        object.__setattr__(self, "blendshape_names", names)
        object.__setattr__(self, "weight_scale", _as_float32(scale))


class Payload(NamedTuple):
    """Encoded media, or one fragment of it. `total_bytes` is 0 if `data` is the whole payload.

    `seq` counts per (conversation, kind) from 1; 0 asks the relay to assign it. `pts_us` is the position of the first sample or keyframe
    from the conversation's first audio sample; always set on motion.
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
        """Whether this is only a part of the payload."""
        return self.total_bytes > len(self.data)


class PayloadColumns(NamedTuple):
    """Consecutive payloads (or fragments) of one kind: each column has one entry per payload.

    For forwarding: objects per payload would be expensive, and columns are made once for all of them.
    """

    kind: Kind
    seqs: Sequence[int]
    pts_us: Sequence[int]
    """Negative if not set."""
    durations_us: Sequence[int]
    sizes: Sequence[int]
    """Bytes of `data`, the unit of credit."""
    offsets: Sequence[int]
    totals: Sequence[int]


class EncodedMedia(NamedTuple):
    """Media of one message as received on the wire; it is sent in this form to each device that gets all of it.

    It is unpacked only if a device gets a part of it, and only once for all devices.
    """

    data: bytes
    """An encoded `AttachResponse{media}`."""
    counts: Mapping[Kind, int]
    """Its payloads of each kind."""
    unpack: Callable[[bytes], Mapping[Kind, Sequence[bytes]]]
    """Takes `data` apart; see `entries`."""
    unpacked: list[Mapping[Kind, Sequence[bytes]]]
    """The result, once it was needed; a new empty list before."""

    def entries(self, kind: Kind) -> Sequence[bytes]:
        """Its payloads of a kind, each encoded as an entry of `Media.payloads` with tag and length."""
        if not self.unpacked:
            self.unpacked.append(self.unpack(self.data))
        return self.unpacked[0][kind]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """W3C Trace Context; empty strings if there is none. Raises `TypeError`, and `ValueError` for text that cannot be encoded."""

    traceparent: str = ""
    tracestate: str = ""

    def __post_init__(self) -> None:
        check_text(self.traceparent, "traceparent")
        check_text(self.tracestate, "tracestate")


@dataclass(frozen=True, slots=True)
class ConversationOpen:
    """The parameters of a conversation, sent once. `motion_format` is None for one that is audio only from the start."""

    conversation_id: str
    audio_format: AudioFormat
    motion_format: MotionFormat | None = None
    pacing: Pacing = Pacing.BURST
    on_playing: OnPlaying = OnPlaying.REPLACE
    trace_context: TraceContext = TraceContext()
    expression: Expression = AS_MOTION_SAYS


@dataclass(frozen=True, slots=True)
class Cursor:
    """Progress of a conversation: the highest contiguous `seq` of each kind, 0 for none."""

    conversation_id: str
    audio_seq: int = 0
    motion_seq: int = 0


@dataclass(frozen=True, slots=True)
class Credit:
    """Bytes of payload data that may be sent in addition to all earlier grants."""

    audio_bytes: int = 0
    motion_bytes: int = 0
