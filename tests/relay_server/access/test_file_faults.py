"""Each file and descriptor operation on the access file fails in each way: nothing fails open, is lost or left behind."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from avatar_relay.errors import ConfigError
from relay_server.access import store
from relay_server.access.guard import Guard
from relay_server.access.scopes import Role
from relay_server.access.store import AccessFile
from tests.relay_server.access.guarded import Access
from tests.relay_server.access.test_revocation import Doors

ERRORS = [OSError(number, os.strerror(number)) for number in (errno.EMFILE, errno.ENOSPC, errno.EIO, errno.ENOMEM)] + [MemoryError()]
OPERATIONS = frozenset({"open", "stat", "fstat", "read", "write", "fsync", "replace", "fchmod", "fchown", "unlink"})


class FailingOs:
    """`os` with one operation that fails for this module, after `after` calls and for `lasts` calls."""

    def __init__(self, error: BaseException, after: int, lasts: int = 1) -> None:
        self._error = error
        self._left = after
        self._lasts = lasts

    @property
    def failed(self) -> bool:
        """Whether the operation was reached and failed."""
        return self._left < 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in OPERATIONS:
            return real

        def call(*arguments: Any, **more: Any) -> Any:
            self._left -= 1
            if -self._lasts <= self._left < 0:
                raise self._error
            return real(*arguments, **more)

        return call


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_change_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """A revocation that reports no failure is in the file; one that failed can be repeated."""
    for after in range(40):
        folder = tmp_path / str(after)
        folder.mkdir()
        access = Access(folder)
        access.add(Role.OPERATOR, "ann", devices=("*",))
        failing = FailingOs(error, after)
        with monkeypatch.context() as patched:
            patched.setattr(store, "os", failing)
            try:
                access.revoke(Role.OPERATOR, "ann")
                said = True
            except (ConfigError, MemoryError):
                said = False
        identities = AccessFile(access.path).load().identities
        assert "operator ann" in identities
        assert identities["operator ann"].revoked or not said
        access.revoke(Role.OPERATOR, "ann")
        assert AccessFile(access.path).load().identities["operator ann"].revoked
        assert sorted(path.name for path in folder.iterdir()) == ["access.json", "access.json.lock"]
        if not failing.failed:
            break
    else:
        pytest.fail("never came through")
    assert after > 8


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_a_revocation_counts_whatever_failed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Effective at the first check after the fault; until then an admitted caller stays, and nobody else is admitted."""
    for after in range(20):
        folder = tmp_path / str(after)
        folder.mkdir()
        doors = Doors(folder)
        doors.access.revoke(Role.OPERATOR, "ann")
        failing = FailingOs(error, after, lasts=3)
        monkeypatch.setattr(store, "os", failing)
        for _ in range(4):
            await doors.guard.look_after()
        monkeypatch.setattr(store, "os", os)
        await doors.guard.look_after()
        assert not doors.is_let_in()
        if not failing.failed:
            break
    else:
        pytest.fail("never came through")
    assert after > 3


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    """A file that is kept elsewhere (a mounted secret, a repository) is changed there."""
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    elsewhere.mkdir()
    here.mkdir()
    Access(elsewhere)
    (here / "access.json").symlink_to(elsewhere / "access.json")
    Access(here).add(Role.OPERATOR, "ann", devices=("*",))
    assert (here / "access.json").is_symlink()
    assert "operator ann" in AccessFile(elsewhere / "access.json").load().identities
    assert sorted(path.name for path in here.iterdir()) == ["access.json"]


def test_what_a_killed_program_left_behind_goes(tmp_path: Path) -> None:
    access = Access(tmp_path)
    (tmp_path / ".access.json.new").write_text("half")
    access.add(Role.OPERATOR, "ann", devices=("*",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["access.json", "access.json.lock"]


async def test_a_disk_that_hangs_keeps_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expiry works while the file cannot be read; reading it needs no shared threads."""
    access, goes_on = Access(tmp_path), threading.Event()
    access.add(Role.OPERATOR, "ann", devices=("*",))
    guard = Guard(AccessFile(access.path), {}, now_us=lambda: 0, unix_time_us=lambda: 0)
    monkeypatch.setattr("relay_server.access.guard.LOOK_AFTER_S", 0.05)
    stuck = [asyncio.get_running_loop().run_in_executor(None, goes_on.wait) for _ in range(64)]
    access.revoke(Role.OPERATOR, "ann")
    await guard.look_after()
    assert guard._admission._directory.identities["operator ann"].revoked
    monkeypatch.setattr(AccessFile, "load_if_changed", lambda file: goes_on.wait())
    async with asyncio.timeout(5):
        for _ in range(3):
            await guard.look_after()
    goes_on.set()
    await asyncio.gather(*stuck)
