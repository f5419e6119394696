"""The kernel's sound cards, read from its files. No library is called, and no device is opened."""

from __future__ import annotations

import re
from pathlib import Path

from edge_client.audio.outputs import Card

_CARD = re.compile(r" *(\d+) \[(\S+) *\]: (?:.*? - )?(.*)")
_DEVICE = re.compile(r"(\d+)-(\d+): .*\bplayback\b")


class CardFiles:
    """Reads /proc/asound and /sys/class/sound, or equivalent files elsewhere."""

    def __init__(self, proc: Path = Path("/proc/asound"), sysfs: Path = Path("/sys/class/sound")) -> None:
        self._proc = proc
        self._sysfs = sysfs

    def cards(self) -> list[Card]:
        """The cards with a playback device, in the kernel's order; none if the kernel has no sound support."""
        devices: dict[int, int] = {}
        for line in _text(self._proc / "pcm").splitlines():
            if found := _DEVICE.match(line):
                devices.setdefault(int(found[1]), int(found[2]))
        cards = [found for line in _text(self._proc / "cards").splitlines() if (found := _CARD.match(line))]
        return [
            Card(number, found[2], found[3].strip(), devices[number], self._path(number))
            for found in cards
            if (number := int(found[1])) in devices
        ]

    def fingerprint(self) -> str:
        """A value that changes whenever a card is added or removed."""
        return _text(self._proc / "cards") + _text(self._proc / "pcm")

    def _path(self, number: int) -> str:
        try:
            return str((self._sysfs / f"card{number}" / "device").resolve(strict=True))
        except (OSError, RuntimeError):
            return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
