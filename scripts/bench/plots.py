"""Plots of a report: bars on a logarithmic scale for the contest, lines for growth. Drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, GRID = (255, 255, 255), (40, 40, 46), (226, 226, 230)
OURS, OTHERS = (38, 102, 190), (168, 172, 180)
WIDTH, ROW, LEFT, RIGHT, TOP = 1_000, 24, 245, 110, 50
PANEL, APART = 260, 24
"""Height of a panel; points closer than this share the first one's label."""


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font."""
    return ImageFont.load_default(size)


def plain(text: str) -> str:
    """`text` reduced to characters of Pillow's built-in font."""
    return text.translate({ord("→"): "to", ord("×"): "x", ord("µ"): "u"})


def bars(title: str, groups: Mapping[str, Mapping[str, float]], unit: str, path: Path) -> None:
    """One labelled bar per contender in each group; a floor, which is not a usable relay, is hollow."""
    values = [value for group in groups.values() for value in group.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    rows = sum(len(group) + 1 for group in groups.values())
    picture = Image.new("RGB", (WIDTH, TOP + rows * ROW + 40), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((20, 14), title, fill=INK, font=font(18))

    def x(value: float) -> float:
        return LEFT + (math.log10(value) - low) / max(high - low, 1) * (WIDTH - LEFT - RIGHT)

    for decade in range(low, high + 1):
        draw.line((x(10.0**decade), TOP, x(10.0**decade), TOP + rows * ROW), fill=GRID)
        draw.text((x(10.0**decade), TOP + rows * ROW + 20), f"{10.0**decade:g}", fill=INK, font=font(13), anchor="ms")
    draw.text((WIDTH - RIGHT + 40, TOP + rows * ROW + 20), plain(unit), fill=INK, font=font(13), anchor="ls")
    top = TOP
    for name, group in groups.items():
        draw.text((20, top + 4), plain(name), fill=INK, font=font(15))
        top += ROW
        for contender, value in group.items():
            draw.text((40, top + 4), contender, fill=INK, font=font(13))
            colour = OURS if contender.startswith("ours") else OTHERS
            inside = PAPER if contender.startswith("floor") else colour
            draw.rectangle((LEFT, top + 4, x(value), top + ROW - 4), fill=inside, outline=colour)
            draw.text((x(value) + 6, top + 4), f"{value:.3g}", fill=INK, font=font(13))
            top += ROW
    picture.save(path)


def lines(title: str, curves: Sequence[tuple[str, Mapping[str, float]]], path: Path) -> None:
    """Panels, two per row, each with a curve and its points; both axes start at 0."""
    picture = Image.new("RGB", (WIDTH, TOP + math.ceil(len(curves) / 2) * PANEL), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((20, 14), title, fill=INK, font=font(18))
    for number, (label, curve) in enumerate(curves):
        _panel(draw, number % 2 * WIDTH // 2, TOP + number // 2 * PANEL, label, curve)
    picture.save(path)


def _panel(draw: ImageDraw.ImageDraw, x0: int, y0: int, label: str, curve: Mapping[str, float]) -> None:
    left, right, top, bottom = x0 + 60, x0 + WIDTH // 2 - 50, y0 + 50, y0 + PANEL - 40
    draw.text((left, y0 + 8), plain(label), fill=INK, font=font(14))
    xs, ys = [float(key) for key in curve], list(curve.values())
    points = [(left + x / max(xs) * (right - left), bottom - y / max(ys) * (bottom - top)) for x, y in zip(xs, ys, strict=True)]
    draw.line((left, top, left, bottom, right, bottom), fill=INK)
    draw.line(points, fill=OURS, width=2)
    told = -math.inf
    for (px, py), x, y in zip(points, xs, ys, strict=True):
        draw.ellipse((px - 4, py - 4, px + 4, py + 4), fill=OURS)
        if px - told >= APART:
            told = px
            draw.text((px + 4, py - 20), f"{y:.3g}", fill=INK, font=font(12))
            draw.text((px - 8, bottom + 6), f"{x:g}", fill=INK, font=font(12))
