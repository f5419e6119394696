"""Each file and descriptor operation on the access file fails in each way: nothing fails open, is lost or left behind."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest

from avatar_relay.errors import ConfigError
from relay_server.access.guard import Guard
from relay_server.access.scopes import Role
from relay_server.access.store import AccessFile
from relay_server.access.tls import HotCertificate, TlsFiles
from tests.file_faults import ERRORS, OPERATIONS, Failing
from tests.relay_server.access.guarded import Access, Authority, now_s
from tests.relay_server.access.test_revocation import Doors

TLS_OPERATIONS = (
    (os, "stat"),
    (io, "open"),
    (ssl.SSLContext, "load_cert_chain"),
    (ssl.SSLContext, "load_verify_locations"),
    (grpc, "ssl_server_certificate_configuration"),
)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_change_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """A revocation that reports no failure is in the file; one that failed can be repeated. A symbolic link stays one."""
    called: set[str] = set()
    for after in range(80):
        folder, links = tmp_path / str(after), tmp_path / f"links {after}"
        folder.mkdir()
        links.mkdir()
        Access(folder)
        (links / "access.json").symlink_to(folder / "access.json")
        access = Access(links)
        access.add(Role.OPERATOR, "ann", devices=("*",))
        with monkeypatch.context() as patched:
            failing = Failing(patched, error, after)
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
        assert [path.name for path in links.iterdir() if path.is_symlink()] == ["access.json"] == os.listdir(links)
        called |= failing.called
        if not failing.failed:
            break
    else:
        pytest.fail("never came through")
    assert called == {name for _, name in OPERATIONS}


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_a_revocation_counts_whatever_failed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Effective at the first check after the fault; until then an admitted caller stays, and nobody else is admitted."""
    for after in range(20):
        folder = tmp_path / str(after)
        folder.mkdir()
        doors = Doors(folder)
        doors.access.revoke(Role.OPERATOR, "ann")
        with monkeypatch.context() as patched:
            failing = Failing(patched, error, after, lasts=3)
            for _ in range(4):
                await doors.guard.look_after()
        await doors.guard.look_after()
        assert not doors.is_let_in()
        if not failing.failed:
            break
    else:
        pytest.fail("never came through")
    assert after > 3


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_new_certificate_counts_whatever_failed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """At the first connection after the fault; until then the previous one is used, with its fingerprint, and its clients' authority."""
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    pairs = [[path.read_bytes() for path in (*authority.issue("localhost"), made.certificate)] for made in (authority, other)]
    files = TlsFiles(tmp_path / "relay.pem", tmp_path / "relay.key", tmp_path / "clients.pem")
    called: set[str] = set()
    for after in range(40):
        put(files, pairs[0])
        hot = HotCertificate(files, now_s)
        before, old = hot.sha256, hot._configuration
        put(files, pairs[1])
        with monkeypatch.context() as patched:
            failing = Failing(patched, error, after, 3, TLS_OPERATIONS)
            answers = []
            for _ in range(4):
                answers.append(hot._latest())
                assert (hot.sha256 == before) == (hot._configuration is old)
        answers.append(hot._latest())
        assert len([answer for answer in answers if answer is not None]) == 1
        assert hot.sha256 != before
        called |= failing.called
        if not failing.failed:
            break
    else:
        pytest.fail("never came through")
    assert called == {name for _, name in TLS_OPERATIONS}


def put(files: TlsFiles, contents: Sequence[bytes]) -> None:
    """Write certificate, key and authority."""
    for path, content in zip(files.by_setting.values(), contents, strict=True):
        path.write_bytes(content)


async def test_a_refused_file_counts_once_its_mode_is_right(tmp_path: Path) -> None:
    """Its content and time stay: a revocation in it would be overlooked for good."""
    doors = Doors(tmp_path)
    doors.access.revoke(Role.OPERATOR, "ann")
    doors.access.path.chmod(0o666)
    await doors.guard.look_after()
    assert doors.is_let_in()
    doors.access.path.chmod(0o600)
    await doors.guard.look_after()
    assert not doors.is_let_in()


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
