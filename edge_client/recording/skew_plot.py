"""A plot of the skew over time: how far sound and face were apart, and where people would begin to notice.

Two panels with one time axis: above, scaled to the data; below, scaled to the limits of ITU-R BT.1359
(+45 ms sound early, -125 ms sound late).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from edge_client.lip_sync.meter import ALARM_EARLY_US, ALARM_LATE_US, SkewRecord, SkewStats

EARLY_LIMIT_MS = ALARM_EARLY_US / 1_000
LATE_LIMIT_MS = ALARM_LATE_US / 1_000

SIZE_PX = (1000, 640)
_LEFT, _RIGHT, _TOP, _BETWEEN, _BOTTOM = 86, 150, 44, 34, 56
_PAPER = (255, 255, 255)
_INK = (40, 40, 46)
_GRID = (226, 226, 230)
_DOT = (38, 102, 190)
_LIMIT = (200, 40, 40)
_MARK = (20, 130, 70)

Point = tuple[float, float]
"""Seconds since the first picture, skew in ms."""


@dataclass(frozen=True, slots=True)
class _Panel:
    """A rectangle with two scales."""

    box: tuple[int, int, int, int]
    seconds: tuple[float, float]
    skew_ms: tuple[float, float]

    def x(self, second: float) -> float:
        low, high = self.seconds
        return self.box[0] + (second - low) / (high - low) * (self.box[2] - self.box[0])

    def y(self, value_ms: float) -> float:
        low, high = self.skew_ms
        return self.box[3] - (value_ms - low) / (high - low) * (self.box[3] - self.box[1])


def draw_skew(record: SkewRecord, path: Path) -> None:
    """Write the plot; with a line of text instead of points if nothing was measured."""
    figures, series = record.stats(), record.series
    points = [((point.time_us - series[0].time_us) / 1e6, point.skew_us / 1e3) for point in series]
    picture = Image.new("RGB", SIZE_PX, _PAPER)
    draw = ImageDraw.Draw(picture)
    title = "Skew: PTS heard minus PTS shown, at each picture (positive: sound early)"
    draw.text((_LEFT, 12), title, fill=_INK, font=_font(17))
    if not points:
        draw.text((_LEFT, SIZE_PX[1] // 2), "no picture with motion was shown while sound was heard", fill=_INK, font=_font(17))
    else:
        for panel in _panels(points, figures):
            _draw_panel(draw, panel, points, figures)
        draw.text((_LEFT, SIZE_PX[1] - 26), "seconds since the first picture with motion", fill=_INK, font=_font(14))
    picture.save(path)


def _panels(points: Sequence[Point], figures: SkewStats) -> tuple[_Panel, _Panel]:
    width, height = SIZE_PX
    tall = (height - _TOP - _BETWEEN - _BOTTOM) // 2
    seconds = (points[0][0], max(points[-1][0], points[0][0] + 1e-3))
    near = max(1.0, 1.15 * figures.max_abs_ms)
    upper = _Panel((_LEFT, _TOP, width - _RIGHT, _TOP + tall), seconds, (-near, near))
    low = min(LATE_LIMIT_MS - 25, -1.05 * figures.max_abs_ms)
    high = max(EARLY_LIMIT_MS + 25, 1.05 * figures.max_abs_ms)
    lower = _Panel((_LEFT, _TOP + tall + _BETWEEN, width - _RIGHT, _TOP + 2 * tall + _BETWEEN), seconds, (low, high))
    return upper, lower


def _draw_panel(draw: ImageDraw.ImageDraw, panel: _Panel, points: Sequence[Point], figures: SkewStats) -> None:
    left, top, right, bottom = panel.box
    low, high = panel.skew_ms
    for value in _ticks(low, high, 7):
        draw.line([(left, panel.y(value)), (right, panel.y(value))], fill=_GRID)
        draw.text((left - 8, panel.y(value)), f"{value:g} ms", fill=_INK, font=_font(13), anchor="rm")
    for second in _ticks(*panel.seconds, 12):
        draw.line([(panel.x(second), top), (panel.x(second), bottom)], fill=_GRID)
        draw.text((panel.x(second), bottom + 4), f"{second:g}", fill=_INK, font=_font(13), anchor="mt")
    draw.line([(left, panel.y(0)), (right, panel.y(0))], fill=_INK)
    for second, value in points:
        x, y = panel.x(second), panel.y(value)
        draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=_DOT)
    lines = [(figures.p50_ms, _MARK, f"p50 {figures.p50_ms:+.1f} ms"), (figures.p99_ms, _MARK, f"|p99| {figures.p99_ms:.1f} ms")]
    lines.append((-figures.p99_ms, _MARK, ""))
    if high > EARLY_LIMIT_MS and low < LATE_LIMIT_MS:
        lines += [(EARLY_LIMIT_MS, _LIMIT, "+45 ms: early"), (LATE_LIMIT_MS, _LIMIT, "-125 ms: late")]
    _draw_lines(draw, panel, lines)
    draw.rectangle(panel.box, outline=_INK)


def _draw_lines(draw: ImageDraw.ImageDraw, panel: _Panel, lines: Sequence[tuple[float, tuple[int, int, int], str]]) -> None:
    """Lines across the panel with labels at the right, which are moved apart if they would overlap."""
    left, _, right, _ = panel.box
    last_y = float("-inf")
    for value, colour, label in sorted(lines, key=lambda line: -line[0]):
        y = panel.y(value)
        draw.line([(left, y), (right, y)], fill=colour)
        if label:
            last_y = max(y, last_y + 16)
            draw.text((right + 8, last_y), label, fill=colour, font=_font(13), anchor="lm")


def _ticks(low: float, high: float, at_most: int) -> list[float]:
    """Round values within the range, at most `at_most`."""
    rough = (high - low) / at_most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = -(-low // step)
    return [round((first + number) * step, 9) for number in range(int((high - first * step) / step + 1e-9) + 1)]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
