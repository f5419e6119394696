"""Source `recording`: a recorded conversation. AvatarKit JSON is passed on bit for bit; other files go to `motion_files`.

Keys: `sample_rate`, `audio_format` ("pcm_s16le_mono"), `audio_base64`, `animation_messages_base64` (the motion messages in order);
`connection_id` and `req_id` are ignored.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avatar_relay import avatarkit
from avatar_relay.avatarkit import AvatarKitError
from avatar_relay.limits import AVATARKIT_KEYFRAMES_PER_SECOND, MAX_PAYLOAD_BYTES, PCM_RATES_HZ
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat, Pacing
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.interleave import AUDIO_CHUNK_S
from relay_server.sources.motion_files.source import MotionFileSource
from relay_server.sources.source import AudioChunk, FileSpeech, MotionChunk, Performance, SourceError, Speech

MAX_FILE_BYTES = 64 << 20
"""About five minutes at 48 kHz in base64."""
MAX_MESSAGES = 10_000
AUDIO_FORMAT = "pcm_s16le_mono"


class RecordingError(ValueError):
    """The file is not a valid recording; the text names the problem and its position."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded conversation. `keyframes` has the keyframe count of each of the `messages`."""

    sample_rate_hz: int
    audio: bytes
    messages: tuple[bytes, ...]
    keyframes: tuple[int, ...]


class RecordingSource:
    """Plays recorded conversations."""

    name = "recording"

    def __init__(self) -> None:
        self._motion_files = MotionFileSource()

    async def perform(self, speech: Speech) -> Performance:
        """Read and check the whole file, and return its performance. Raises `SourceError`."""
        if not isinstance(speech, FileSpeech):
            raise SourceError(Fault(Reason.SPEECH_MISSING, "the source recording takes a file, not text", "file"))
        if not await asyncio.to_thread(_is_avatarkits, speech.path):
            return await self._motion_files.perform(speech)
        try:
            recording = await asyncio.to_thread(load_recording, speech.path)
        except RecordingError as error:
            text = f"{speech.path.name} is not a recorded AvatarKit conversation: {error}"
            raise SourceError(Fault(Reason.SPEECH_FILE_INVALID, text, "file")) from error
        except OSError as error:
            raise SourceError(Fault(Reason.SPEECH_FILE_UNKNOWN, f"{speech.path.name} cannot be read: {error.strerror}", "file")) from error
        return Performance(
            AudioFormat(Codec.PCM_S16LE, recording.sample_rate_hz),
            MotionFormat(MotionEncoding.AVATARKIT_V2, AVATARKIT_KEYFRAMES_PER_SECOND),
            Pacing.BURST,
            _items(recording),
        )


def _is_avatarkits(path: Path) -> bool:
    """Whether a file is in AvatarKit's format, by the key of its motion. False for an unreadable file, which its reader reports."""
    try:
        with path.open("rb") as file:
            return path.suffix.lower() == ".json" and b'"animation_messages_base64"' in file.read(MAX_FILE_BYTES)
    except OSError:
        return False


def load_recording(path: Path) -> Recording:
    """Read and check a file. Raises `RecordingError`, or `OSError` if it cannot be read."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    return parse_recording(data)


def parse_recording(data: bytes) -> Recording:
    """Parse and check a recording. Raises `RecordingError`."""
    if len(data) > MAX_FILE_BYTES:
        raise RecordingError(f"it is larger than {MAX_FILE_BYTES} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecordingError("it is not JSON") from error
    if not isinstance(document, dict):
        raise RecordingError("it is not a JSON object")
    sample_rate_hz = document.get("sample_rate")
    if isinstance(sample_rate_hz, bool) or sample_rate_hz not in PCM_RATES_HZ:
        raise RecordingError(f"sample_rate is not one of {', '.join(map(str, PCM_RATES_HZ))}")
    if document.get("audio_format") != AUDIO_FORMAT:
        raise RecordingError(f"audio_format is not {AUDIO_FORMAT}")
    audio = _decode(document.get("audio_base64"), "audio_base64")
    if not audio or len(audio) % 2:
        raise RecordingError(f"audio_base64 holds {len(audio)} bytes: not whole 16-bit samples, at least one")
    messages = _messages(document.get("animation_messages_base64"))
    return Recording(int(sample_rate_hz), audio, messages, tuple(_count(message, i) for i, message in enumerate(messages)))


def _messages(values: Any) -> tuple[bytes, ...]:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_MESSAGES:
        raise RecordingError(f"animation_messages_base64 is not a list of 1 to {MAX_MESSAGES} messages")
    return tuple(_decode(value, f"animation_messages_base64[{index}]") for index, value in enumerate(values))


def _decode(value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        raise RecordingError(f"{where} is not a text of base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordingError(f"{where} is not base64") from error


def _count(message: bytes, index: int) -> int:
    if len(message) > MAX_PAYLOAD_BYTES:
        raise RecordingError(f"animation_messages_base64[{index}] has {len(message)} bytes; at most {MAX_PAYLOAD_BYTES} are carried")
    try:
        return avatarkit.count_keyframes(message)
    except AvatarKitError as error:
        raise RecordingError(f"animation_messages_base64[{index}]: {error}") from error


async def _items(recording: Recording) -> AsyncIterator[AudioChunk | MotionChunk]:
    """The items in order: motion before the sound of the same moment; sound in short chunks, samples unchanged."""
    chunk_bytes = 2 * round(recording.sample_rate_hz * AUDIO_CHUNK_S)
    windows = list(zip(recording.messages, recording.keyframes, strict=True))
    covered_s = 0.0
    for start in range(0, len(recording.audio), chunk_bytes):
        end_s = (start + chunk_bytes) / (2 * recording.sample_rate_hz)
        while windows and covered_s < end_s:
            message, keyframes = windows.pop(0)
            covered_s += keyframes / AVATARKIT_KEYFRAMES_PER_SECOND
            yield MotionChunk(message)
        yield AudioChunk(recording.audio[start : start + chunk_bytes])
    for message, _ in windows:
        yield MotionChunk(message)
