"""Which monitor of a desktop or console a setting selects. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_client.errors import ScreenError


@dataclass(frozen=True, slots=True)
class Monitor:
    """A monitor, as SDL reports it."""

    name: str
    size: tuple[int, int]


def choose(wanted: str, monitors: Sequence[Monitor]) -> int:
    """Return the number of the monitor `wanted`: a number from 0, or a unique prefix of a name in any case; empty for the first.

    Raises `ScreenError` that lists the monitors available.
    """
    if not wanted:
        return 0
    if wanted.isascii() and wanted.isdigit():
        found = [number for number in range(len(monitors)) if number == int(wanted)]
    else:
        found = [number for number, monitor in enumerate(monitors) if monitor.name.casefold().startswith(wanted.casefold())]
    if len(found) == 1:
        return found[0]
    problem = "matches several monitors" if found else "is not a monitor"
    listed = "; ".join(f"[{number}] {monitor.name} ({monitor.size[0]}x{monitor.size[1]})" for number, monitor in enumerate(monitors))
    raise ScreenError(f"monitor {wanted!r} {problem}: {listed}")
