"""AvatarKit's Server SDKs as configurable sources."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from avatar_relay.errors import ConfigError
from avatar_relay.media import AudioFormat, Codec
from relay_server.sources.api_keys import read_api_key
from relay_server.sources.avatarkit.settings import API_KEY_VARIABLES, SDKS, AvatarKitSettings
from relay_server.sources.plugins import SourceContext, SourcePlugin
from relay_server.sources.source import Source

_US_PER_S = 1_000_000


def api_key_of(settings: AvatarKitSettings, environment: Mapping[str, str]) -> str:
    """The account's API key, from the environment or else its file. Raises `ConfigError`, whose text contains no part of the key."""
    variable = API_KEY_VARIABLES[settings.sdk]
    key = read_api_key(settings.sdk, variable, settings.api_key_file, environment)
    if not key:
        raise ConfigError(f"{settings.sdk}: no API key; set {variable}, or name a file that holds it by api_key_file")
    return key


@asynccontextmanager
async def _open(settings: AvatarKitSettings, context: SourceContext) -> AsyncIterator[Callable[[str], Source]]:
    """Set up a pool of sessions; all vendor sessions are closed on exit."""
    from relay_server.sources.avatarkit.pool import Pool, running  # these import numpy
    from relay_server.sources.avatarkit.session_stock import StockRules
    from relay_server.sources.avatarkit.source import AvatarKitSource
    from relay_server.sources.avatarkit.telemetry import SdkTelemetry
    from relay_server.sources.avatarkit.vendor import make_sdk
    from relay_server.sources.source_trace import SourceTracing

    rules = StockRules(
        warm_format=AudioFormat(Codec.PCM_S16LE, settings.sample_rate_hz),
        warm_sessions=settings.warm_sessions,
        max_sessions=settings.max_sessions,
        idle_close_us=settings.idle_close_s * _US_PER_S,
        session_max_us=settings.session_max_s * _US_PER_S,
    )
    sdk = make_sdk(settings, api_key_of(settings, context.environment))
    observer = SdkTelemetry(context.telemetry) if context.telemetry.enabled else None
    pool = Pool(sdk, rules, start_timeout_s=settings.start_timeout_s, now_us=context.now_us, observer=observer)
    async with running(pool, context.start):
        tracing = SourceTracing(context.telemetry.tracer, context.unix_time_us)
        yield partial(AvatarKitSource, pool, text=context.text, audio=context.audio, tracing=tracing)


SPATIUS, SPATIALREAL = (SourcePlugin(AvatarKitSettings, _open, fixed={"sdk": sdk}, variables=("API_KEY",)) for sdk in SDKS)
