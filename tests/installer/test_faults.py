"""Mistakes of a newcomer, and machines on which nothing can be installed: one line each, and nothing is changed."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from avatar_relay.installer import commands, packages
from avatar_relay.installer.atomic_files import write_atomically
from avatar_relay.installer.faults import cause_of, last_error
from avatar_relay.installer.machine import BUILD_BYTES, Machine
from avatar_relay.installer.packages import check_user, need_debian
from avatar_relay.installer.plan import DEVICE, RELAY, desktop_of
from avatar_relay.installer.process import InstallError, run
from avatar_relay.installer.release import SoftwareRelease
from tests.lab.data import PROJECT_ROOT


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--name my.lobby!", "--name: 'my.lobby!' is not 1 to 64 characters"),
        ("--relay nowhere", "--relay: 'nowhere' is not HOST:PORT"),
        ("--role relay --listen nowhere", "--listen: 'nowhere' is not HOST:PORT"),
        ("--listen 127.0.0.1:1", "--listen is a setting of a relay"),
        ("--role relay --name lobby", "--name: settings of a device"),
        ("--purge", "--purge belongs to uninstall"),
        ("rollback --name lobby", "rollback changes no settings: leave out --name"),
        ("uninstall --set a=b", "uninstall changes no settings: leave out --set"),
        ("--set nonsense", "--set nonsense: write KEY=VALUE"),
        ("rollback", "there is no version to go back to"),
        ("update", "nothing is installed here"),
    ],
)
def test_a_wrong_request_is_one_line_and_changes_nothing(
    arguments: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is downloaded or built."""
    assert commands.main([*arguments.split(), "--root", str(tmp_path)], program="scripts/install", role="device") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"scripts/install: error: {line}") and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", ["--rotation 45", "--nmae lobby", "--settle -1", "--settle nan", "setup", "--role tv"])
def test_a_wrong_command_line_is_one_line(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        commands.main(arguments.split(), program="scripts/install", role="device")
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.startswith("scripts/install: error: ") and said.count("\n") == 1


def test_a_root_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["--root", "/nowhere"], program="scripts/install", role="device") == 1
    assert capsys.readouterr().err == "scripts/install: error: /nowhere: No such file or directory\n"


def test_no_answers_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-D at a question."""

    def ended(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert commands.main(["--root", str(tmp_path)], program="scripts/install", role="device") == 1
    assert "the questions were not answered" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


APT = """W: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  Temporary failure resolving 'deb.debian.org'
W: Some index files failed to download. They have been ignored, or old ones used instead."""
PIP = """WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by
'NewConnectionError('<pip._vendor...>: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')'
ERROR: Could not find a version that satisfies the requirement hatchling (from versions: none)
ERROR: No matching distribution found for hatchling"""


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        (APT, "check the connection"),
        (PIP, "check the connection"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "the disk is full"),
        ("mkdir: cannot create directory '/opt/x': Read-only file system", "read-only"),
        ("ssl.SSLCertVerificationError: certificate verify failed: certificate is not yet valid", "date and time"),
        ("gcc: fatal error: cannot execute", ""),
    ],
)
def test_causes_are_known_by_the_output(output: str, advice: str) -> None:
    found = cause_of(output)
    assert (advice in found and "\n" not in found) if advice else found == ""


def test_else_the_last_error_is_told() -> None:
    assert last_error("E: Unable to locate package gcc\n\nsee apt(8)\n") == "E: Unable to locate package gcc"
    assert last_error("ok  sound\nfailed   gles  no picture\nok  vector\n") == "failed gles no picture"
    assert (last_error("this\nthat\n"), last_error(" \n")) == ("that", "it printed nothing")


def test_a_failed_command_is_one_line_with_its_output_apart() -> None:
    with pytest.raises(InstallError) as caught:
        run("sh", "-c", "echo begin; echo 'E: broken' >&2; exit 3", what="trying it")
    assert (str(caught.value), caught.value.output) == ("trying it: sh ended with status 3: E: broken", "begin\nE: broken")
    with pytest.raises(InstallError, match="trying it: /no/such/program: No such file or directory"):
        run("/no/such/program", what="trying it")
    with pytest.raises(InstallError, match=r"trying it: it took longer than 0.1 s"):
        run("sleep", "60", limit_s=0.1, what="trying it")


def test_a_full_or_read_only_disk_is_found_before_anything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=BUILD_BYTES - 1))
    with pytest.raises(InstallError, match="/opt/avatar-relay: 999 MB are free, but 1000 are needed"):
        machine.build(SoftwareRelease("1", ("nothing",)))
    assert machine.versions() == []
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(InstallError, match="read-only file system"):
        machine.need_writable()


def test_a_build_that_fails_leaves_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk it would keep the disk full."""
    machine = Machine(tmp_path)
    monkeypatch.setattr("avatar_relay.installer.machine.PYTHON", "/bin/false")
    with pytest.raises(InstallError, match="making the environment"):
        machine.build(SoftwareRelease("1", ("nothing",)))
    assert machine.versions() == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "unit"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert [one.name for one in tmp_path.iterdir()] == ["unit"] and path.read_text() == "old"


def test_the_user_of_the_service_is_never_someones_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would get the groups, and be deleted by a purge."""
    entries = {"avatar": "/home/avatar", "avatar-relay": "/nonexistent", "root": "/root"}

    def found(name: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", int(name != "root"), 1, "", entries[name], "/usr/sbin/nologin"))

    monkeypatch.setattr("pwd.getpwnam", found)
    with pytest.raises(InstallError, match="avatar is an account of this machine, with home /home/avatar"):
        check_user(DEVICE)
    assert check_user(RELAY)
    with pytest.raises(InstallError, match="not root"):
        check_user(desktop_of("root"))
    with pytest.raises(InstallError, match="no such user"):
        check_user(desktop_of("nobody-here"))


def test_the_user_is_deleted_when_its_last_process_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped service may still be ending its children, and userdel refuses a user with processes."""
    entry = pwd.struct_passwd((DEVICE.user, "x", 990, 990, "", packages.HOME, packages.SHELL))
    left = [[7, 8], [8], []]
    deleted: list[object] = []
    monkeypatch.setattr(pwd, "getpwall", lambda: [entry])
    monkeypatch.setattr(packages, "processes_of", lambda uid: left.pop(0))
    monkeypatch.setattr(packages, "run", lambda *command, what: deleted.append((*command, len(left))))
    packages.remove_user(DEVICE)
    assert deleted == [("userdel", DEVICE.user, 0)]


def test_the_processes_of_a_user() -> None:
    assert os.getpid() in packages.processes_of(os.getuid())
    assert packages.processes_of(2**31 - 2) == []


def test_what_is_no_debian_of_64_bits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "armv7l")
    with pytest.raises(InstallError, match="armv7l; the project needs a 64-bit system"):
        need_debian()
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InstallError, match="this is no Debian 12 or 13: dpkg-query: No such file or directory"):
        need_debian()


def test_an_old_python_is_one_line(tmp_path: Path) -> None:
    """Such as Debian 11's; and a machine without Python."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2\nexit 1\n')
    old.chmod(0o755)
    for python, line in ((old, "Python 3.9.2 is too old"), (tmp_path / "none", "no .*/none; install it: sudo apt-get install python3")):
        script = f"source scripts/lib.sh; SYSTEM_PYTHON={python}; need_python"
        done = subprocess.run(["bash", "-c", script], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 1 and done.stderr.count("\n") == 1

        assert re.match(f"error: {line}", done.stderr)
