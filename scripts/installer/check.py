"""What `scripts/install_check` tries on the clean machine, as a reader and an operator would; prints a table with a verdict for each line.

Runs as root in the chroot, in the folder of the clone. It changes the sources there, to make bad releases of them, and puts them back.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.installer.check_table import CheckError, Table, need, nothing_since, run
from scripts.installer.file_list import files_of_machine
from tests.lab.service_manager import ask

SECOND_RUN_S = 5.0
AWAY_S = 10.0
COMMANDS = 3
SETTLE = ("--settle", "12")
INSTALL_S = 3_600.0
SPEAKS_S = 60.0
"""A service is ready before it has found its relay."""
DYING_FACE = """

import sys as _sys

if _sys.argv[0].endswith("face_process/__main__.py"):
    import os as _os
    import threading as _threading

    _threading.Timer({seconds}, _os._exit, (1,)).start()
"""
UPDATE_LOG = Path("/var/log/edge-client-update.service.log")
DEVICE_LOG, MANAGER = Path("/var/log/edge-client.service.log"), "/run/lab.socket"
CURRENT = Path("/opt/avatar-relay/current")


def until(what: str, asked: Callable[[], bool], limit_s: float) -> None:
    """Wait until `asked` returns true. Raises `CheckError` after `limit_s`."""
    end_s = time.monotonic() + limit_s
    while not asked():
        need(time.monotonic() < end_s, f"{what}: not within {limit_s:g} s")
        time.sleep(0.2)


def install(*arguments: str) -> str:
    """Run `scripts/install` with these arguments."""
    try:
        return run("scripts/install", *arguments, limit_s=INSTALL_S)
    except CheckError:
        for log in Path("/var/log").glob("*.service.log"):
            sys.stderr.write(f"--- {log}\n{log.read_text(encoding='utf-8', errors='replace')[-3_000:]}\n")
        raise


def is_attached() -> bool:
    """Whether the device is attached to the relay."""
    done = subprocess.run(["relayctl", "--json", "devices"], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode == 0 and any(device["attached"] for device in json.loads(done.stdout)["devices"])


def speaks(text: str) -> str:
    """Play a text on the device to its end; returns its duration. Raises `CheckError`."""
    until("the device is attached", is_attached, SPEAKS_S)
    with subprocess.Popen(["relayctl", "watch", "lobby"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watching:
        try:
            time.sleep(1.0)  # until it is subscribed
            conversation = run("relayctl", "say", "lobby", text).split()[1].rstrip(",")
            timer = threading.Timer(SPEAKS_S, watching.kill)
            timer.start()
            for line in watching.stdout or ():
                if conversation in line and "finished" in line:
                    timer.cancel()
                    need("finished at 0.000" not in line, f"nothing was played: {line}")
                    return line.strip().rpartition("finished at ")[2]
        finally:
            watching.kill()
    raise CheckError(f"conversation {conversation} was not finished within {SPEAKS_S:g} s")


def status() -> str:
    """The device's status at the service manager."""
    return run("systemctl", "show", "-p", "StatusText", "edge-client.service").strip().removeprefix("StatusText=")


def replaced(path: str, old: str, new: str) -> None:
    """Modify the sources, to make another release."""
    text = Path(path).read_text(encoding="utf-8")
    need(old in text, f"{path}: {old!r} is no longer there")
    Path(path).write_text(text.replace(old, new), encoding="utf-8")


class Away:
    """Measures how long the device is away: from the end of its service's active state until it is attached again, by its log."""

    def __init__(self) -> None:
        self._attached = self._count()
        self._left_s = self._back_s = 0.0
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self._watching.start()

    @staticmethod
    def _count() -> int:
        return DEVICE_LOG.read_bytes().count(b" attached to ")

    def _watch(self) -> None:
        while ask(MANAGER, ["is-active", "edge-client.service"])[0] == 0:
            time.sleep(0.02)
        self._left_s = time.monotonic()
        while self._count() == self._attached:
            time.sleep(0.02)
        self._back_s = time.monotonic()

    def ended(self) -> float:
        """Wait until it is back; returns how long it was away, in seconds."""
        self._watching.join(SPEAKS_S)
        need(not self._watching.is_alive(), "it did not go, or did not come back")
        return self._back_s - self._left_s


# --- checks ----------------------------------------------------------------------------------------------------------


def from_clone_to_speech() -> str:
    """Run the documented commands; `git clone` was the first."""
    begin_s = time.monotonic()
    typed: Sequence[Sequence[str]] = (
        ("scripts/install", "--role", "both", "--name", "lobby", "--set", "headless=true", *SETTLE),
        ("relayctl", "say", "lobby", "Good morning."),
    )
    install(*typed[0][1:])
    until("the device takes speech", is_attached, SPEAKS_S)
    run(*typed[1])
    took_s = time.monotonic() - begin_s
    heard = speaks("Good morning.")
    need(1 + len(typed) <= COMMANDS, "too many commands")
    return f"{1 + len(typed)} commands, {took_s:.0f} s; finished at {heard}"


def face_runs() -> str:
    """The face runs off-screen, in its own process."""
    until(f"the face runs ({status()})", lambda: "face running" in status(), SPEAKS_S)
    return status()


def second_run() -> str:
    """A second installation changes nothing."""
    pids, begin_s = processes(), time.monotonic()
    install()
    took_s = time.monotonic() - begin_s
    need(took_s <= SECOND_RUN_S, f"{took_s:.1f} s")
    need(processes() == pids, "the services were restarted")
    return f"{took_s:.1f} s; the same processes"


def processes() -> list[str]:
    """Ids of the services' processes and their children."""
    lines = {path.parent.name: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")}
    return sorted(pid for pid, line in lines.items() if b"/opt/avatar-relay/" in line and b"relayctl" not in line)


def doctor() -> str:
    """Run the doctor as the service's user. A card and CPU time for stable lip-sync may be missing on this machine."""
    command = ["setpriv", "--reuid=avatar", "--regid=avatar", "--init-groups", "edge-client", "doctor", "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    findings = json.loads(done.stdout)["findings"]
    failed = {one["part"]: one["text"] for one in findings if one["health"] == "failed"}
    told = "; ".join(f"{part}: {text}" for part, text in failed.items()) or "none"
    need(failed.keys() <= {"card", "lip-sync"}, f"failed: {told}")
    return f"{len(findings)} findings; failed: {told}"


def upgrade_while_it_speaks() -> str:
    """After an upgrade during speech, sound and face are back, and the device is attached."""
    before = CURRENT.readlink()
    replaced("edge_client/cli.py", "print the version", "print the version of the program")
    speech = subprocess.Popen(["relayctl", "say", "lobby", "One, two, three, four, five. " * 20], stdout=subprocess.DEVNULL)
    speech.wait(30)
    time.sleep(1)
    away = Away()
    install(*SETTLE)
    away_s = away.ended()
    need(CURRENT.readlink() != before, "the old version runs")
    need(away_s <= AWAY_S, f"the device was away for {away_s:.1f} s")
    return f"away for {away_s:.1f} s; finished at {speaks('New.')}"


def back_by_hand() -> str:
    """Run `rollback`, and restore the sources."""
    before = CURRENT.readlink()
    install("rollback")
    run("git", "checkout", "-q", "--", ".")
    need(CURRENT.readlink() != before, "the same version runs")
    return f"{before.name} → {CURRENT.readlink().name}; finished at {speaks('Old.')}"


def taken_back(reason: str) -> str:
    """Install the current sources; this must fail for the given reason, and keep the running version."""
    before = CURRENT.readlink()
    begin_s = time.monotonic()
    done = subprocess.run(
        ["scripts/install", *SETTLE], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    run("git", "checkout", "-q", "--", ".")
    need(done.returncode == 1, f"status {done.returncode}: {done.stderr}")
    said = re.search(rf"was taken back: .*{reason}.*runs again", done.stderr)
    need(said is not None, f"not because of {reason!r}: {done.stderr}")
    need(CURRENT.readlink() == before, "another version runs than before")
    need(len(list(Path("/opt/avatar-relay/versions").iterdir())) <= 2, "the bad version was left behind")
    return f"{reason}; back after {time.monotonic() - begin_s:.0f} s, build and all; finished at {speaks('Still here.')}"


def it_crashes() -> str:
    """A release that passes its self-test, but exits when run."""
    replaced("edge_client/app.py", 'self._manager.tell("READY=1")', "os._exit(3)")
    return taken_back("it ended by itself")


def it_never_is_ready() -> str:
    """A release that runs, but never reports that it is ready."""
    replaced("edge_client/app.py", 'self._manager.tell("READY=1")', "pass")
    return taken_back("not ready within 30 s")


def its_face_dies() -> str:
    """A release whose face dies three seconds after each start, and is restarted at once."""
    factory = Path("edge_client/face_process/factory.py")
    factory.write_text(factory.read_text(encoding="utf-8") + DYING_FACE.format(seconds=3), encoding="utf-8")
    return taken_back("face: it was started again")


def removed(before: set[str]) -> str:
    """Run `uninstall --purge`; no new files may be left, except those of Debian's packages."""
    install("uninstall", "--purge")
    return nothing_since(before, but_for_packages=True)


def package_installed(package: Path) -> str:
    """If its settings exist already, the package's services start."""
    Path("/etc/avatar-relay").mkdir()
    Path("/etc/avatar-relay/relay.toml").write_text('listen = "127.0.0.1:52000"\n', encoding="ascii")
    Path("/etc/avatar-relay/edge.toml").write_text('device_id = "lobby"\nheadless = true\n', encoding="ascii")
    run("apt-get", "-qq", "-y", "--no-install-recommends", "install", package, limit_s=INSTALL_S)
    return f"finished at {speaks('From a package.')}"


def package_purged(before: set[str]) -> str:
    """A purge removes everything, including the settings."""
    run("apt-get", "-qq", "-y", "purge", "avatar-relay", limit_s=INSTALL_S)
    return nothing_since(before, but_for_packages=False)


def update_by_an_operator() -> str:
    """From an index on this machine that `scripts/update_index` made, by the shipped path unit; the service's user can only ask."""
    before = CURRENT.readlink()
    replaced("edge_client/cli.py", "print the version", "print the version of the program")
    # pip's cache belongs to the machine that makes the index, which is usually another one
    run("env", "PIP_CACHE_DIR=/run/pip", "scripts/update_index", "--out", "/run/index", limit_s=INSTALL_S)
    run("git", "checkout", "-q", "--", ".")
    writable = run(
        "setpriv", "--reuid=avatar", "--regid=avatar", "--init-groups", "find", "/opt/avatar-relay", "-writable", "!", "-type", "l"
    )
    need(not writable, f"the service's user can write {writable.splitlines()[:3]}")
    serve = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", "/run/index", "8123")
    with subprocess.Popen(serve, stderr=subprocess.DEVNULL) as server:
        try:
            install("--set", "update_index=http://127.0.0.1:8123")
            until("the device is attached", is_attached, SPEAKS_S)
            run("relayctl", "update", "lobby")
            until("another version runs", lambda: CURRENT.readlink() != before, INSTALL_S)
            until("it stays", lambda: "is installed" in UPDATE_LOG.read_text(encoding="utf-8"), SPEAKS_S + 120)
        finally:
            server.kill()
    return f"{before.name} → {CURRENT.readlink().name}; nothing there is writable; finished at {speaks('Updated.')}"


def main() -> int:
    """Run all checks; returns 1 if one failed. Without an installation, checks that would change it are skipped."""
    table, clean = Table(), files_of_machine()
    table.row(f"clone, install, speak: at most {COMMANDS} commands", from_clone_to_speech)
    if CURRENT.exists():
        table.row("a face, off-screen", face_runs)
        table.row(f"install again: at most {SECOND_RUN_S:g} s", second_run)
        table.row("doctor, as the service's user", doctor)
        if table.row(f"upgrade while it speaks: away for at most {AWAY_S:g} s", upgrade_while_it_speaks):
            table.row("rollback by hand", back_by_hand)
        table.row("a release that imports and crashes", it_crashes)
        table.row("a release that never is ready", it_never_is_ready)
        table.row("a release whose face dies again and again", its_face_dies)
        table.row("an update from the desk", update_by_an_operator)
    table.row("uninstall --purge leaves nothing", lambda: removed(clean))
    before = files_of_machine()
    packages: list[Path] = []

    def built() -> str:
        said = run("scripts/deb", "--out", "/run/deb", limit_s=INSTALL_S)
        packages.append(Path(said.splitlines()[-1]))
        fields = run("dpkg-deb", "--field", packages[0], "Package", "Version", "Architecture")
        return f"{' '.join(fields.split())}; {packages[0].stat().st_size / 1e6:.0f} MB; {nothing_since(before, but_for_packages=True)}"

    if table.row("building a Debian package", built):
        table.row("the package is installed, and speaks", lambda: package_installed(packages[0]))
        table.row("purging the package leaves nothing", lambda: package_purged(before))
    return table.show()


if __name__ == "__main__":
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    sys.exit(main())
