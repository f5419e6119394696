"""The access file on disk: read when it changes, written atomically."""

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

Version = tuple[int, int, int, int]


def version_of(path: Path) -> Version:
    """What distinguishes one version of a file from the next. Raises `OSError`."""
    return _version(os.stat(path))


def _version(found: os.stat_result) -> Version:
    # ctime: `chmod o-w` makes a refused file valid, and a restored copy may keep its old mtime
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


class AccessFile:
    """One access file. Its methods block, for as long as the disk does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_version: Version | None = None
        """The last version that was fully read. A version that could not be read for a transient reason does not count."""

    def load(self) -> Directory:
        """Read the file. Raises `ConfigError` if it is invalid or cannot be read."""
        try:
            return self._read()
        except OSError as error:
            raise ConfigError(f"access_file: {self.path} cannot be read: {error.strerror}") from error

    def load_if_changed(self) -> Directory | None:
        """Read the file if its version changed; None if not.

        Raises `ConfigError` if the content is invalid, once for each version. Other exceptions (`OSError`, `MemoryError`) do not concern
        the content: the version counts as unread, and the next call tries again.
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
        """Change the file, under a lock: yields a list of one directory, whose replacement is written at the end of the block.

        A missing file counts as empty. If the path is a symbolic link, its target is changed. Raises `ConfigError`; the file then has its
        previous content, or the new content if only the folder could not be synced to disk.
        """
        try:
            real = _resolved(self.path)
            os.makedirs(real.parent, exist_ok=True)
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


def _resolved(path: Path) -> Path:
    """The path that a symbolic link points to, which need not exist. Raises `OSError` if a link cannot be read: it would be replaced."""
    try:
        return Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:
        return Path(os.path.realpath(path))


def _exists(path: Path) -> bool:
    """Whether a file exists. Raises `OSError` if that cannot be determined: treating a full file as empty would lock every caller out."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _read_whole(path: Path) -> tuple[os.stat_result, bytes]:
    """A file's status and content; one byte more than the limit if it is too large. Raises `OSError`."""
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
    """Write a temporary file, sync it, and rename it into place. Keeps owner and mode, so that the relay can read what root wrote.

    The temporary file always has the same name, so that one left by a killed program is removed by the next change.
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
