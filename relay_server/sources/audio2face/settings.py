"""The settings of an Audio2Face-3D service, validated once.

Limits are the service's defaults (`input_sanitization` in the advanced configuration of NVIDIA's samples). They are checked before anything
is sent, because a service reports an exceeded limit only afterwards.
"""

# ruff: noqa: RUF009 - `setting` makes a dataclass field
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any

from avatar_relay import setting_types as takes
from avatar_relay.errors import ConfigError
from avatar_relay.limits import MAX_KEYFRAMES_PER_SECOND
from avatar_relay.media import AS_MOTION_SAYS, Expression
from avatar_relay.settings import setting
from relay_server.sources.audio2face.mood import mood_of

MIN_RATE_HZ = 16_000
MAX_CLIP_S = 300.0
MAX_EMOTIONS = 1_000
EMOTIONS = frozenset({"amazement", "anger", "cheekiness", "disgust", "fear", "grief", "joy", "outofbreath", "pain", "sadness"})
NVCF = "grpc.nvcf.nvidia.com:443"
"""NVIDIA's hosted service: needs TLS, an API key and a function id."""
API_KEY_VARIABLE = "AVATAR_RELAY_AUDIO2FACE_API_KEY"


@dataclass(frozen=True, slots=True)
class Emotion:
    """Strengths from 0 to 1 by name, effective from `time_s` in the clip."""

    time_s: float
    strengths: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EmotionStrengths:
    """How strongly emotions show; None: the service's default. `preferred` applies to the emotions that we send."""

    overall: float | None = None
    preferred: float | None = None


def _read_emotions(value: Any) -> tuple[Emotion, ...]:
    """Parse a list of emotions. Raises `ValueError`."""
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        raise ValueError("takes a list of tables such as [{at_s = 0, joy = 0.8}]")
    emotions = []
    for index, entry in enumerate(value):
        for name, number in entry.items():
            if type(number) not in (int, float):
                raise ValueError(f"takes numbers; entry {index} has {name} = {number!r}")
        strengths = {name: float(number) for name, number in entry.items() if name != "at_s"}
        emotions.append(Emotion(float(entry.get("at_s", 0.0)), strengths))
    return tuple(emotions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio2FaceSettings:
    """Settings of a service. Raises `ConfigError` if a value is invalid."""

    target: str = setting(MISSING, takes.text("HOST:PORT"), f"the service, such as 127.0.0.1:52000 or {NVCF}")
    tls: bool = setting(False, takes.switch(), "use TLS")
    tls_ca_file: Path | None = setting(None, takes.path(), "certificates (PEM) to trust; without it, the system's")
    api_key_file: Path | None = setting(
        None, takes.path(), "file with the API key on its first line; else the environment has it, or none is sent"
    )
    api_key: str = field(default="", repr=False)
    """Sent as bearer token, never logged. Not a setting: read from a file or the environment."""
    function_id: str = setting("", takes.text("ID"), "which function of NVIDIA's hosting to call")
    keyframes_per_second: float | None = setting(
        None, takes.number(1, MAX_KEYFRAMES_PER_SECOND), "the service's keyframe rate; without it, as its time codes show"
    )
    timeout_s: float = setting(8.0, takes.number(0.01, 300, "s"), "a service that has sound to work on and is silent this long has failed")
    clip_s: float = setting(
        120.0,
        takes.number(1, MAX_CLIP_S, "s"),
        "longer speech is sent in clips of this length; also the most speech kept for a conversation",
    )
    emotions: tuple[Emotion, ...] = setting(
        (),
        takes.structured(_read_emotions, "LIST", "a list of tables such as [{at_s = 0, joy = 0.8}]"),
        "emotions by their time in the conversation; those that it begins with are its mood on the device, too, unless its caller sets one",
    )
    emotion_strength: float | None = setting(None, takes.number(0, 1), "how much emotions show; without it, as the service has it")
    preferred_emotion_strength: float | None = setting(
        None, takes.number(0, 1), "how much `emotions` count beside what the service hears; without it, as the service has it"
    )

    def __post_init__(self) -> None:
        host, _, port = self.target.rpartition(":")
        if not host or "/" in host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65_535:
            raise ConfigError(f"audio2face.target: {self.target!r} is not HOST:PORT, such as {NVCF}")
        if self.api_key and not self.tls:
            raise ConfigError("audio2face.tls: API keys are not sent in plaintext; set tls = true")
        if not self.function_id.isascii() or not self.function_id.isprintable():
            raise ConfigError("audio2face: the function id holds characters that cannot be sent")
        self._check_emotions()

    def _check_emotions(self) -> None:
        if len(self.emotions) > MAX_EMOTIONS:
            raise ConfigError(f"audio2face.emotions: {len(self.emotions)} of them; at most {MAX_EMOTIONS}")
        last_s = -1.0
        for index, emotion in enumerate(self.emotions):
            where = f"audio2face.emotions[{index}]"
            if not math.isfinite(emotion.time_s) or emotion.time_s < 0 or emotion.time_s <= last_s:
                raise ConfigError(f"{where}.at_s: {emotion.time_s} s; times are not negative and go forward")
            last_s = emotion.time_s
            for name, strength in emotion.strengths.items():
                if name not in EMOTIONS:
                    raise ConfigError(f"{where}: no emotion {name!r}; there are {', '.join(sorted(EMOTIONS))}")
                if not 0.0 <= strength <= 1.0:
                    raise ConfigError(f"{where}.{name}: {strength} is not from 0 to 1")

    @property
    def strengths(self) -> EmotionStrengths:
        """The emotion strengths to send."""
        return EmotionStrengths(self.emotion_strength, self.preferred_emotion_strength)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Credentials, as metadata of a call."""
        pairs = (("function-id", self.function_id), ("authorization", f"Bearer {self.api_key}" if self.api_key else ""))
        return tuple((name, value) for name, value in pairs if value)

    @property
    def mood(self) -> Expression:
        """The mood of the emotions at the start of a conversation."""
        begins = self.emotions_of_clip(0.0)
        return mood_of(begins[0].strengths, self.emotion_strength) if begins and begins[0].time_s == 0 else AS_MOTION_SAYS

    def emotions_of_clip(self, start_s: float) -> tuple[Emotion, ...]:
        """Emotions relative to the start of the clip at `start_s` of the conversation, including the one in effect there."""
        before = [emotion for emotion in self.emotions if emotion.time_s <= start_s]
        lasting = (Emotion(0.0, before[-1].strengths),) if before else ()
        return lasting + tuple(Emotion(known.time_s - start_s, known.strengths) for known in self.emotions if known.time_s > start_s)

    def without_secrets(self, text: str) -> str:
        """The service's text for a log: one line, truncated, without credentials."""
        for secret in (self.api_key, self.function_id):
            text = text.replace(secret, "…") if secret else text
        return "".join(character if character.isprintable() else " " for character in text[:200])
