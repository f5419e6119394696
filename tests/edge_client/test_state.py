"""State that a device keeps over restarts and power cuts."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from avatar_relay.errors import ConfigError
from edge_client.paired import Paired, PairingFile
from edge_client.state import MAX_STATE_BYTES, LocalDisk, StateFile, StateWriter, state_folder
from tests.file_faults import ERRORS, Failing
from tests.lab.power_cut import DiskStandIn, PowerCutError

HOME = Path("/home/avatar")
PAIRED = Paired("127.0.0.1:1", "hall", "lobby", "-----BEGIN CERTIFICATE-----", "localhost", "avr_" + "0" * 16 + "_" + "0" * 64)
FILE = Path("/state/volume.json")
STEPS = 6
"""The steps of one write: folder, emptied file, content, its synchronisation, name, its synchronisation."""


def nobody() -> Path:
    raise RuntimeError("no home")


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/edge-client", "XDG_STATE_HOME": "/x"}, "/var/lib/edge-client"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"STATE_DIRECTORY": "", "XDG_STATE_HOME": "/x"}, "/x/edge-client"),
        ({"XDG_STATE_HOME": "relative"}, "/home/avatar/.local/state/edge-client"),
        ({}, "/home/avatar/.local/state/edge-client"),
    ],
)
def test_the_state_folder_is_systemds_or_the_users(environment: dict[str, str], folder: str) -> None:
    assert state_folder(environment, lambda: HOME) == Path(folder)


def test_without_a_home_there_is_no_state_folder() -> None:
    assert state_folder({}, nobody) is None


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "new" / "folder" / "volume.json")
    assert file.read() == {}
    assert file.write({"gain": 0.25})
    assert file.write({"gain": 0.5, "muted": True})
    assert StateFile(file.path).read() == {"gain": 0.5, "muted": True}
    assert os.listdir(file.path.parent) == ["volume.json"]
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_the_real_disk_synchronises_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}")))
    StateFile(tmp_path / "new" / "volume.json", LocalDisk()).write({})
    assert synced == [str(tmp_path), str(tmp_path / "new" / "volume.json.new"), str(tmp_path / "new")]


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_a_power_cut_loses_at_most_the_last_change(step: int, caplog: pytest.LogCaptureFixture) -> None:
    disk = DiskStandIn()
    file = StateFile(FILE, disk)
    file.write({"gain": 0.25})
    disk.steps_left = step
    if step < STEPS:
        with pytest.raises(PowerCutError):
            file.write({"gain": 0.5})
    else:
        file.write({"gain": 0.5})
    found = [StateFile(FILE, after).read() for after in disk.after_power_cut()]
    assert found
    assert all(one in ({"gain": 0.25}, {"gain": 0.5}) for one in found)
    if step < STEPS - 1:  # before the rename
        assert {"gain": 0.5} not in found
    if step == STEPS:
        assert {"gain": 0.25} not in found
    assert not caplog.records
    for after in disk.after_power_cut():  # leftovers do not affect the next write
        assert StateFile(FILE, after).write({"gain": 0.75})
        assert all(StateFile(FILE, last).read() == {"gain": 0.75} for last in after.after_power_cut())


def test_the_stand_in_catches_a_write_in_place() -> None:
    disk = DiskStandIn()
    StateFile(FILE, disk).write({"gain": 0.25})
    disk.write(FILE, b'{"gain": 0.5}')
    assert b"" in [after.read(FILE, 99) for after in disk.after_power_cut()]


@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failing_disk_costs_one_line_and_keeps_the_file(number: int, step: int, caplog: pytest.LogCaptureFixture) -> None:
    disk = DiskStandIn()
    file = StateFile(FILE, disk)
    file.write({"gain": 0.25})
    disk.steps_left, disk.error = step, OSError(number, os.strerror(number))
    assert not file.write({"gain": 0.5})
    assert not file.write({"gain": 0.5})
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert os.strerror(number) in caplog.text
    disk.steps_left = None
    assert file.read() == ({"gain": 0.25} if step < STEPS - 1 else {"gain": 0.5})
    assert file.write({"gain": 0.75})
    assert file.read() == {"gain": 0.75}


STATE_OPERATIONS = [*((os, name) for name in ("open", "stat", "fchmod", "fsync", "replace", "close")), (io, "open")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_each_operation_on_the_disk_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """A write that reports success is on the disk, and any other one is repeated; a pairing that cannot be read is not a missing one."""
    called: set[str] = set()
    for after in range(40):
        folder = tmp_path / str(after)
        file, pairing = StateFile(folder / "volume.json"), PairingFile(folder)
        assert file.write({"gain": 0.25}) and pairing.write(PAIRED)
        paired: Paired | None = PAIRED
        with monkeypatch.context() as patched:
            failing = Failing(patched, error, after, operations=STATE_OPERATIONS)
            said = file.write({"gain": 0.5})
            with suppress(ConfigError, MemoryError):
                paired = pairing.read()
        assert paired == PAIRED or (paired is None and getattr(error, "errno", 0) == errno.ENOSPC), "no read fails for want of space"
        assert pairing.read() == PAIRED
        assert file.read() == {"gain": 0.5} if said else file.read() in ({"gain": 0.25}, {"gain": 0.5})
        assert file.write({"gain": 0.75}) and file.read() == {"gain": 0.75}
        called |= failing.called
        if not failing.failed:
            break
    else:
        pytest.fail("never came through")
    assert called >= {"open", "stat", "fchmod", "fsync", "replace", "close"}


def test_what_the_disk_did_not_take_is_written_later() -> None:
    """Without a further change."""
    disk = DiskStandIn(steps_left=0, error=OSError(errno.ENOSPC, "full"))
    file, written = StateFile(FILE, disk), threading.Event()
    writer = StateWriter(file, wait_s=0, again_s=0.01)
    real = file.write

    def write(content: Mapping[str, object]) -> bool:
        if done := real(content):
            written.set()
        disk.steps_left = None
        return done

    file.write = write  # type: ignore[method-assign]
    writer.put({"gain": 0.25})
    assert written.wait(10)
    assert file.read() == {"gain": 0.25}


def test_a_change_without_a_free_thread_is_written_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(timer: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Timer, "start", start)
    file = StateFile(FILE, DiskStandIn())
    writer = StateWriter(file)
    writer.put({"gain": 0.25})
    writer.close()
    assert file.read() == {"gain": 0.25}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 60_000, b'{"a": "' + b"x" * MAX_STATE_BYTES + b'"}', b"\0" * 4_096],
    ids=["empty", "torn", "list", "null", "not UTF-8", "deep", "large", "zeros"],
)
def test_a_broken_file_is_told_in_one_line_and_ignored(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "volume.json"
    path.write_bytes(content)
    assert StateFile(path).read() == {}
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    assert StateFile(path).write({"gain": 1.0})
    assert json.loads(path.read_bytes()) == {"gain": 1.0}


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "volume.json").mkdir()
    assert StateFile(tmp_path / "volume.json").read() == {}
    assert "cannot be read" in caplog.text


class CountedFile(StateFile):
    """Reports when it was written."""

    def __init__(self) -> None:
        super().__init__(FILE, DiskStandIn())
        self.written: list[object] = []
        self.came = threading.Event()

    def write(self, content: object) -> bool:
        """Count."""
        self.written.append(content)
        self.came.set()
        return True


def test_changes_that_follow_one_another_are_one_write() -> None:
    file = CountedFile()
    writer = StateWriter(file, wait_s=0.05)
    for gain in range(100):
        writer.put({"gain": gain})
    assert file.came.wait(10)
    writer.close()
    assert file.written == [{"gain": 99}]


def test_closing_writes_what_waits_and_nothing_twice() -> None:
    file = CountedFile()
    writer = StateWriter(file, wait_s=3_600)
    writer.close()
    assert file.written == []
    writer.put({"gain": 1})
    writer.close()
    writer.close()
    assert file.written == [{"gain": 1}]
    writer.put({"gain": 2})
    writer.close()
    assert file.written == [{"gain": 1}, {"gain": 2}]
