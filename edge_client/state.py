"""State that a device keeps across restarts: small JSON files in its state folder.

A file is replaced as a whole: written to a temporary file, synchronised to the disk, renamed, and the folder synchronised. After a power
cut it holds either the last or the previous content. An unusable file counts as missing, and is logged in one line. A failed write is
repeated later.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

logger = logging.getLogger(__name__)

MAX_STATE_BYTES = 65_536
"""Size limit: a larger file was not written by this program."""
PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.EAGAIN, errno.ESTALE})
"""Errors of a read that say nothing about the file."""
AGAIN_S = 30.0
"""Delay from a failed write to the next attempt."""
WRITE_AFTER_S = 2.0
"""Delay from a change to the write: all changes within it are written at once."""
PROGRAM = "edge-client"


def state_folder(environment: Mapping[str, str], home: Callable[[], Path]) -> Path | None:
    """The folder for state: systemd's `STATE_DIRECTORY`, else `edge-client` in `XDG_STATE_HOME` or in `~/.local/state`.

    None if there is no home folder either. The folder need not exist: `StateFile.write` creates it. `home` may raise `RuntimeError`.
    """
    by_systemd = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if by_systemd:
        return Path(by_systemd)
    by_user = Path(environment.get("XDG_STATE_HOME", ""))
    if by_user.is_absolute():  # the XDG specification ignores relative paths
        return by_user / PROGRAM
    try:
        return home() / ".local" / "state" / PROGRAM
    except RuntimeError:
        return None


class Disk(Protocol):
    """File system operations for state files. Each blocks, and raises `OSError`."""

    def read(self, path: Path, limit: int) -> bytes:
        """Read at most `limit` bytes of a file."""
        ...

    def make_folder(self, path: Path) -> None:
        """Create a folder and its parents, accessible by the owner only. Does nothing if it exists."""
        ...

    def write(self, path: Path, data: bytes) -> None:
        """Create or overwrite a file."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Replace `target` by `source`."""
        ...

    def sync(self, path: Path) -> None:
        """Wait until a file's content, or a folder's entries, are on the disk."""
        ...


class LocalDisk:
    """The local file system."""

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
        """See `Disk`. Only the owner may read the file."""
        with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            os.fchmod(file.fileno(), 0o600)
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
    """One JSON object in a file. Not thread-safe."""

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self.path = path
        self._disk = disk or LocalDisk()
        self._failed = False
        """True if the last write failed, which has been logged."""

    def read(self) -> dict[str, Any]:
        """The object; empty if the file is missing or unusable. The caller checks the values."""
        try:
            return self.load()
        except OSError as error:
            logger.warning("%s cannot be read and is ignored: %s", self.path, error.strerror)
            return {}

    def load(self) -> dict[str, Any]:
        """Like `read`, but raises `OSError` if the file cannot be read."""
        try:
            data = self._disk.read(self.path, MAX_STATE_BYTES + 1)
        except FileNotFoundError:
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
        """Replace the object; returns whether it is on the disk now. Blocks for as long as the disk does.

        Of consecutive failures only the first is logged; after one the file keeps its previous content.
        """
        beside = self.path.with_name(self.path.name + ".new")
        try:
            self._disk.make_folder(self.path.parent)
            self._disk.write(beside, json.dumps(content).encode())
            self._disk.sync(beside)
            self._disk.rename(beside, self.path)
            self._disk.sync(self.path.parent)
        except (OSError, MemoryError) as error:
            if not self._failed:
                reason = getattr(error, "strerror", "") or type(error).__name__
                logger.warning("%s cannot be written; until it can, its content is lost at the next start: %s", self.path, reason)
            self._failed = True
            return False
        self._failed = False
        return True


class StateWriter:
    """Writes a file shortly after a change, on its own thread, so that no caller waits for the disk. Thread-safe.

    A failed write is repeated every `again_s` until it succeeds, or there is other content.
    """

    def __init__(self, file: StateFile, wait_s: float = WRITE_AFTER_S, again_s: float = AGAIN_S) -> None:
        self._file = file
        self._wait_s = wait_s
        self._again_s = again_s
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: Mapping[str, Any] | None = None
        self._timer: threading.Timer | None = None
        self._is_again = False
        """Whether the timer is for a repetition."""
        self.written: Mapping[str, Any] | None = None
        """The content last written, and on the disk; None: nothing yet."""

    def put(self, content: Mapping[str, Any]) -> None:
        """Schedule a write of `content`, which must not change any more, `wait_s` after the first unwritten change."""
        with self._lock:
            is_again, self._is_again, self._waiting = self._is_again, False, content
            if is_again and self._timer is not None:
                self._timer.cancel()
            if is_again or self._timer is None:
                self._write_in(self._wait_s)

    def close(self) -> None:
        """Write pending content now. Blocks for as long as the disk does; `put` may be called again."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self._write()

    def _write_in(self, wait_s: float) -> None:
        """Needs the lock."""
        timer = threading.Timer(wait_s, self._write)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # no thread can be started: the next change, or `close`, tries again
            self._timer = None
        else:
            self._timer = timer

    def _write(self) -> None:
        """Write pending content; if that fails, it stays pending unless there is newer content."""
        with self._writing:
            with self._lock:
                content, self._waiting, self._timer = self._waiting, None, None
            if content is None:
                return
            if self._file.write(content):
                self.written = content
                return
            with self._lock:
                if self._waiting is None:
                    self._waiting, self._is_again = content, True
                    self._write_in(self._again_s)
