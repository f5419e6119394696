"""Installers that are interrupted, at every change that they make, or that run at the same time: the next run completes the work."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avatar_relay.installer import commands
from avatar_relay.installer.plan import DEVICE
from avatar_relay.installer.process import InstallError, InstallInterrupted, interruptible, only_one, run
from avatar_relay.installer.release import SoftwareRelease
from avatar_relay.installer.unfinished import UnfinishedChange, read_unfinished
from tests.installer.releases import FakeBuilds, managed
from tests.installer.test_commands import install
from tests.lab.data import PROJECT_ROOT
from tests.lab.service_manager import ServiceLab, answer_all, listen


class Killed(BaseException):
    """Stands for a SIGKILL."""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBuilds]:
    """The machine that the command changes."""
    with managed(tmp_path) as made:
        monkeypatch.setattr(commands, "Machine", lambda root, systemctl: made)
        yield made


def killed_at(machine: FakeBuilds, step: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run the installer, which is killed when it calls a method of the machine."""

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(machine, step, kill)
        with pytest.raises(Killed):
            install(*arguments)


@pytest.mark.parametrize("step", ["put_units", "enable"])
def test_a_first_installation_that_was_killed_is_completed(step: str, machine: FakeBuilds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after the version was linked: units, commands and the running service follow."""
    killed_at(machine, step, monkeypatch, "--name", "lobby")
    assert machine.linked("current") is not None and machine.unfinished is not None
    assert install() == 0
    assert machine.service(DEVICE).active == "active"
    assert (machine.root / "usr/local/bin/edge-client").is_symlink()
    assert machine.is_wanted(DEVICE) and machine.unfinished is None
    assert machine.read_settings(DEVICE) == 'device_id = "lobby"\n'


def test_settings_of_a_killed_run_take_effect(machine: FakeBuilds, monkeypatch: pytest.MonkeyPatch) -> None:
    """They were written, but the service was not restarted."""
    assert install("--name", "lobby") == 0
    killed_at(machine, "reload", monkeypatch, "--rotation", "90")
    assert install("--rotation", "90") == 0
    assert (machine.root / "var/log/edge-client.service.log").read_text().count("started") == 2


def test_a_release_that_is_taken_back_takes_its_settings_along(machine: FakeBuilds, monkeypatch: pytest.MonkeyPatch) -> None:
    """The previous version might refuse them."""
    assert install("--name", "lobby") == 0
    before = machine.linked("current")
    machine.behaviour = "crashes"
    monkeypatch.setattr(commands, "own_release", lambda _: SoftwareRelease("2", ()))
    assert install("--rotation", "90") == 1
    assert machine.read_settings(DEVICE) == 'device_id = "lobby"\n'
    assert machine.linked("current") == before and machine.unfinished is None


def test_a_failed_self_test_changes_no_settings(machine: FakeBuilds) -> None:
    """Nothing was changed, as the error says."""
    machine.behaviour = "untested"
    assert install("--name", "lobby") == 1
    assert machine.read_settings(DEVICE) is None and machine.unfinished is None


def test_a_service_that_did_not_run_is_tried_again(machine: FakeBuilds) -> None:
    """A second run of a first installation that failed does not report success."""
    machine.behaviour = "crashes"
    assert install() == install() == 1


def test_a_record_is_read_as_written_and_a_damaged_one_is_a_first_installation() -> None:
    change = UnfinishedChange("1", (DEVICE.unit,), {"edge.toml": None, "relay.toml": "x = 1\n"})
    assert read_unfinished(change.as_text()) == change
    for text in ("", "{", "[]", '{"before": null}'):
        assert read_unfinished(text) == UnfinishedChange()


def test_an_interrupted_command_is_ended_with_its_children(tmp_path: Path) -> None:
    """Nothing goes on writing after the installer has ended."""
    started = tmp_path / "started"
    script = f"import signal, subprocess, sys; subprocess.run(['sh', '-c', 'echo $$ >{started}; exec sleep 60'])"

    def interrupt() -> None:
        wait_until(lambda: started.exists() and started.read_text() != "")
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=interrupt, daemon=True)
    watcher.start()
    with pytest.raises(InstallInterrupted, match="SIGTERM"), interruptible():
        run(sys.executable, "-IS", "-c", script, limit_s=20, what="sleeping")
    wait_until(lambda: not Path(f"/proc/{started.read_text().strip()}").exists())


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for it, for ten seconds at most."""
    end_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end_s
        threading.Event().wait(0.02)


def test_a_second_installer_waits_also_for_what_a_killed_one_left_running(tmp_path: Path) -> None:
    """The lock is inherited by commands."""
    said = list[str]()
    with only_one(tmp_path, said.append):
        left = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        threading.Timer(0.3, left.kill).start()
        with only_one(tmp_path, said.append):
            assert left.wait(10) < 0
    finally:
        left.kill()
    assert said == ["another installation is running here; waiting until it ends"]


def test_waiting_for_a_second_installer_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avatar_relay.installer.process.LOCK_S", 0)
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(InstallError, match="another installation"), only_one(tmp_path, lambda _: None):
        pass
    os.close(holder)


# --- every step ------------------------------------------------------------------------------------------------------


@contextmanager
def served(folder: Path) -> Iterator[tuple[Path, str]]:
    """A machine in a folder, whose service manager answers other processes; the second value is its socket."""
    root, socket = folder / "root", folder / "socket"
    lab, listener = ServiceLab(root), listen(socket)
    threading.Thread(target=answer_all, args=(lab, listener), daemon=True).start()
    try:
        yield root, str(socket)
    finally:
        listener.close()
        lab.close()


def program(root: Path, socket: str, number: int, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installer in a process, interrupted at a step."""
    command = [sys.executable, "-m", "tests.installer.interrupted", str(root), socket, str(number), name, *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=100, check=False)


def state(root: Path) -> dict[str, str]:
    """Every file and link that the installer made, with its content; not the logs of services."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and not name.startswith("var/log/"):
            found[name] = path.read_text(encoding="utf-8")
    return found


FIRST, LATER = ("--name", "lobby"), ("--rotation", "90")


def begun(root: Path, socket: str, scenario: str) -> tuple[str, ...]:
    """Bring a machine to where a scenario begins; returns the arguments of the run that is interrupted."""
    (root / "release").write_text("1", encoding="ascii")
    if scenario == "install":
        return FIRST
    assert program(root, socket, 0, "SIGKILL", *FIRST).returncode == 0
    (root / "release").write_text("2", encoding="ascii")
    if scenario == "upgrade":
        return LATER
    assert program(root, socket, 0, "SIGKILL", *LATER).returncode == 0
    return ("uninstall", "--purge") if scenario == "uninstall" else ("rollback",)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
@pytest.mark.parametrize("scenario", ["install", "upgrade", "uninstall"])
def test_interrupted_at_every_step(scenario: str, name: str, tmp_path: Path) -> None:
    """The same command, given again, leaves the machine as if it had not been interrupted."""
    with served(tmp_path / "whole") as (root, socket):
        arguments = begun(root, socket, scenario)
        done = program(root, socket, 0, name, *arguments)
        assert done.returncode == 0, done.stderr
        steps, whole = int(done.stdout.split()[-1]), state(root)
    assert steps > 10
    for number in range(1, steps + 1, 1 if name == "SIGKILL" else 4):
        with served(tmp_path / str(number)) as (root, socket):
            begun(root, socket, scenario)
            cut = program(root, socket, number, name, *arguments)
            if name == "SIGINT":
                assert cut.returncode == 130, (number, cut.stderr)
                assert cut.stderr == "scripts/install: error: interrupted by SIGINT; the same command finishes what was begun\n"
            else:
                assert cut.returncode == -9, number
            again = program(root, socket, 0, name, *arguments)
            assert again.returncode == 0, (number, again.stderr)
            assert state(root) == whole, number
    print(f"{scenario}, {name}: {steps} steps")  # noqa: T201
