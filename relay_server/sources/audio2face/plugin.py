"""Audio2Face-3D as a source that a configuration can set up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from relay_server.sources.audio2face.credentials import with_api_key
from relay_server.sources.audio2face.settings import Audio2FaceSettings
from relay_server.sources.plugins import SourceContext, SourcePlugin
from relay_server.sources.source import Source


@asynccontextmanager
async def _open(settings: Audio2FaceSettings, context: SourceContext) -> AsyncIterator[Callable[[str], Source]]:
    """One source serves all devices."""
    from relay_server.sources.audio2face.source import Audio2FaceSource  # brings numpy

    source = Audio2FaceSource(with_api_key(settings, context.environment), text=context.text, audio=context.audio)
    try:
        yield lambda _device: source
    finally:
        await source.close()


AUDIO2FACE = SourcePlugin(Audio2FaceSettings, _open, variables=("API_KEY",))
