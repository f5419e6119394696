"""Synthetic recordings in AvatarKit's format: realistic dimensions, windows and sizes, varying values."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar_relay import avatarkit
from avatar_relay.avatarkit import EXPRESSION, EYE_POSE, JAW_POSE, KEYFRAME_SIZE, NECK_POSE, TRANSLATION, AvatarKitMotion, Keyframes
from avatar_relay.limits import AVATARKIT_KEYFRAMES_PER_SECOND

WINDOWS = (50, 100, 57)
"""Keyframes per message: first two seconds, then four at a time, then the rest, as the Motion Server sends them."""
CONNECTION_ID = "20260101000000_AbCdEfGhIjKl"
REQ_ID = "20260101000000_ZyXwVuTsRqPo"
VARYING = 50
"""Number of expression coefficients that vary; the others are 0, as in real recordings."""


def keyframes(count: int, first: int = 0) -> Keyframes:
    """Keyframes `first` to `first + count` of an endless motion in which no two neighbours are equal."""
    times = (np.arange(first, first + count) / AVATARKIT_KEYFRAMES_PER_SECOND)[:, np.newaxis]
    rows = np.zeros((count, KEYFRAME_SIZE), np.float32)
    phases = np.arange(VARYING)
    rows[:, EXPRESSION.start : EXPRESSION.start + VARYING] = np.sin(2 * np.pi * (1.3 + 0.07 * phases) * times + phases)
    rows[:, TRANSLATION] = (0.28, -0.0009, 0.0037)
    rows[:, NECK_POSE] = 0.12 + 0.03 * np.sin(times)
    rows[:, JAW_POSE.start : JAW_POSE.start + 1] = 0.03 + 0.02 * np.sin(9 * times)
    rows[:, EYE_POSE] = 0.0003
    return rows


def motion_messages(windows: tuple[int, ...] = WINDOWS, req_id: str = REQ_ID) -> tuple[bytes, ...]:
    """The motion messages of a conversation; the last one has `end` and keyframes, as in real recordings."""
    messages = []
    first = 0
    for index, count in enumerate(windows):
        end = index == len(windows) - 1
        messages.append(avatarkit.write(AvatarKitMotion(CONNECTION_ID, req_id, end, "", keyframes(count, first))))
        first += count
    return tuple(messages)


def speech_like(seconds: float, rate_hz: int) -> NDArray[np.int16]:
    """Sound with syllables: a buzz that opens and closes four times a second, and a pause in every third second."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    buzz = sum(np.sin(2 * np.pi * 120 * harmonic * times) / harmonic for harmonic in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 4 * times), 0, 1) * (times % 3 < 2)
    return np.asarray(np.rint(8_000 * buzz * syllables / 2)).astype(np.int16)


def recording(windows: tuple[int, ...] = WINDOWS, sample_rate_hz: int = 16_000) -> dict[str, object]:
    """A recorded conversation whose sound is as long as its motion."""
    audio = speech_like(sum(windows) / AVATARKIT_KEYFRAMES_PER_SECOND, sample_rate_hz)
    return {
        "sample_rate": sample_rate_hz,
        "audio_format": "pcm_s16le_mono",
        "audio_base64": base64.b64encode(audio.astype("<i2").tobytes()).decode(),
        "connection_id": CONNECTION_ID,
        "req_id": REQ_ID,
        "animation_messages_base64": [base64.b64encode(message).decode() for message in motion_messages(windows)],
    }


def write_recording(path: Path, windows: tuple[int, ...] = WINDOWS, sample_rate_hz: int = 16_000) -> Path:
    """Write a recording as JSON and return its path."""
    path.write_text(json.dumps(recording(windows, sample_rate_hz)), encoding="utf-8")
    return path
