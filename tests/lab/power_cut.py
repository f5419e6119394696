"""Simulates power cuts: the possible contents of a disk after a cut at any step, by the rules of POSIX.

Until a file is synchronised, the disk may hold any prefix of its content; until its folder is, its old or its new name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


class PowerCutError(Exception):
    """Power was cut: the program stops. Not an `OSError`, which the program would handle."""


@dataclass
class File:
    """A file's content."""

    data: bytes
    is_synced: bool = False


@dataclass
class DiskStandIn:
    """See `edge_client.state.Disk`. Each step first checks whether the power is cut or an error is raised there."""

    steps_left: int | None = None
    """Number of steps before the power is cut; None: never."""
    error: OSError | None = None
    """Raised instead of the power cut."""
    live: dict[Path, File] = field(default_factory=dict)
    on_disk: dict[Path, File] = field(default_factory=dict)

    def _step(self) -> None:
        if self.steps_left == 0:
            raise PowerCutError if self.error is None else self.error
        if self.steps_left is not None:
            self.steps_left -= 1

    def read(self, path: Path, limit: int) -> bytes:
        """See `Disk`."""
        if path not in self.live:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return self.live[path].data[:limit]

    def make_folder(self, path: Path) -> None:
        """See `Disk`."""
        self._step()

    def write(self, path: Path, data: bytes) -> None:
        """See `Disk`. An existing file is truncated and rewritten in place, which affects all its names on the disk."""
        self._step()
        file = self.live.setdefault(path, File(b""))
        file.data, file.is_synced = b"", False
        self._step()
        file.data = data

    def rename(self, source: Path, target: Path) -> None:
        """See `Disk`."""
        self._step()
        self.live[target] = self.live.pop(source)

    def sync(self, path: Path) -> None:
        """See `Disk`."""
        self._step()
        if path in self.live:
            self.live[path].is_synced = True
        else:
            self.on_disk = dict(self.live)

    def after_power_cut(self) -> Iterator[DiskStandIn]:
        """All possible disk states after the power cut."""
        changed = [path for path in {*self.live, *self.on_disk} if self.live.get(path) is not self.on_disk.get(path)]
        for arrived in itertools.product((False, True), repeat=len(changed)):
            names = self.on_disk | {path: self.live.get(path) for path, came in zip(changed, arrived, strict=True) if came}
            files = {path: file for path, file in names.items() if file is not None}
            for kept in itertools.product((0.0, 0.5, 1.0), repeat=len(files)):
                found = {
                    path: File(file.data if file.is_synced else file.data[: int(len(file.data) * part)], is_synced=True)
                    for (path, file), part in zip(files.items(), kept, strict=True)
                }
                yield DiskStandIn(live=dict(found), on_disk=found)
