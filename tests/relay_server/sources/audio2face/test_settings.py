"""Settings of the service: valid values, and errors for invalid ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avatar_relay.errors import ConfigError
from avatar_relay.settings import ProgramSettings
from relay_server.sources.audio2face.plugin import AUDIO2FACE, with_api_key
from relay_server.sources.audio2face.settings import API_KEY_VARIABLE, NVCF, Audio2FaceSettings, Emotion


def settings_from(table: dict[str, Any]) -> Audio2FaceSettings:
    """Return the settings from a configuration's table `[audio2face]`."""
    given = ProgramSettings("AVATAR_RELAY_", [AUDIO2FACE.section("audio2face")]).load(
        {f"audio2face.{name}": table[name] for name in table}, {}, None
    )
    settings: Audio2FaceSettings = AUDIO2FACE.make_settings(given["audio2face"])
    return settings


def test_table() -> None:
    """A table with every key."""
    table = {
        "target": NVCF,
        "tls": True,
        "tls_ca_file": "/etc/ca.pem",
        "function_id": "0bcd",
        "keyframes_per_second": 60,
        "timeout_s": 3,
        "clip_s": 60.0,
        "emotions": [{"joy": 1}, {"at_s": 2.5, "fear": 0.5, "anger": 0.25}],
        "emotion_strength": 0.5,
        "preferred_emotion_strength": 1,
    }
    assert settings_from(table) == Audio2FaceSettings(
        target=NVCF,
        tls=True,
        tls_ca_file=Path("/etc/ca.pem"),
        function_id="0bcd",
        keyframes_per_second=60.0,
        timeout_s=3.0,
        clip_s=60.0,
        emotions=(Emotion(0.0, {"joy": 1.0}), Emotion(2.5, {"fear": 0.5, "anger": 0.25})),
        emotion_strength=0.5,
        preferred_emotion_strength=1.0,
    )


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"tls": True}, "audio2face.target: must be given: the service"),
        ({"target": "here"}, "'here' is not HOST:PORT"),
        ({"target": "http://here:1"}, "is not HOST:PORT"),
        ({"target": "here:0"}, "is not HOST:PORT"),
        ({"target": "here:99999"}, "is not HOST:PORT"),
        ({"target": 7}, "audio2face-target: 7 cannot be used; it takes text"),
        ({"tls": "maybe"}, "'maybe' cannot be used; it takes true or false"),
        ({"timeout_s": 0}, "timeout-s: 0 cannot be used; it takes a number from 0.01 to 300 s"),
        ({"timeout_s": True}, "takes a number from"),
        ({"timeout_s": float("nan")}, "takes a number from"),
        ({"clip_s": 301}, "takes a number from 1 to 300 s"),
        ({"keyframes_per_second": 241}, "takes a number from 1 to 240"),
        ({"emotion_strength": 1.5}, "takes a number from 0 to 1"),
        ({"emotions": 3}, "takes a list of tables"),
        ({"emotions": "[{joy = 1"}, "takes a list of tables"),
        ({"emotions": [{"joy": "much"}]}, "takes numbers; entry 0 has joy = 'much'"),
        ({"emotions": [{"glee": 1}]}, r"audio2face.emotions\[0\]: no emotion 'glee'; there are amazement, "),
        ({"emotions": [{"joy": 2}]}, r"audio2face.emotions\[0\].joy: 2.0 is not from 0 to 1"),
        ({"emotions": [{"at_s": -1}]}, r"audio2face.emotions\[0\].at_s"),
        ({"emotions": [{"joy": 1}, {"at_s": 0, "joy": 0}]}, r"audio2face.emotions\[1\].at_s: 0.0 s; times"),
        ({"emotions": [{"at_s": i} for i in range(1_001)]}, "at most 1000"),
        ({"function_id": "a\nb"}, "the function id holds characters"),
    ],
)
def test_what_can_not_be(table: dict[str, Any], text: str) -> None:
    """The error names the setting and its valid values."""
    if "tls" not in table and "target" not in table:
        table = {"target": "127.0.0.1:52000", **table}
    with pytest.raises(ConfigError, match=text):
        settings_from(table)


SETTINGS = Audio2FaceSettings(target=NVCF, tls=True)


def test_key_of_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    """The file is used if the variable is unset."""
    path = tmp_path / "key"
    path.write_text("nvapi-file\nanything else\n")
    settings = Audio2FaceSettings(target=NVCF, tls=True, api_key_file=path)
    assert with_api_key(settings, {API_KEY_VARIABLE: "nvapi-environment"}).api_key == "nvapi-environment"
    assert with_api_key(settings, {}).api_key == "nvapi-file"
    assert with_api_key(SETTINGS, {}).api_key == ""


def test_key_is_not_shown() -> None:
    """Not where settings are printed."""
    assert "nvapi" not in repr(with_api_key(SETTINGS, {API_KEY_VARIABLE: "nvapi-secret"}))


def test_key_needs_tls() -> None:
    """A key is never sent in plaintext."""
    with pytest.raises(ConfigError, match=r"audio2face\.tls"):
        with_api_key(Audio2FaceSettings(target="a2f.example:52000"), {API_KEY_VARIABLE: "nvapi-secret"})
