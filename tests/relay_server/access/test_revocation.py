"""A revocation takes effect as soon as the access file is readable again, whatever made it unreadable; so does a certificate."""

from __future__ import annotations

import errno
import logging
import os
import pathlib
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from avatar_relay.errors import ConfigError
from relay_server.access.admission import PresentedCredentials
from relay_server.access.guard import Guard
from relay_server.access.scopes import Role
from relay_server.access.store import AccessFile
from relay_server.access.tls import HotCertificate, TlsFiles
from relay_server.errors import RequestError
from tests.relay_server.access.guarded import Access, Authority, now_s

LIST = "/avatar_relay.v1.AdminService/ListDevices"


class FailingPath(type(pathlib.Path())):  # type: ignore[misc]
    """A path whose file fails to open while `failures` contains an error."""

    failures: list[BaseException]

    def __fspath__(self) -> str:
        if self.failures:
            raise self.failures[0]
        return str(self)

    def open(self, *arguments: Any, **more: Any) -> Any:
        """Like `Path.open`."""
        if self.failures:
            raise self.failures[0]
        return super().open(*arguments, **more)

    def read_bytes(self) -> bytes:
        """Like `Path.read_bytes`."""
        with self.open("rb") as file:
            return bytes(file.read())


def failing(path: Path) -> FailingPath:
    """Return a path that does not fail yet."""
    made = FailingPath(path)
    made.failures = []
    return made


@contextmanager
def out_of_descriptors() -> Iterator[None]:
    """Fail as in a process without free descriptors."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class Doors:
    """A guard over an access file with one operator, on a stopped clock."""

    def __init__(self, folder: Path) -> None:
        self.access = Access(folder)
        self.token = self.access.add(Role.OPERATOR, "ann", devices=("*",))
        self.path = failing(self.access.path)
        self.now_us = 0
        self.guard = Guard(AccessFile(self.path), {}, now_us=lambda: self.now_us, unix_time_us=lambda: 0)

    def is_let_in(self) -> bool:
        """Whether the operator is admitted."""
        try:
            self.guard._admission.leave(
                self.guard._admission.enter(LIST, PresentedCredentials(self.token), "ipv4:127.0.0.1:1", self.now_us, 0)
            )
        except RequestError:
            return False
        return True


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), OSError(errno.ENFILE, "full"), MemoryError(), RuntimeError("x")]
)
async def test_revocation_counts_when_the_trouble_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    """Effective at the next check; until then the last content read applies, and the log stays short."""
    doors = Doors(tmp_path)
    doors.access.revoke(Role.OPERATOR, "ann")
    doors.path.failures.append(error)
    for _ in range(20):
        await doors.guard.look_after()
        doors.now_us += 1_000_000
    assert doors.is_let_in()
    assert 1 <= len([record for record in caplog.records if "cannot be read, the previous one stays" in record.message]) <= 3
    doors.path.failures.clear()
    await doors.guard.look_after()
    assert not doors.is_let_in()


async def test_revocation_counts_after_descriptors_ran_out(tmp_path: Path) -> None:
    doors = Doors(tmp_path)
    await doors.guard.look_after()  # its thread and its modules are loaded
    doors.access.revoke(Role.OPERATOR, "ann")
    with out_of_descriptors():
        await doors.guard.look_after()
    assert doors.is_let_in()
    await doors.guard.look_after()
    assert not doors.is_let_in()


async def test_file_that_is_gone_for_a_while_is_read_again(tmp_path: Path) -> None:
    doors = Doors(tmp_path)
    doors.access.revoke(Role.OPERATOR, "ann")
    away = doors.access.path.rename(tmp_path / "away")
    await doors.guard.look_after()
    assert doors.is_let_in()
    away.rename(doors.access.path)
    await doors.guard.look_after()
    assert not doors.is_let_in()


async def test_wrong_file_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It has no effect until it is changed again."""
    doors = Doors(tmp_path)
    doors.access.path.write_text("{")
    for _ in range(3):
        await doors.guard.look_after()
    assert doors.is_let_in()
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_certificate_is_read_when_the_trouble_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost", "relay")
    path = failing(key)
    hot = HotCertificate(TlsFiles(certificate, path), now_s)
    assert hot._latest() is None
    authority.issue("localhost", "relay")
    path.failures.append(error)
    assert [hot._latest() for _ in range(3)] == [None] * 3
    assert len([record for record in caplog.records if "cannot be read now" in record.message]) == 1
    path.failures.clear()
    assert hot._latest() is not None
    assert hot._latest() is None


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\xff")])
def test_start_needs_a_file_that_can_be_read(tmp_path: Path, change: Callable[[Path], Any]) -> None:
    path = Access(tmp_path).path
    change(path)
    with pytest.raises(ConfigError, match="access_file"):
        AccessFile(path).load()
