"""The access file on disk: read when it changed, written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
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
    return _version(os.stat(path))


def _version(found: os.stat_result) -> Version:
    return found.st_ino, found.st_mtime_ns, found.st_size


class AccessFile:
    """One access file; reading blocks, for as long as a disk does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_version: Version | None = None
        """The version that was read whole; one that could not be read for a passing reason is not it."""

    def load(self) -> Directory:
        """What it says now. Raises `ConfigError`, also if it cannot be read."""
        try:
            return self._read()
        except OSError as error:
            raise ConfigError(f"access_file: {self.path} cannot be read: {error.strerror}") from error

    def load_if_changed(self) -> Directory | None:
        """What it says, where this version was not read yet.

        Raises `ConfigError` if it is wrong, once for each version. Whatever else it raises (`OSError`, `MemoryError`) says nothing of
        the file: this version counts as unread, and the next call tries again.
        """
        return None if version_of(self.path) == self._read_version else self._read()

    def _read(self) -> Directory:
        found, data = _read_whole(self.path)
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

        A file that is not there yet is empty. Where the path is a symbolic link, what it points to is changed. Raises `ConfigError`;
        the file then says what it said before, or, if only its folder could not be written to the disk, already the new.
        """
        try:
            real = Path(os.path.realpath(self.path))
            real.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(real.with_name(real.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                cell = [self.load() if _exists(real) else Directory()]
                yield cell
                _write_whole(real, to_text(cell[0]).encode())
            finally:
                os.close(lock)
        except OSError as error:
            raise ConfigError(f"access_file: {self.path} cannot be written: {error.strerror}") from error


def _exists(path: Path) -> bool:
    """Whether a file is there. What could not be found out is an error: an empty file in place of a full one shuts everybody out."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _read_whole(path: Path) -> tuple[os.stat_result, bytes]:
    """A file and its content, a byte more than is allowed where it is too large. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        data = bytearray()
        while len(data) <= MAX_FILE_BYTES and (part := os.read(descriptor, 1 << 20)):
            data += part
        return found, bytes(data)
    finally:
        os.close(descriptor)


def _write_whole(path: Path, data: bytes) -> None:
    """Beside it, to the disk, then in its place; owner and mode stay, so that the relay can read what root wrote.

    What is beside it has always the same name: one that a killed program left behind goes with the next change.
    """
    new = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        os.unlink(new)
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if _exists(path):
                before = os.stat(path)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
                with suppress(PermissionError):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(new)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
