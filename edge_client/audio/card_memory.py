"""Data stored for each card across restarts: the buffer size that it needs, and its delay beyond the reported one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from avatar_relay.desk_settings import OUTPUT_OFFSET_MS
from edge_client.state import StateFile, StateWriter

logger = logging.getLogger(__name__)

FILE_NAME = "sound.json"
MAX_CARDS = 32
"""Maximum number of cards; the oldest entries are dropped first."""
_BUFFERS_US = (1, 500_000)
_OFFSETS_US = (OUTPUT_OFFSET_MS[0] * 1_000, OUTPUT_OFFSET_MS[1] * 1_000)


class CardMemory:
    """Entries by card, in a file of the state folder; without a folder, for this run only. Not thread-safe."""

    def __init__(self, folder: Path | None) -> None:
        """Read the file. Blocks for as long as the disk does; invalid entries are ignored."""
        file = StateFile(folder / FILE_NAME) if folder is not None else None
        content = file.read() if file is not None else {}
        self._writer = StateWriter(file) if file is not None else None
        self.buffers_us: dict[str, int] = _entries(content, "buffers_us", _BUFFERS_US)
        self.offsets_us: dict[str, int] = _entries(content, "offsets_us", _OFFSETS_US)

    def learn(self, key: str, buffer_us: int) -> None:
        """Store the buffer size that a card needs."""
        self._put(self.buffers_us, key, buffer_us)

    def calibrate(self, key: str, offset_us: int) -> None:
        """Store a card's delay beyond the reported one."""
        self._put(self.offsets_us, key, offset_us)

    def close(self) -> bool:
        """Write pending changes; returns whether the last entries are on the disk."""
        if self._writer is None:
            return False
        self._writer.close()
        return self._writer.written == self._content()

    def _put(self, known: dict[str, int], key: str, value: int) -> None:
        known.pop(key, None)
        known[key] = value
        while len(known) > MAX_CARDS:
            known.pop(next(iter(known)))
        if self._writer is not None:
            self._writer.put(self._content())

    def _content(self) -> dict[str, Any]:
        return {"buffers_us": dict(self.buffers_us), "offsets_us": dict(self.offsets_us)}


def _entries(content: dict[str, Any], name: str, bounds: tuple[int, int]) -> dict[str, int]:
    told = content.get(name, {})
    entries = told.items() if isinstance(told, dict) else ()
    known = {key: value for key, value in entries if type(value) is int and bounds[0] <= value <= bounds[1]}
    if len(known) < len(entries) or not isinstance(told, dict):
        logger.warning("%s has invalid entries, which are ignored", FILE_NAME)
    return dict(list(known.items())[:MAX_CARDS])
