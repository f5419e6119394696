"""The sources that the configuration gives to devices, set up and taken down again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from avatar_relay.media import AudioFormat, Codec
from relay_server.config import AUDIO2FACE, LOCAL, RelayConfig
from relay_server.sources.audio2face.credentials import with_api_key
from relay_server.sources.avatarkit.credentials import api_key_of
from relay_server.sources.avatarkit.observer import SdkObserver
from relay_server.sources.avatarkit.session_stock import StockRules
from relay_server.sources.avatarkit.settings import AvatarKitSettings
from relay_server.sources.avatarkit.vendor import make_sdk
from relay_server.sources.source import Source

if TYPE_CHECKING:
    from relay_server.sources.avatarkit.pool import Pool

_US_PER_S = 1_000_000


@asynccontextmanager
async def configured_sources(
    config: RelayConfig,
    environment: Mapping[str, str],
    *,
    text: Source,
    audio: Source,
    now_us: Callable[[], int],
    observer: SdkObserver | None = None,
) -> AsyncIterator[Mapping[str, Source]]:
    """The sources by device or group; `text` and `audio` are the voices whose sound the Server SDKs move to.

    Raises `ConfigError` where a package or a key is missing. Leaving closes all vendor sessions.
    """
    async with AsyncExitStack() as stack:
        by_name: dict[str, Callable[[str], Source]] = {}
        for name, settings in config.avatarkit.items():
            if name in config.devices.values():
                from relay_server.sources.avatarkit.pool import running  # late, here and below: they bring numpy
                from relay_server.sources.avatarkit.source import AvatarKitSource

                pool = await stack.enter_async_context(running(avatarkit_pool(settings, environment, now_us, observer)))
                by_name[name] = partial(AvatarKitSource, pool, text=text, audio=audio)
        if config.audio2face is not None:
            from relay_server.sources.audio2face.source import Audio2FaceSource

            service = Audio2FaceSource(with_api_key(config.audio2face, environment), text=text, audio=audio)
            stack.push_async_callback(service.close)
            by_name[AUDIO2FACE] = lambda _device: service
        yield {device: by_name[name](device) for device, name in config.devices.items() if name != LOCAL}


def avatarkit_pool(
    settings: AvatarKitSettings, environment: Mapping[str, str], now_us: Callable[[], int], observer: SdkObserver | None = None
) -> Pool:
    """The sessions of an account; nothing is connected yet. Raises `ConfigError`."""
    from relay_server.sources.avatarkit.pool import Pool

    rules = StockRules(
        warm_format=AudioFormat(Codec.PCM_S16LE, settings.sample_rate_hz),
        warm_sessions=settings.warm_sessions,
        max_sessions=settings.max_sessions,
        idle_close_us=settings.idle_close_s * _US_PER_S,
        session_max_us=settings.session_max_s * _US_PER_S,
    )
    sdk = make_sdk(settings, api_key_of(settings, environment))
    return Pool(sdk, rules, start_timeout_s=settings.start_timeout_s, now_us=now_us, observer=observer)
