"""What is known of each card, over restarts: the buffer that it needs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from edge_client.state import StateFile, StateWriter

logger = logging.getLogger(__name__)

FILE_NAME = "sound.json"
MAX_CARDS = 32
"""Of more, those that were learned first are forgotten."""
_LONGEST_US = 500_000


class CardMemory:
    """Buffers by card, in a file of the state folder; without a folder, for this run. Not thread-safe."""

    def __init__(self, folder: Path | None) -> None:
        """Read the file. Blocks for as long as the disk does; entries that cannot be are ignored."""
        file = StateFile(folder / FILE_NAME) if folder is not None else None
        self._writer = StateWriter(file) if file is not None else None
        self.buffers_us: dict[str, int] = _buffers(file.read()) if file is not None else {}

    def learn(self, key: str, buffer_us: int) -> None:
        """Keep the buffer that a card needs."""
        self.buffers_us.pop(key, None)
        self.buffers_us[key] = buffer_us
        while len(self.buffers_us) > MAX_CARDS:
            self.buffers_us.pop(next(iter(self.buffers_us)))
        if self._writer is not None:
            self._writer.put({"buffers_us": dict(self.buffers_us)})

    def close(self) -> None:
        """Write what waits."""
        if self._writer is not None:
            self._writer.close()


def _buffers(content: dict[str, Any]) -> dict[str, int]:
    told = content.get("buffers_us", {})
    entries = told.items() if isinstance(told, dict) else ()
    known = {key: value for key, value in entries if type(value) is int and 0 < value <= _LONGEST_US}
    if len(known) < len(entries) or not isinstance(told, dict):
        logger.warning("%s has entries that cannot be, which are ignored", FILE_NAME)
    return dict(list(known.items())[:MAX_CARDS])
