"""What is written over the face: a page for people, a sign in a corner, figures for the one who sets it up. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Page:
    """A few words over the whole picture, to be read from two metres; the face goes on behind them."""

    title: str
    text: str = ""
    qr: str = ""
    """Drawn as a QR code beside the words, where the package segno is installed."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """All that is written over one picture. Equal overlays look the same, so a renderer paints a new one only if it changed."""

    page: Page | None = None
    sign: str = ""
    """In the upper right corner; empty for none."""
    figures: tuple[str, ...] = ()
    """Lines in the upper left corner."""
    is_dark: bool = False
    """Nothing is shown: the screen sleeps."""


NOTHING, DARK = Overlay(), Overlay(is_dark=True)
