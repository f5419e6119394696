"""The access file on disk: read when it changed, written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from avatar_relay.errors import ConfigError
from relay_server.access.file_format import from_text, to_text
from relay_server.access.identities import Directory

MAX_FILE_BYTES = 64 << 20

Version = tuple[int, int, int]


def version_of(path: Path) -> Version:
    """What tells one version of a file from the next. Raises `OSError`."""
    return _version(path.stat())


def _version(found: os.stat_result) -> Version:
    return found.st_ino, found.st_mtime_ns, found.st_size


class AccessFile:
    """One access file; reading blocks, for as long as a disk does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_version: Version | None = None
        """The version that was read whole; one that could not be read for a passing reason is not it."""

    def load(self) -> Directory:
        """What it says now. Raises `ConfigError`, also where it cannot be read."""
        try:
            return self._read()
        except OSError as error:
            raise ConfigError(f"access_file: {self.path} can not be read: {error.strerror}") from error

    def load_if_changed(self) -> Directory | None:
        """What it says, where this version was not read yet.

        Raises `ConfigError` where it is wrong, once for each version. Whatever else it raises (`OSError`, `MemoryError`) says nothing of
        the file: this version counts as unread, and the next call tries again.
        """
        return None if version_of(self.path) == self._read_version else self._read()

    def _read(self) -> Directory:
        with self.path.open("rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(MAX_FILE_BYTES + 1)
        try:
            directory = self._checked(found, data)
        except ConfigError as error:
            self._read_version = _version(found)
            raise error if str(error).startswith("access_file") else ConfigError(f"access_file: {self.path}: {error}") from None
        self._read_version = _version(found)
        return directory

    def _checked(self, found: os.stat_result, data: bytes) -> Directory:
        if found.st_mode & stat.S_IWOTH:
            raise ConfigError(f"access_file: everybody on this machine may write {self.path}; do chmod o-w")
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(f"access_file: {self.path} is larger than {MAX_FILE_BYTES} bytes")
        try:
            return from_text(data.decode())
        except UnicodeDecodeError as error:
            raise ConfigError(f"access_file: {self.path} is not UTF-8") from error

    @contextmanager
    def changing(self) -> Iterator[list[Directory]]:
        """Change it: gives a list of one directory, whose replacement is written at the end; nobody else writes meanwhile.

        A file that is not there yet is empty. Raises `ConfigError`.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(self.path.name + ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                cell = [self.load() if self.path.exists() else Directory()]
                yield cell
                self._write(to_text(cell[0]))
        except OSError as error:
            raise ConfigError(f"access_file: {self.path} can not be written: {error.strerror}") from error

    def _write(self, text: str) -> None:
        """Beside it, to the disk, then in its place; owner and mode stay, so that the relay can read what root wrote."""
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                if self.path.exists():
                    before = self.path.stat()
                    os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
                    with suppress(PermissionError):
                        os.fchown(file.fileno(), before.st_uid, before.st_gid)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
