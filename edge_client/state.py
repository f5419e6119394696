"""What a device keeps over restarts: small JSON files in its state folder.

A file is replaced as a whole: written beside it, synchronised to the disk, renamed, and the folder synchronised. After a power cut it
holds what was last written, or what was there before. A file that cannot be used counts as missing, and the log says so in one line.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

logger = logging.getLogger(__name__)

MAX_STATE_BYTES = 65_536
"""A larger file is not one of ours."""
WRITE_AFTER_S = 2.0
"""From a change to the write: all changes within that time are one write."""
PROGRAM = "edge-client"


def state_folder(environment: Mapping[str, str], home: Callable[[], Path]) -> Path | None:
    """The folder for state: systemd's `STATE_DIRECTORY`, else `edge-client` in `XDG_STATE_HOME` or in `~/.local/state`.

    None if there is no home folder either. The folder need not exist: `StateFile.write` creates it. `home` raises `RuntimeError`.
    """
    by_systemd = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if by_systemd:
        return Path(by_systemd)
    by_user = Path(environment.get("XDG_STATE_HOME", ""))
    if by_user.is_absolute():  # the specification ignores any other
        return by_user / PROGRAM
    try:
        return home() / ".local" / "state" / PROGRAM
    except RuntimeError:
        return None


class Disk(Protocol):
    """The steps of reading and writing a file. Each blocks, and raises `OSError`."""

    def read(self, path: Path, limit: int) -> bytes:
        """At most `limit` bytes of a file."""
        ...

    def make_folder(self, path: Path) -> None:
        """Create a folder and those above it, for the owner only; nothing if it exists."""
        ...

    def write(self, path: Path, data: bytes) -> None:
        """Create or overwrite a file."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Replace `target` by `source`."""
        ...

    def sync(self, path: Path) -> None:
        """Wait until a file's content, or a folder's names, are on the disk."""
        ...


class LocalDisk:
    """This machine's file system."""

    def read(self, path: Path, limit: int) -> bytes:
        """See `Disk`."""
        with path.open("rb") as file:
            return file.read(limit)

    def make_folder(self, path: Path) -> None:
        """See `Disk`."""
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        self.sync(path.parent)

    def write(self, path: Path, data: bytes) -> None:
        """See `Disk`. What a device keeps is its own user's alone."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o600)
            file.write(data)

    def rename(self, source: Path, target: Path) -> None:
        """See `Disk`."""
        source.replace(target)

    def sync(self, path: Path) -> None:
        """See `Disk`."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class StateFile:
    """One JSON object in a file. Only one thread at a time may use it."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self.path = path
        self._disk = disk or LocalDisk()
        self._failed = False
        """The last write failed, which the log has said."""

    def read(self) -> dict[str, Any]:
        """The object; empty if there is no file, or none that can be used. The caller checks the values."""
        try:
            data = self._disk.read(self.path, MAX_STATE_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            logger.warning("%s cannot be read and is ignored: %s", self.path, error.strerror)
            return {}
        try:
            content = json.loads(data.decode()) if len(data) <= MAX_STATE_BYTES else None
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            logger.warning("%s is not a JSON object of at most %s bytes and is ignored", self.path, MAX_STATE_BYTES)
            return {}
        return content

    def write(self, content: Mapping[str, Any]) -> bool:
        """Replace the object; whether it is on the disk now. Blocks for as long as the disk does.

        Of failures that follow one another the first one is logged; the content of the file is then what it was before.
        """
        beside = self.path.with_name(self.path.name + ".new")
        try:
            self._disk.make_folder(self.path.parent)
            self._disk.write(beside, json.dumps(content).encode())
            self._disk.sync(beside)
            self._disk.rename(beside, self.path)
            self._disk.sync(self.path.parent)
        except OSError as error:
            if not self._failed:
                logger.warning("%s cannot be written; its content is lost at the next start: %s", self.path, error.strerror)
            self._failed = True
            return False
        self._failed = False
        return True


class StateWriter:
    """Writes a file a little after it was asked to, on a thread of its own, so that no caller waits for the disk. Thread-safe."""

    def __init__(self, file: StateFile, wait_s: float = WRITE_AFTER_S) -> None:
        self._file = file
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: Mapping[str, Any] | None = None
        self._timer: threading.Timer | None = None
        self.written: Mapping[str, Any] | None = None
        """What was last written, and is on the disk; None: nothing yet."""

    def put(self, content: Mapping[str, Any]) -> None:
        """Let `content`, which must not change any more, be written `wait_s` after the first change that is not written yet."""
        with self._lock:
            self._waiting = content
            if self._timer is None:
                self._timer = threading.Timer(self._wait_s, self._write)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Write now what waits. Blocks for as long as the disk does; `put` may be called again."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self._write()

    def _write(self) -> None:
        with self._writing:
            with self._lock:
                content, self._waiting, self._timer = self._waiting, None, None
            if content is not None and self._file.write(content):
                self.written = content
