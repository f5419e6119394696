"""The overlay on the face: a page for people, a sign in a corner, figures for the installer. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """A few words over the whole picture, readable from two metres; the face stays visible behind them."""

    title: str
    text: str = ""
    qr: str = ""
    """Text drawn as a QR code beside the words, if the package segno is installed."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """Everything written over one picture. Equal overlays look the same, so a renderer repaints only on a change."""

    page: Page | None = None
    sign: str = ""
    """Sign in the upper right corner; empty for none."""
    figures: tuple[str, ...] = ()
    """Lines in the upper left corner."""
    is_dark: bool = False
    """Show nothing: the screen sleeps."""


NOTHING, DARK = Overlay(), Overlay(is_dark=True)
