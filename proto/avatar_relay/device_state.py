"""State of a device's parts, and operators' commands to devices, as plain values. Directions as in `messages`."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """Settings that operators changed, by name, each as text; `revision` as in `Volume`.

    `refused` is set by the device: by name, the reasons why it refused the last change; the values are then the previous ones.
    """

    values: tuple[tuple[str, str], ...] = ()
    revision: int = 0
    refused: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Restart:
    """R→D: the program must restart."""


@dataclass(frozen=True, slots=True)
class Identify:
    """R→D: show the device's name."""


@dataclass(frozen=True, slots=True)
class Update:
    """R→D: the machine must install the newest release."""


class PartState(enum.Enum):
    """State of a part of a device. `UNHEARD`: audio plays without a sound card."""

    UNSPECIFIED = "unknown"
    STARTING = "starting"
    RUNNING = "running"
    FAILING = "failing"
    UNHEARD = "unheard"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a device, for display.

    Name, state, and a description of what is in use; why no better one is in use (empty if it is the best); the number of restarts after
    failures, and the reason of the last one.
    """

    name: str
    state: PartState
    what: str
    reason: str = ""
    restarts: int = 0
    restart_reason: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """D→R: the state of all parts."""

    parts: tuple[Part, ...]
