"""Real child processes that work, hang, stop, crash and flood standard error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edge_client.bounded_stderr import STDERR_BYTES
from edge_client.children.child import Child
from edge_client.children.supervision import ChildLimits, ChildState
from edge_client.children.supervisor import Supervisor
from tests.lab.data import PROJECT_ROOT

MODULE = "tests.edge_client.children.acting_child"
PATIENCE_S = 20.0
LIMITS = ChildLimits(progress_us=60_000_000, first_progress_us=60_000_000, pauses_us=(0, 200_000))


class Family:
    """A supervisor and its children; each behaves as the next of `acts`, the last one repeatedly."""

    def __init__(self, *acts: str, limits: ChildLimits = LIMITS) -> None:
        self.acts = list(acts)
        self.children: list[Child] = []
        self.ends: list[str] = []
        self.supervisor = Supervisor("acting", limits, self._start, self._ended)

    def _start(self) -> Child:
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        child = Child(MODULE, arguments=[act])
        child.channel.settimeout(PATIENCE_S)
        self.children.append(child)
        return child

    def _ended(self, child: Child, how: str) -> bool:
        self.ends.append(how)
        return False

    def wait_for(self, what: Callable[[], bool]) -> float:
        """Wait until a condition is true; returns the seconds it took."""
        begin = time.monotonic()
        while not what():
            assert time.monotonic() < begin + PATIENCE_S
            time.sleep(0.01)
        return time.monotonic() - begin

    def is_running(self, count: int) -> bool:
        """Whether the child of this number works."""
        return len(self.children) == count and self.supervisor.standing.state is ChildState.RUNNING


@contextmanager
def family(*acts: str, limits: ChildLimits = LIMITS) -> Iterator[Family]:
    """A family with a working child."""
    found = Family(*acts, limits=limits)
    found.supervisor.start()
    try:
        yield found
    finally:
        found.supervisor.close(grace_s=1.0)


def lives(pid: int) -> bool:
    """Whether the process exists."""
    return Path(f"/proc/{pid}/cmdline").exists()


@pytest.mark.alone
def test_a_killed_child_is_replaced_at_once() -> None:
    """The last one ends in order when the supervisor closes."""
    with family("work") as found:
        assert found.supervisor.started_once.wait(PATIENCE_S)
        found.wait_for(lambda: found.is_running(1))
        os.kill(found.children[0].pid, signal.SIGKILL)
        assert found.wait_for(lambda: found.is_running(2)) < 2.0
    assert found.ends == ["it was killed by SIGKILL", "it ended with exit code 0"]


@pytest.mark.alone
def test_a_stopped_child_is_noticed_by_its_beats() -> None:
    """SIGSTOP: it is killed after two missed beats."""
    with family("stop", "work") as found:
        found.wait_for(lambda: found.is_running(1))
        assert found.wait_for(lambda: found.is_running(2)) < 4.5
    assert found.ends[0] == "it was killed by SIGKILL"


def test_a_child_that_hangs_is_killed_with_the_reason() -> None:
    """A child that beats without progress is killed; it also ignores the request to end."""
    with family("idle", limits=replace(LIMITS, first_progress_us=1_500_000)) as found:
        found.wait_for(lambda: bool(found.ends))
        assert found.supervisor.standing.reason == "no progress for 1.5 s"
        found.wait_for(lambda: len(found.children) == 2)
    assert not any(lives(child.pid) for child in found.children)


def test_a_crash_is_told_with_its_last_words() -> None:
    """A crash is reported with the last output, and attempts have pauses in between."""
    with family("crash") as found:
        found.wait_for(lambda: len(found.ends) >= 2)
        assert "SIGABRT; it wrote: assertion failed in the driver" in found.supervisor.standing.reason


def test_a_flood_to_standard_error_stays_small() -> None:
    """The child continues, and the log stays small."""
    with family("flood") as found:
        found.wait_for(lambda: found.is_running(1))
        links = Path(f"/proc/{found.children[0].pid}/fd/2")
        assert "stderr" in os.readlink(links)
        assert os.stat(links).st_size == STDERR_BYTES


def test_what_a_child_inherits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of systemd's; SIGINT is ignored and no signal is blocked; SIGINT of this process is unchanged."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    monkeypatch.setenv("ANOTHER", "kept")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with closing(Child(MODULE, arguments=["more", "tell"])) as child:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
        child.channel.settimeout(PATIENCE_S)
        child.channel.recv(100)
        told = json.loads(child.channel.recv(100_000))
        child.kill()
        while child.exit_text() is None:
            time.sleep(0.01)
    assert told["environment"]["ANOTHER"] == "kept"
    assert not told["environment"].keys() & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    assert (told["ignores"], told["blocks"], told["arguments"]) == (True, [], ["more", "tell"])


PARENT = f"""
import time
from edge_client.children.child import Child
child = Child({MODULE!r}, arguments=["idle"])
print(child.channel.recv(100).decode(), flush=True)
time.sleep(60)
"""


def test_a_child_dies_with_its_parent() -> None:
    """Even if the parent is too busy, and the child checks nothing."""
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert lives(pid)
        parent.kill()
    until = time.monotonic() + PATIENCE_S
    while lives(pid):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_child_that_cannot_be_started_is_tried_again() -> None:
    """Running out of descriptors is a failure like any other."""

    def refuse() -> Child:
        attempts.append(time.monotonic())
        raise OSError(24, "Too many open files")

    attempts: list[float] = []
    supervisor = Supervisor("acting", LIMITS, refuse)
    supervisor.start()
    with closing(supervisor):
        while len(attempts) < 3:
            time.sleep(0.01)
        assert "cannot be started: [Errno 24] Too many open files" in supervisor.standing.reason


def test_a_child_is_replaced_for_a_reason_that_others_found() -> None:
    """A child can be replaced from any thread, with the caller's reason."""
    with family("work") as found:
        found.wait_for(lambda: found.is_running(1))
        found.supervisor.replace("the display died")
        found.wait_for(lambda: found.is_running(2))
    assert found.ends[0] == "it was killed by SIGKILL"
