"""Requests and answers of an Audio2Face-3D service as plain values; the only module with its protobuf messages.

Order of the stream: header, audio (with timed emotions), end of audio. Answers: one header, then animation with its sound, events in
between, and a status last.
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
    """The bytes are not a valid message of the service."""


class StatusCode(enum.IntEnum):
    """`ServiceStatus.Code`."""

    SUCCESS = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class Header:
    """The first answer. `pcm_rate_hz` is the rate of the sound beside the animation; None if that is not 16-bit mono PCM."""

    blendshape_names: tuple[str, ...]
    pcm_rate_hz: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """One weight per name, at `time_s` after the clip's start."""

    time_s: float
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Animation:
    """Keyframes, and their sound."""

    keyframes: tuple[Keyframe, ...]
    audio: bytes


@dataclass(frozen=True, slots=True)
class Processed:
    """The service has processed all audio."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The last answer. `code` is an int if it is unknown to this version."""

    code: StatusCode | int
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """An answer that is unknown to this version."""


Answer = Header | Animation | Processed | ServiceStatus | Unknown


def write_header(rate_hz: int, strengths: EmotionStrengths, *, has_emotions: bool) -> bytes:
    """The header of a stream of 16-bit mono PCM at this rate; `has_emotions`: emotions follow, and the service must use them."""
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
    """A message with the next samples."""
    message = AudioStream()
    message.audio_with_emotion.audio_buffer = pcm
    for emotion in emotions:
        timed = message.audio_with_emotion.emotions.add(time_code=emotion.time_s)
        timed.emotion.update(emotion.strengths)
    return _bytes(message)


def write_end() -> bytes:
    """The end-of-audio message."""
    message = AudioStream()
    message.end_of_audio.SetInParent()
    return _bytes(message)


def read_answer(data: bytes) -> Answer:
    """Parse one answer. Only the encoding is checked, not the values. Raises `ServiceWireError`."""
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
    data: bytes = message.SerializeToString(deterministic=True)  # sorts map keys, because the order of a dict is not guaranteed
    return data
