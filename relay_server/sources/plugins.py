"""Sources that a configuration can set up: the built-in ones, and those that other installed packages bring.

A package brings a source by an entry point in the group `avatar_relay.sources`. Its name is the source's name and the name of its
table in the configuration; it refers to a `SourcePlugin`. `docs/extending.md` shows one.
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

if TYPE_CHECKING:  # they bring OpenTelemetry and asyncio, which `relay-server --help` does without
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
    """Speaks text, with motion of its own; for a source whose SDK needs sound."""
    audio: Source
    """Plays files of speech, with motion of its own."""
    environment: Mapping[str, str]
    """The environment, for keys."""
    now_us: Callable[[], int]
    """A monotonic clock."""
    telemetry: Telemetry
    unix_time_us: Callable[[], int]
    """The wall clock, for spans."""
    start: Start
    """Starts a background task of the source, by a name and a coroutine that runs until it is cancelled."""


@dataclass(frozen=True, slots=True)
class SourcePlugin:
    """How a source is set up. Importing the module that holds it must be cheap: `open` imports what the source needs."""

    settings: type[Any]
    """A dataclass whose fields are made by `avatar_relay.settings.setting`: the source's table in the configuration."""
    open: Callable[[Any, SourceContext], AbstractAsyncContextManager[Callable[[str], Source]]]
    """Sets the source up with its settings, once for the relay; gives a function that makes the source of a device, by the device's
    name. Raises `ConfigError` if a package or a key is missing. Leaving it takes the source down."""
    fixed: Mapping[str, Any] | None = None
    """Values of fields of `settings` that are not settings."""
    variables: tuple[str, ...] = ()
    """Names of environment variables of its own, without prefix and the source's name, such as `API_KEY`. `open` reads them."""

    def section(self, name: str) -> Section:
        """The source's settings as a section of the relay's."""
        return Section.of(self.settings, name, variables=tuple(f"{name.upper()}_{variable}" for variable in self.variables))

    def make_settings(self, given: Given) -> Any:
        """The settings from what was given. Raises `ConfigError`."""
        return given.make(self.settings, **(self.fixed or {}))


def installed_plugins() -> dict[str, SourcePlugin]:
    """All sources that can be set up, by name. Raises `ConfigError` if a package's entry point cannot be used."""
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
        except Exception as error:  # code of another package
            raise ConfigError(f"{origin}: cannot be loaded: {type(error).__name__}: {error}") from error
        if not isinstance(plugin, SourcePlugin):
            raise ConfigError(f"{origin}: {entry.value} is not a relay_server.sources.plugins.SourcePlugin")
        plugins[entry.name] = plugin
    return plugins
