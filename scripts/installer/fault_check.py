"""What `scripts/install_check faults` tries on a clean machine: mistakes of a newcomer, machines on which nothing can be installed, and
interruptions. Prints a table with a verdict for each line.

Runs as root in the chroot, in the folder of the clone, on a machine without our packages, user and version.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scripts.installer.check_table import Table, need, nothing_since, run
from scripts.installer.file_list import files_of_machine

BUILD_S, SOON_S = 1_800.0, 60.0
INSTALL = ("scripts/install", "--name", "lobby", "--set", "headless=true", "--settle", "3")
VERSIONS, CURRENT = Path("/opt/avatar-relay/versions"), Path("/opt/avatar-relay/current")
WRONG = (
    ("--rotation", "45"),
    ("--nmae", "lobby"),
    ("--name", "my lobby"),
    ("--relay", "nowhere"),
    ("--listen", "127.0.0.1:52000"),
    ("--set", "headless"),
    ("--settle", "-1"),
    ("--purge",),
    ("--desktop", "nobody-here"),
    ("rollback",),
    ("upgrade",),
)
SMALL_OPT = "mkdir -p /opt && mount -t tmpfs -o size={size} tmpfs /opt && exec "
FILLED = "(until [ -e /opt/avatar-relay/versions/*/bin/pip ]; do sleep 0.2; done; dd if=/dev/zero of=/opt/fill bs=1M 2>/dev/null) & exec "


def refused(*command: str, because: str, limit_s: float = SOON_S, status: int = 1) -> str:
    """Run the installer, which must fail; returns its last line, the only one that reports an error. Raises `CheckError`."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith(("scripts/install: error: ", "error: "))]
    need(done.returncode == status, f"status {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    need(len(lines) == 1 and done.stderr.splitlines()[-1] == lines[0], f"not one line: {done.stderr}")
    need("Traceback" not in done.stderr and because in lines[0], lines[0])
    return lines[0].partition("error: ")[2]


def unchanged(check: Callable[[], str]) -> str:
    """Run a check; nothing may be left by it but packages of Debian."""
    before = files_of_machine()
    said = check()
    nothing_since(before, but_for_packages=True)
    return said


def wrong_flags() -> str:
    """Each is refused before anything is installed."""
    for flags in WRONG:
        refused("scripts/install", *flags, because="", status=2 if flags[0] in ("--rotation", "--nmae", "--settle") else 1)
    return f"{len(WRONG)} refused"


def as_somebody() -> str:
    """Without root."""
    return refused("setpriv", "--reuid=65534", "--clear-groups", "scripts/install", because="sudo scripts/install")


def within(script: str, because: str, limit_s: float = SOON_S) -> str:
    """In a mount namespace that a shell script prepares."""
    return refused("unshare", "--mount", "sh", "-c", script + " ".join(INSTALL), because=because, limit_s=limit_s)


def somebodys_account() -> str:
    """A person is called as the service's user."""
    run("useradd", "--create-home", "avatar")
    try:
        return refused(*INSTALL, because="is an account of this machine, with home /home/avatar")
    finally:
        run("userdel", "--remove", "avatar")


def without_network(because: str) -> str:
    """The namespace has no interface."""
    return refused("unshare", "--net", *INSTALL, because=because, limit_s=BUILD_S)


class Started:
    """An installer that runs."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            INSTALL, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
        )

    def until(self, what: str, reached: Callable[[], bool]) -> None:
        """Wait until it has come somewhere. Raises `CheckError`."""
        end_s = time.monotonic() + BUILD_S
        while not reached():
            need(self._program.poll() is None and time.monotonic() < end_s, f"it ended before {what}: {self._program.poll()}")
            time.sleep(0.02)

    def ended(self) -> tuple[int, str]:
        """Wait for its end; returns its status and what it printed."""
        said, _ = self._program.communicate(timeout=BUILD_S)
        return self._program.returncode, said

    def cut(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal, as a terminal does; returns its status and its last line."""
        os.killpg(self._program.pid, number)
        status, said = self.ended()
        return status, said.splitlines()[-1]


def pip_runs() -> bool:
    """Whether a version is being built."""
    return any(VERSIONS.glob("*/bin/pip"))


def interrupted_build() -> str:
    """Ctrl-C while pip runs: nothing is left of the version, and no process goes on."""
    started = Started()
    started.until("pip ran", pip_runs)
    time.sleep(1)
    status, line = started.cut(signal.SIGINT)
    need(status == 130 and "interrupted by SIGINT" in line, f"{status}: {line}")
    need(not any(VERSIONS.iterdir()), "a version is left")
    need(b"/opt/avatar-relay" not in b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")), "a process goes on")
    return line.partition("error: ")[2]


def killed_build_and_two_at_once() -> str:
    """kill -9 while pip runs; then two installers at the same time: one works, the other waits, both report success."""
    started = Started()
    started.until("pip ran", pip_runs)
    time.sleep(1)
    need(started.cut(signal.SIGKILL)[0] == -9, "it was not killed")
    both = [started.ended() for started in (Started(), Started())]
    need([status for status, _ in both] == [0, 0], str(both))
    need(sum("another installation is running" in said for _, said in both) >= 1, str(both))
    need(run("systemctl", "is-active", "edge-client.service").strip() == "active", "the service does not run")
    return f"{CURRENT.readlink().name} runs; one of them waited"


def killed_trial() -> str:
    """kill -9 after the link was switched to a new release; the same command completes it, and `rollback` has where to go."""
    old = CURRENT.readlink()
    cli = Path("edge_client/cli.py")
    cli.write_text(cli.read_text(encoding="utf-8").replace("print the version", "print the version of it"), encoding="utf-8")
    started = Started()
    started.until("the link was switched", lambda: CURRENT.readlink() != old)
    started.cut(signal.SIGKILL)
    run(*INSTALL, limit_s=BUILD_S)
    run("git", "checkout", "-q", "--", ".")
    need(run("systemctl", "is-active", "edge-client.service").strip() == "active", "the service does not run")
    need("runs" in run("scripts/install", "rollback", limit_s=BUILD_S) and CURRENT.readlink() == old, "it did not go back")
    return f"{old.name} → … → {old.name}"


def _is_device(cmdline: Path) -> bool:
    try:
        words = cmdline.read_bytes()
    except OSError:  # it has ended
        return False
    return b"/opt/avatar-relay/" in words and b"edge" in words


def hung_program() -> str:
    """The program that runs does not end when asked: it is stopped by force, and the new settings run."""
    pids = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if _is_device(path)]
    need(bool(pids), "no device runs")
    for pid in pids:
        os.kill(int(pid), signal.SIGSTOP)
    run(*INSTALL, "--rotation", "90", limit_s=BUILD_S)
    need(run("systemctl", "is-active", "edge-client.service").strip() == "active", "the service does not run")
    return f"{len(pids)} processes"


def purged(before: set[str]) -> str:
    """Nothing is left of all that."""
    run("scripts/install", "uninstall", "--purge", limit_s=BUILD_S)
    return nothing_since(before, but_for_packages=True)


def main() -> int:
    """Run all checks; returns 1 if one failed."""
    table, before = Table(), files_of_machine()
    table.row("wrong flags", lambda: unchanged(wrong_flags))
    table.row("without root", lambda: unchanged(as_somebody))
    table.row("an account with the name of the service's user", lambda: unchanged(somebodys_account))
    table.row("/opt is read-only", lambda: unchanged(lambda: within("mount -t tmpfs -o ro tmpfs /opt && exec ", "read-only")))
    table.row("no network for Debian's packages", lambda: unchanged(lambda: without_network("apt-get update: a server on the network")))
    if table.row("Ctrl-C while pip runs", interrupted_build):
        table.row("no network for pip", lambda: without_network(": a server on the network"))
        table.row("a full disk", lambda: within(SMALL_OPT.format(size="64m"), "free some space"))
        full = SMALL_OPT.format(size="1100m").removesuffix("exec ") + FILLED
        table.row("a disk that fills up while pip runs", lambda: within(full, "the disk is full", BUILD_S))
    if table.row("kill -9 while pip runs, then two installers at once", killed_build_and_two_at_once):
        table.row("kill -9 while a new release is tried", killed_trial)
        table.row("a program that hangs is upgraded", hung_program)
    table.row("uninstall --purge leaves nothing", lambda: purged(before))
    return table.show()


if __name__ == "__main__":
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so do its children
    sys.exit(main())
