"""A figure beside its limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """A measured figure and its limit, both as text, and whether the limit is held."""

    name: str
    figure: str
    limit: str
    held: bool

    def __str__(self) -> str:
        """For a table cell: a figure beyond its limit is bold."""
        text = f"{self.figure} ({self.limit})"
        return text if self.held else f"**{text}**"


def missed(bars: Iterable[Bar]) -> list[str]:
    """The names of the limits that were exceeded."""
    return [bar.name for bar in bars if not bar.held]


def table(bars: Sequence[Bar]) -> str:
    """A Markdown table with one limit in each row."""
    rows = [f"| {bar.name} | {bar.figure} | {bar.limit} | {'held' if bar.held else '**missed**'} |" for bar in bars]
    return "\n".join(["| what | figure | bar | |", "|---|---|---|---|", *rows])
