"""A small service manager for machines without systemd: runs the shipped units and answers the commands of `systemctl`.

    python service_manager.py serve ROOT SOCKET          runs until it is killed; ROOT is `/`, or a substitute folder
    python service_manager.py ctl SOCKET restart UNIT     called by a script named `systemctl`

Supported keys of a path unit: PathChanged; of a service: Type=notify and oneshot, ExecStart, Environment, User, StateDirectory,
CacheDirectory, Restart, RestartSec, WatchdogSec, TimeoutStopSec. Other keys, such as hardening, are ignored. The output of a
service is written to ROOT/var/log/UNIT.log.
Standard library only: it also runs where the project is not installed.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNITS = ("etc/systemd/system", "usr/lib/systemd/system", "etc/systemd/user")
"""Folders of the administrator's, packages' and user session's units; one manager serves all of them."""
STEP_S = 0.05
PATIENCE_S = 60.0


def find_unit(root: Path, name: str) -> Path | None:
    """The first existing file of this unit; None if there is none."""
    return next((path for folder in UNITS if (path := root / folder / name).is_file()), None)


def read_unit(path: Path, wanted: str = "[Service]") -> dict[str, list[str]]:
    """The keys of a section of a unit, each with its list of values in order."""
    keys: dict[str, list[str]] = {}
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("["):
            section = text
        elif text and text[0] not in "#;" and section == wanted:
            key, _, value = text.partition("=")
            keys.setdefault(key.strip(), []).append(value.strip())
    return keys


class ManagedService:
    """One unit. `wanted` is the requested state; a thread establishes it."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self._root = root
        self.active, self.sub, self.status, self.restarts = "inactive", "dead", "", 0
        self._changed = threading.Condition()
        self._wanted, self._generation = False, 0
        threading.Thread(target=self._live, daemon=True).start()

    def start(self) -> None:
        """Start it; has no effect on a running service."""
        with self._changed:
            if not self._wanted:
                self._wanted, self.restarts, self.active, self.sub = True, 0, "activating", "start"
                self._generation += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Stop it."""
        with self._changed:
            self._wanted = False
            self._generation += 1
            self._changed.notify_all()

    def settled(self, *, running: bool) -> bool:
        """Wait until it is ready or has ended; returns whether it reached the requested state."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s and not (running and self.sub == "auto-restart"):
            if (self.active == "active") if running else (self.active in ("inactive", "failed")):
                return True
            time.sleep(STEP_S)
        return False

    def _live(self) -> None:
        while True:
            with self._changed:
                while not self._wanted:
                    self._changed.wait()
                generation = self._generation
            path = find_unit(self._root, self.name)
            keys = read_unit(path) if path is not None else {"ExecStart": ["/bin/false"]}
            status = self._run(keys, generation)
            with self._changed:
                if generation == self._generation:
                    self._ended(keys, status, generation)
                if generation != self._generation:
                    self.active, self.sub = ("activating", "start") if self._wanted else ("inactive", "dead")

    def _ended(self, keys: dict[str, list[str]], status: int, generation: int) -> None:
        """Handle an unrequested end of the process: wait until its restart is due, or another state is requested."""
        if self._restarts_after(keys, status):
            self.active, self.sub = "activating", "auto-restart"
            if not self._changed.wait_for(lambda: generation != self._generation, float(keys.get("RestartSec", ["0.1"])[0])):
                self.restarts += 1
        else:
            self._wanted, self.active, self.sub = False, *(("failed", "failed") if status else ("inactive", "dead"))

    @staticmethod
    def _restarts_after(keys: dict[str, list[str]], status: int) -> bool:
        policy = keys.get("Restart", ["no"])[0]
        return policy == "always" or (policy == "on-failure" and status != 0)

    def _run(self, keys: dict[str, list[str]], generation: int) -> int:
        """Run one process until it ends; returns its status."""
        watchdog_s = float(keys.get("WatchdogSec", ["0"])[0])
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(f"\0avatar-relay-lab-{os.getpid()}-{time.monotonic_ns()}")
            listener.settimeout(STEP_S)
            address = "@" + listener.getsockname()[1:].decode()
            process = self._spawn(keys, address, watchdog_s)
            self.active, self.sub, self.status, alive_s = "activating", "start", "", time.monotonic()
            while process.poll() is None and generation == self._generation:
                for line in self._heard(listener):
                    alive_s = time.monotonic()
                    if line == "READY=1":
                        self.active, self.sub = "active", "running"
                    elif line.startswith("STATUS="):
                        self.status = line.removeprefix("STATUS=")
                if watchdog_s and self.active == "active" and time.monotonic() - alive_s > watchdog_s:
                    process.kill()
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(float(keys.get("TimeoutStopSec", ["10"])[0]))
                except subprocess.TimeoutExpired:
                    process.kill()
            return process.wait()

    @staticmethod
    def _heard(listener: socket.socket) -> list[str]:
        try:
            return listener.recv(4_096).decode(errors="replace").splitlines()
        except TimeoutError:
            return []

    def _spawn(self, keys: dict[str, list[str]], address: str, watchdog_s: float) -> subprocess.Popen[bytes]:
        program, *arguments = shlex.split(keys["ExecStart"][0])
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "NOTIFY_SOCKET": address}
        if watchdog_s:
            environment["WATCHDOG_USEC"] = str(round(watchdog_s * 1e6))
        for text in keys.get("Environment", []):
            environment |= dict(part.partition("=")[::2] for part in shlex.split(text))
        user = keys.get("User", ["root"])[0] if self._root == Path("/") else None
        for key, place in (("StateDirectory", "lib"), ("CacheDirectory", "cache")):
            for name in keys.get(key, []):
                folder = self._root / "var" / place / name
                folder.mkdir(parents=True, exist_ok=True)
                if user is not None:
                    shutil.chown(folder, user)
                environment[f"{key.removesuffix('Directory').upper()}_DIRECTORY"] = str(folder)
        log = self._root / "var/log" / f"{self.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        as_user: dict[str, Any] = {}
        if user is not None:
            gid = pwd.getpwnam(user).pw_gid
            as_user = {"user": user, "group": gid, "extra_groups": os.getgrouplist(user, gid)}
        with log.open("ab") as output:
            command = [str(self._root / program.lstrip("/")), *arguments]
            return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **as_user)


class ManagedPath:
    """A path unit: while it is active, its service is started whenever the file changes."""

    def __init__(self, name: str, root: Path, start: Callable[[], None]) -> None:
        path = find_unit(root, name)
        (file,) = read_unit(path, "[Path]")["PathChanged"] if path is not None else [""]
        self._file, self._start = root / file.lstrip("/"), start
        self._ended = threading.Event()
        threading.Thread(target=self._watch, args=(self._changed(),), daemon=True).start()

    def _changed(self) -> int:
        return self._file.stat().st_mtime_ns if self._file.exists() else 0

    def _watch(self, seen: int) -> None:
        while not self._ended.wait(STEP_S):
            if (now := self._changed()) != seen:
                seen = now
                self._start()

    def stop(self) -> None:
        """Stop watching."""
        self._ended.set()


class ServiceLab:
    """All units below a root, and the implementation of `systemctl`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._services: dict[str, ManagedService] = {}
        self._paths: dict[str, ManagedPath] = {}
        self._enabled: set[str] = set()
        (root / "run/systemd/system").mkdir(parents=True, exist_ok=True)

    def ask(self, arguments: list[str]) -> tuple[int, str]:
        """Execute a call of `systemctl`; returns its exit status and output."""
        words = [word for word in arguments if not word.startswith("-")]
        verb, *names = words or ["help"]
        if verb == "show":
            keys = [arguments[number + 1] for number, word in enumerate(arguments) if word == "-p"]
            return 0, self._shown(words[-1], keys)
        if verb == "daemon-reload":
            return 0, ""
        status = 0
        for name in names:
            if find_unit(self.root, name) is None:
                return 5, f"Unit {name} not found.\n"
            if verb == "is-enabled":
                return (0, "enabled\n") if name in self._enabled else (1, "disabled\n")
            if verb == "is-active":
                active = self._services[name].active if name in self._services else "inactive"
                return (0 if active == "active" else 3), f"{active}\n"
            if verb in ("enable", "disable"):
                (self._enabled.add if verb == "enable" else self._enabled.discard)(name)
            if name.endswith(".path"):
                self._watch(verb, name, now="--now" in arguments)
                continue
            status |= self._do(verb, self._service(name), now="--now" in arguments, waits="--no-block" not in arguments)
        return status, ""

    def _watch(self, verb: str, name: str, *, now: bool) -> None:
        """Execute a command on a path unit."""
        starts, stops = verb in ("start", "restart"), verb in ("stop", "restart")
        if (stops or (verb == "disable" and now)) and name in self._paths:
            self._paths.pop(name).stop()
        if (starts or (verb == "enable" and now)) and name not in self._paths:
            self._paths[name] = ManagedPath(name, self.root, self._service(name.replace(".path", ".service")).start)

    def _service(self, name: str) -> ManagedService:
        if name not in self._services:
            self._services[name] = ManagedService(name, self.root)
        return self._services[name]

    def _shown(self, name: str, keys: list[str]) -> str:
        known = self._services.get(name)
        found = {"ActiveState": "inactive", "SubState": "dead", "NRestarts": "0", "StatusText": ""}
        if known is not None:
            found = {"ActiveState": known.active, "SubState": known.sub, "NRestarts": str(known.restarts), "StatusText": known.status}
        return "".join(f"{key}={found.get(key, '')}\n" for key in keys)

    def _do(self, verb: str, service: ManagedService, *, now: bool, waits: bool) -> int:
        if verb in ("stop", "restart") or (verb == "disable" and now):
            service.stop()
            if not service.settled(running=False):
                return 1
        if verb in ("start", "restart") or (verb == "enable" and now):
            service.start()
            return int(waits and not service.settled(running=True))
        return 0

    def close(self) -> None:
        """Stop all services."""
        for path in self._paths.values():
            path.stop()
        for service in self._services.values():
            service.stop()
        for service in self._services.values():
            service.settled(running=False)


def write_systemctl(folder: Path, socket_path: Path) -> Path:
    """Write a program named `systemctl` into a folder; it calls the manager that listens on `socket_path`."""
    program = folder / "systemctl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{Path(__file__).resolve()}" ctl "{socket_path}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program


def listen(path: Path) -> socket.socket:
    """Open the manager's socket."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen()
    return listener


def answer_all(lab: ServiceLab, listener: socket.socket) -> None:
    """Answer calls, one at a time, until the socket is shut down."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rw", encoding="utf-8") as line:
            status, text = lab.ask(json.loads(line.readline()))
            line.write(json.dumps([status, text]))


def ask(path: str, arguments: list[str]) -> tuple[int, str]:
    """Send a call to the manager that listens on `path`; returns the exit status and output."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S + 30)
        connection.connect(path)
        with connection.makefile("rw", encoding="utf-8") as line:
            line.write(json.dumps(arguments) + "\n")
            line.flush()
            status, text = json.loads(line.read())
    return int(status), str(text)


def ctl(path: str, arguments: list[str]) -> int:
    """Run as `systemctl`; returns its exit status."""
    status, text = ask(path, arguments)
    sys.stdout.write(text)
    return status


def main(arguments: list[str]) -> int:
    """Run the manager or `systemctl`; see the module docstring."""
    if arguments[0] == "ctl":
        return ctl(arguments[1], arguments[2:])
    lab, listener = ServiceLab(Path(arguments[1])), listen(Path(arguments[2]))
    signal.signal(signal.SIGTERM, lambda *_: listener.shutdown(socket.SHUT_RDWR))
    print("listening", flush=True)
    answer_all(lab, listener)
    lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
