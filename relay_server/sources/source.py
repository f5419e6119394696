"""What a source is: speech in, a performance of audio and motion payloads out.

One Protocol for all of them, whatever makes the motion. A source hands over encoded bytes in the order in which they
should be published; it knows nothing of devices, ids, sequences or credit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from avatar_relay.errors import FaultError
from avatar_relay.media import AS_MOTION_SAYS, AngleUnit, AudioFormat, Expression, MotionFormat, Pacing, TraceContext
from avatar_relay.reasons import Fault


@dataclass(frozen=True, slots=True)
class VoiceWish:
    """How a caller wants words to be spoken; what is None is left to the settings."""

    name: str | None = None
    """A voice of espeak-ng."""
    rate: int | None = None
    """Words a minute."""
    pitch: int | None = None
    """0 to 100."""


NO_WISH = VoiceWish()


@dataclass(frozen=True, slots=True)
class TextSpeech:
    """Words to be spoken; in SSML if `is_ssml`."""

    text: str
    voice: VoiceWish = NO_WISH
    is_ssml: bool = False


@dataclass(frozen=True, slots=True)
class FileSpeech:
    """A file of speech. The caller has checked that it may be read."""

    path: Path
    angle_unit: AngleUnit = AngleUnit.RADIANS
    """Of a recorded motion's angles."""


@dataclass(frozen=True, slots=True)
class NamedSpeech:
    """A file of the relay's speech folder, by a name that is not checked yet."""

    name: str
    angle_unit: AngleUnit = AngleUnit.RADIANS
    """Of a recorded motion's angles."""


@dataclass(frozen=True, slots=True)
class AudioSpeech:
    """Speech that a backend makes, as it comes: encoded sound, cut anywhere. Read once."""

    audio_format: AudioFormat
    chunks: AsyncIterator[bytes]


Speech = TextSpeech | FileSpeech | AudioSpeech


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The next bytes of the encoded audio, never empty."""

    data: bytes


@dataclass(frozen=True, slots=True)
class MotionChunk:
    """The next motion payload, whole, as its maker made it. Payloads join on the motion timeline without gaps."""

    data: bytes


@dataclass(frozen=True, slots=True)
class MotionLost:
    """No more motion comes, for the reason `fault`; the sound goes on. At most once, and no `MotionChunk` follows it."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Irregularity:
    """Something about the sound or the motion is not as it should be, for the reason `fault`; it is used, and operators are told."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class AudioEnded:
    """No more sound comes; motion may. Said so that the end of the sound does not wait for it. Optional, at most once."""


Item = AudioChunk | MotionChunk | MotionLost | Irregularity | AudioEnded


@dataclass(frozen=True, slots=True)
class Performance:
    """One conversation's media. `items` ends with the conversation; it is read once, by one task.

    `motion_format` is None if there is sound only. Reading `items` may raise `SourceError` midway. It may be given
    up early.
    """

    audio_format: AudioFormat
    motion_format: MotionFormat | None
    pacing: Pacing
    items: AsyncIterator[Item]
    trace_context: TraceContext = field(default_factory=TraceContext)
    """What the source did has spans under it, and so will the conversation; empty for a source that has none."""
    expression: Expression = AS_MOTION_SAYS
    """The mood of the face, unless the caller of the source sets one."""


class SourceError(FaultError):
    """A source cannot perform this speech, or not to its end; `fault` is what a caller is told."""


async def close_early(items: AsyncIterator[object]) -> None:
    """Close what is not read to its end, where it can be closed; raises nothing of its own."""
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()


class Source(Protocol):
    """Turns speech into performances. One source serves many conversations at once."""

    @property
    def name(self) -> str:
        """As it is chosen by configuration."""
        ...

    async def perform(self, speech: Speech) -> Performance:
        """Begin a performance. Raises `SourceError` for speech that it cannot take. Safe to cancel."""
        ...
