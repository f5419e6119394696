"""Sets up the sources that the configuration assigns to devices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from relay_server.config import LOCAL, RelayConfig
from relay_server.sources.plugins import SourceContext, installed_plugins
from relay_server.sources.source import Source


@asynccontextmanager
async def configured_sources(config: RelayConfig, context: SourceContext) -> AsyncIterator[Mapping[str, Source]]:
    """The sources by device or group. Sets up only sources that a device uses, and closes them on exit. Raises `ConfigError`."""
    async with AsyncExitStack() as stack:
        used = sorted({name for name in config.devices.values() if name != LOCAL})
        plugins = installed_plugins() if used else {}
        makers = {name: await stack.enter_async_context(plugins[name].open(config.sources[name], context)) for name in used}
        yield {device: makers[name](device) for device, name in config.devices.items() if name != LOCAL}
