"""The API key of a hosted Audio2Face-3D service; one of your own needs none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from relay_server.sources.api_keys import read_api_key
from relay_server.sources.audio2face.settings import API_KEY_VARIABLE, Audio2FaceSettings


def with_api_key(settings: Audio2FaceSettings, environment: Mapping[str, str]) -> Audio2FaceSettings:
    """The same with the key of the environment or else of its file, where there is one. Raises `ConfigError`, without any of it."""
    return replace(settings, api_key=read_api_key("audio2face", API_KEY_VARIABLE, settings.api_key_file, environment))
