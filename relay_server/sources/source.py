"""The interface of a source: speech in, a performance of audio and motion payloads out.

All sources implement one Protocol, independent of how the motion is generated. A source yields encoded bytes in publishing order; it has no
access to devices, ids, sequence numbers or credit.
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
    """A caller's choice of voice; fields that are None are taken from the settings."""

    name: str | None = None
    """A voice of espeak-ng."""
    rate: int | None = None
    """Words per minute."""
    pitch: int | None = None
    """0 to 100."""


NO_WISH = VoiceWish()


@dataclass(frozen=True, slots=True)
class TextSpeech:
    """Text to be spoken; SSML if `is_ssml`."""

    text: str
    voice: VoiceWish = NO_WISH
    is_ssml: bool = False


@dataclass(frozen=True, slots=True)
class FileSpeech:
    """A file of speech. The caller has checked that it may be read."""

    path: Path
    angle_unit: AngleUnit = AngleUnit.RADIANS
    """The unit of angles in recorded motion."""


@dataclass(frozen=True, slots=True)
class NamedSpeech:
    """A file of the relay's speech folder, by a name that has not been checked."""

    name: str
    angle_unit: AngleUnit = AngleUnit.RADIANS
    """The unit of angles in recorded motion."""


@dataclass(frozen=True, slots=True)
class AudioSpeech:
    """Speech from a backend, streamed: encoded sound, cut anywhere. Read once."""

    audio_format: AudioFormat
    chunks: AsyncIterator[bytes]


Speech = TextSpeech | FileSpeech | AudioSpeech


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The next bytes of the encoded audio, never empty."""

    data: bytes


@dataclass(frozen=True, slots=True)
class MotionChunk:
    """The next motion payload, complete and as generated. Payloads join on the motion timeline without gaps."""

    data: bytes


@dataclass(frozen=True, slots=True)
class MotionLost:
    """No more motion follows, for the reason `fault`; the sound continues. At most once; no `MotionChunk` follows it."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Irregularity:
    """The sound or the motion is irregular, for the reason `fault`; it is used, and reported to operators."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class AudioEnded:
    """No more sound follows; motion may. Lets the sound end without waiting for motion. Optional, at most once."""


Item = AudioChunk | MotionChunk | MotionLost | Irregularity | AudioEnded


@dataclass(frozen=True, slots=True)
class Performance:
    """One conversation's media. `items` ends with the conversation; it is read once, by one task.

    `motion_format` is None if there is only sound. Reading `items` may raise `SourceError` midway. Reading may stop early.
    """

    audio_format: AudioFormat
    motion_format: MotionFormat | None
    pacing: Pacing
    items: AsyncIterator[Item]
    trace_context: TraceContext = field(default_factory=TraceContext)
    """Parent of the source's spans and of the conversation's; empty if the source has none."""
    expression: Expression = AS_MOTION_SAYS
    """The mood of the face, unless the source's caller sets one."""


class SourceError(FaultError):
    """A source cannot perform this speech, or not to its end; `fault` is reported to the caller."""


async def close_early(items: AsyncIterator[object]) -> None:
    """Close an iterator that is not read to its end, if it has `aclose`. Raises nothing of its own."""
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()


class Source(Protocol):
    """Turns speech into performances. One source serves many conversations concurrently."""

    @property
    def name(self) -> str:
        """The name used in the configuration."""
        ...

    async def perform(self, speech: Speech) -> Performance:
        """Begin a performance. Raises `SourceError` if the source does not support this speech. Safe to cancel."""
        ...
