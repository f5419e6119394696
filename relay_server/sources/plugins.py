"""Sources that a configuration can set up: the built-in ones, and those of other installed packages.

A package provides a source by an entry point in the group `avatar_relay.sources`. Its name is the source's name and the name of its table
in the configuration; it refers to a `SourcePlugin`. `docs/extending.md` shows an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from avatar_relay.errors import ConfigError
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.settings import Given, Section
from relay_server.sources.source import Source

if TYPE_CHECKING:  # they import OpenTelemetry and asyncio, which `relay-server --help` does without
    from avatar_relay.tracing import Telemetry
    from relay_server.background import Start

GROUP = "avatar_relay.sources"
BUILT_IN = {
    "spatius": "relay_server.sources.avatarkit.plugin:SPATIUS",
    "spatialreal": "relay_server.sources.avatarkit.plugin:SPATIALREAL",
    "audio2face": "relay_server.sources.audio2face.plugin:AUDIO2FACE",
}


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source may use. All of it belongs to the relay's event loop."""

    text: Source
    """Speaks text, with its own motion; for a source whose SDK needs sound."""
    audio: Source
    """Plays files of speech, with its own motion."""
    environment: Mapping[str, str]
    """The environment variables, for keys."""
    now_us: Callable[[], int]
    """A monotonic clock, in µs."""
    telemetry: Telemetry
    unix_time_us: Callable[[], int]
    """The wall clock, in µs, for spans."""
    start: Start
    """Starts a background task of the source: its name, and a coroutine that runs until it is cancelled."""


@dataclass(frozen=True, slots=True)
class SourcePlugin:
    """How a source is set up. Its module must be cheap to import: `open` imports what the source needs."""

    settings: type[Any]
    """A dataclass with fields from `avatar_relay.settings.setting`: the source's table in the configuration."""
    open: Callable[[Any, SourceContext], AbstractAsyncContextManager[Callable[[str], Source]]]
    """Sets up the source with its settings, once for the relay; yields a function from a device's name to the source of that device. Closes
    the source on exit. Raises `ConfigError` if a package or a key is missing."""
    fixed: Mapping[str, Any] | None = None
    """Fixed values for fields of `settings` that are not configurable."""
    variables: tuple[str, ...] = ()
    """Environment variables read by `open`, without the prefix and the source's name, such as `API_KEY`."""

    def section(self, name: str) -> Section:
        """The source's settings as a section of the relay's."""
        return Section.of(self.settings, name, variables=tuple(f"{name.upper()}_{variable}" for variable in self.variables))

    def make_settings(self, given: Given) -> Any:
        """The settings from the given values. Raises `ConfigError`."""
        return given.make(self.settings, **(self.fixed or {}))


def installed_plugins() -> dict[str, SourcePlugin]:
    """All sources that can be set up, by name. Raises `ConfigError` if a package's entry point is invalid."""
    plugins = {}
    for name, place in BUILT_IN.items():
        module, _, attribute = place.partition(":")
        plugins[name] = getattr(import_module(module), attribute)
    for entry in entry_points(group=GROUP):
        origin = f"source {entry.name!r} of package {entry.dist.name if entry.dist else '?'}"
        if entry.name in plugins or not is_valid_id(entry.name) or not entry.name.isidentifier():
            raise ConfigError(f"{origin}: the name is taken, or is not a name; a source's name is {ID_RULE}, and an identifier")
        try:
            plugin = entry.load()
        except Exception as error:  # the code is another package's
            raise ConfigError(f"{origin}: cannot be loaded: {type(error).__name__}: {error}") from error
        if not isinstance(plugin, SourcePlugin):
            raise ConfigError(f"{origin}: {entry.value} is not a relay_server.sources.plugins.SourcePlugin")
        plugins[entry.name] = plugin
    return plugins
