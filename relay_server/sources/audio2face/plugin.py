"""Audio2Face-3D as a configurable source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from relay_server.sources.api_keys import read_api_key
from relay_server.sources.audio2face.settings import API_KEY_VARIABLE, Audio2FaceSettings
from relay_server.sources.plugins import SourceContext, SourcePlugin
from relay_server.sources.source import Source


def with_api_key(settings: Audio2FaceSettings, environment: Mapping[str, str]) -> Audio2FaceSettings:
    """The settings with the API key of a hosted service, from the environment or else the key file; a self-hosted service needs none.

    Raises `ConfigError`, whose text contains no part of the key.
    """
    return replace(settings, api_key=read_api_key("audio2face", API_KEY_VARIABLE, settings.api_key_file, environment))


@asynccontextmanager
async def _open(settings: Audio2FaceSettings, context: SourceContext) -> AsyncIterator[Callable[[str], Source]]:
    """One source serves all devices."""
    from relay_server.sources.audio2face.source import Audio2FaceSource  # imports numpy
    from relay_server.sources.source_trace import SourceTracing

    tracing = SourceTracing(context.telemetry.tracer, context.unix_time_us)
    source = Audio2FaceSource(with_api_key(settings, context.environment), text=context.text, audio=context.audio, tracing=tracing)
    try:
        yield lambda _device: source
    finally:
        await source.close()


AUDIO2FACE = SourcePlugin(Audio2FaceSettings, _open, variables=("API_KEY",))
