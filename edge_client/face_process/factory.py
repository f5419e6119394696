"""Renderers provided by other packages and by applications."""

from __future__ import annotations

from collections.abc import Callable

from edge_client import renderers
from edge_client.config import EdgeConfig
from edge_client.face.renderer import Renderer

RendererFactory = Callable[[EdgeConfig], Renderer]
"""Opens a renderer. Called on the thread that then draws. Raises `ScreenError` if it cannot draw here."""


def open_installed(config: EdgeConfig) -> Renderer:
    """Open the renderer of the package that `config.renderer` names. Raises `ConfigError` if it cannot be loaded, and its own errors."""
    factory: RendererFactory = renderers.load(config.renderer)
    return factory(config)
