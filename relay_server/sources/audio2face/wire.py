"""What is said to an Audio2Face-3D service and what it answers, as plain values; protobuf stops here.

Order on the stream: header, audio (emotions in time with it), end of audio; back come one header, then animation with
its sound, events in between, and a status last.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from relay_server.sources.audio2face.schema import AnimationStream, AudioStream
from relay_server.sources.audio2face.settings import Emotion, EmotionStrengths

_PCM = 0
"""`AudioHeader.AUDIO_FORMAT_PCM`."""
_END_OF_PROCESSING = 0
"""`EventType.END_OF_A2F_AUDIO_PROCESSING`."""


class ServiceWireError(ValueError):
    """Bytes that are no message of the service."""


class StatusCode(enum.IntEnum):
    """`ServiceStatus.Code`."""

    SUCCESS = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class Header:
    """Comes first. `pcm_rate_hz` is that of the sound beside the animation; None if that is not mono PCM of 16 bits."""

    blendshape_names: tuple[str, ...]
    pcm_rate_hz: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """A weight for each name, `time_s` after the clip's beginning."""

    time_s: float
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Animation:
    """Keyframes, and the sound that belongs to them."""

    keyframes: tuple[Keyframe, ...]
    audio: bytes


@dataclass(frozen=True, slots=True)
class Processed:
    """All audio was looked at."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Comes last. `code` is an int where the service knows more codes than we do."""

    code: StatusCode | int
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that this version does not know."""


Answer = Header | Animation | Processed | ServiceStatus | Unknown


def write_header(rate_hz: int, strengths: EmotionStrengths, *, has_emotions: bool) -> bytes:
    """Mono PCM of 16 bits follows, at this rate; `has_emotions`: some come with it, and the service is to mind them."""
    message = AudioStream()
    header = message.audio_stream_header
    header.audio_header.audio_format = _PCM
    header.audio_header.channel_count = 1
    header.audio_header.samples_per_second = rate_hz
    header.audio_header.bits_per_sample = 16
    if has_emotions:
        header.emotion_post_processing_params.enable_preferred_emotion = True
    if strengths.preferred is not None:
        header.emotion_post_processing_params.preferred_emotion_strength = strengths.preferred
    if strengths.overall is not None:
        header.emotion_post_processing_params.emotion_strength = strengths.overall
    return _bytes(message)


def write_audio(pcm: bytes, emotions: tuple[Emotion, ...] = ()) -> bytes:
    """The next samples."""
    message = AudioStream()
    message.audio_with_emotion.audio_buffer = pcm
    for emotion in emotions:
        timed = message.audio_with_emotion.emotions.add(time_code=emotion.time_s)
        timed.emotion.update(emotion.strengths)
    return _bytes(message)


def write_end() -> bytes:
    """No more audio."""
    message = AudioStream()
    message.end_of_audio.SetInParent()
    return _bytes(message)


def read_answer(data: bytes) -> Answer:
    """One message of the service. Values are as sent: nothing is checked but the encoding. Raises `ServiceWireError`."""
    try:
        message = AnimationStream.FromString(data)
    except DecodeError as error:
        raise ServiceWireError(f"{len(data)} bytes that are no message of the service") from error
    match message.WhichOneof("stream_part"):
        case "animation_data_stream_header":
            return _header(message.animation_data_stream_header)
        case "animation_data":
            return _animation(message.animation_data)
        case "status":
            return ServiceStatus(_status_code(message.status.code), message.status.message)
        case "event" if message.event.event_type == _END_OF_PROCESSING:
            return Processed()
        case _:
            return Unknown()


def _header(header: Any) -> Header:
    audio = header.audio_header
    usable = audio.audio_format == _PCM and audio.channel_count == 1 and audio.bits_per_sample == 16
    return Header(tuple(header.skel_animation_header.blend_shapes), int(audio.samples_per_second) if usable else None)


def _animation(data: Any) -> Animation:
    frames = data.skel_animation.blend_shape_weights
    keyframes = tuple(Keyframe(frame.time_code, np.array(frame.values, np.float32)) for frame in frames)
    return Animation(keyframes, data.audio.audio_buffer)


def _status_code(code: int) -> StatusCode | int:
    return StatusCode(code) if code in StatusCode._value2member_map_ else code


def _bytes(message: Any) -> bytes:
    data: bytes = message.SerializeToString(deterministic=True)  # maps by key, as the order of a dict is nobody's promise
    return data
