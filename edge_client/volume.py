"""The volume of the device. The device stores it across restarts of device and relay.

Rules
- Each change gets a revision: one more than the last, or the received one if that is greater.
- A change is written with the device's other settings a little later (see `edge_client.state`), and reported to the relay when it is on the
  disk. Without a file, or with a disk that fails, nothing is reported: the relay then keeps the change, and sends it again.
- The volume in `welcome` is a change if its revision is above the device's own. A relay that does not number its changes sends 1.0 for a
  device that nobody has set there, which changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from avatar_relay.messages import Volume
from edge_client.state import Disk, StateFile, StateWriter

logger = logging.getLogger(__name__)

MAX_REVISION = 1 << 53
FIELD = "volume"
NEVER_SET = Volume()


class StoredVolume:
    """The volume, and its entry in a settings file. Belongs to one thread."""

    def __init__(self, file: StateFile | None = None) -> None:
        """Read `file`; None: nothing is stored. Other entries in the file are preserved."""
        self.volume = NEVER_SET
        self._others: dict[str, Any] = {}
        self._writer: StateWriter | None = None
        if file is not None:
            self._others = file.read()
            self._writer = StateWriter(file)
            try:
                self.volume = _read(self._others[FIELD]) if FIELD in self._others else NEVER_SET
            except ValueError as error:
                logger.warning("%s: %s %s; it is ignored", file.path, FIELD, error)
        self._told = self.volume

    @property
    def is_set(self) -> bool:
        """Whether it was ever set."""
        return self.volume.revision > 0

    def set(self, volume: Volume) -> None:
        """Apply a change from any source."""
        self.volume = replace(volume, revision=max(self.volume.revision + 1, volume.revision))
        if self._writer is not None:
            self._writer.put(self._others | {FIELD: _written(self.volume)})

    def welcome(self, volume: Volume) -> None:
        """Apply the volume that a relay sends when the device attaches."""
        is_news = volume.revision > self.volume.revision
        if volume.revision == 0:
            is_news = _pair(volume) not in (_pair(NEVER_SET), _pair(self.volume))
        if is_news:
            self.set(volume)

    def news(self) -> Volume | None:
        """The volume that is on the disk, if it has not been reported."""
        written = self._writer.written if self._writer is not None else None
        if self.volume == self._told or written is None or written[FIELD] != _written(self.volume):
            return None
        self._told = self.volume
        return self._told

    def close(self) -> None:
        """Write pending changes now. Blocks for as long as the disk does."""
        if self._writer is not None:
            self._writer.close()


def settings_file(folder: Path, device_id: str, disk: Disk | None = None) -> StateFile:
    """The settings file of one device: several on one machine have one file each."""
    return StateFile(folder / f"device-{device_id}.json", disk)


def _pair(volume: Volume) -> tuple[float, bool]:
    return volume.gain, volume.muted


def _written(volume: Volume) -> dict[str, Any]:
    return {"gain": volume.gain, "muted": volume.muted, "revision": volume.revision}


def _read(content: object) -> Volume:
    if not isinstance(content, Mapping):
        raise ValueError("is not an object")
    gain, muted, revision = (content.get(name) for name in ("gain", "muted", "revision"))
    if isinstance(gain, bool) or not isinstance(gain, int | float) or not 0 <= gain <= 1:
        raise ValueError("has no gain from 0 to 1")
    if not isinstance(muted, bool):
        raise ValueError("does not say whether it is muted")
    if type(revision) is not int or not 0 <= revision <= MAX_REVISION:
        raise ValueError("has no revision")
    return Volume(float(gain), muted, revision)
