"""What a device tells of its parts, and what operators tell it to be, as plain values. Directions as in `messages`."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """Settings that operators changed, by name, each as text; `revision` as in `Volume`.

    `refused` is the device's: why it did not take the last change, by name; the values are then what they were before.
    """

    values: tuple[tuple[str, str], ...] = ()
    revision: int = 0
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Restart:
    """R→D: the program is to begin anew."""


@dataclass(frozen=True, slots=True)
class Identify:
    """R→D: show which device it is."""


@dataclass(frozen=True, slots=True)
class Update:
    """R→D: the machine is to install the newest release."""


class PartState(enum.Enum):
    """How a part of a device stands. `UNHEARD`: sound is played, and nobody hears it."""

    UNSPECIFIED = "unknown"
    STARTING = "starting"
    RUNNING = "running"
    FAILING = "failing"
    UNHEARD = "unheard"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a device: its name, how it stands, what it is, why it is not better (empty if it is at its best), how often it failed and
    was started again, and why the last time."""

    name: str
    state: PartState
    what: str
    reason: str = ""
    restarts: int = 0
    restart_reason: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """D→R: how all parts stand."""

    parts: tuple[Part, ...]
