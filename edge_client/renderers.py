"""Names of renderers: the built-in ones, and those of other installed packages.

A package adds a renderer by an entry point in the group `edge_client.renderers`. Its name is a value of the setting `renderer`; it refers
to a `RendererFactory` of `edge_client.face_process.factory`. `docs/extending.md` shows one.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from avatar_relay.errors import ConfigError
from avatar_relay.setting_types import SettingType

GROUP = "edge_client.renderers"
BUILT_IN = ("auto", "gles", "flat", "none")


def renderer_name() -> SettingType:
    """A setting that accepts the name of a renderer."""

    def read(value: object) -> str:
        if value not in BUILT_IN and value not in installed():
            raise ValueError(f"takes one of {', '.join((*BUILT_IN, *sorted(installed())))}")
        return str(value)

    return SettingType(read, "|".join((*BUILT_IN, "NAME")), f"{', '.join(BUILT_IN)}, or the name of an installed renderer")


def installed() -> frozenset[str]:
    """Names of the renderers of other packages."""
    return frozenset(entry.name for entry in entry_points(group=GROUP)) - frozenset(BUILT_IN)


def load(name: str) -> Any:
    """The object that the entry point of an installed renderer refers to. Raises `ConfigError`."""
    (entry, *_) = entry_points(group=GROUP, name=name)
    try:
        found = entry.load()
    except Exception as error:  # code of another package
        raise ConfigError(f"renderer: {name} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigError(f"renderer: {name}: {entry.value} is not a function that takes an EdgeConfig and gives a Renderer")
    return found
