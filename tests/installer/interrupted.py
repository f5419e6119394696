"""The installer as a program that interrupts itself: run on a machine in a folder, it stops at its n-th change of the machine.

    python -m tests.installer.interrupted ROOT SOCKET NUMBER SIGNAL ARGUMENT…

Releases build at once. ROOT/release holds the name of the release; NUMBER 0 never interrupts. The last line of standard output is the
number of changes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avatar_relay.installer import commands
from avatar_relay.installer.process import InstallError
from avatar_relay.installer.release import SoftwareRelease
from tests.installer.releases import FakeBuilds
from tests.lab.service_manager import ask

CHANGES = frozenset({"os.rename", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"})
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Steps:
    """Counts the changes of a machine, by Python's audit events, and sends the signal to this process at one of them."""

    def __init__(self, root: Path, number: int, signal_number: int) -> None:
        self._root, self._number, self._signal = str(root), number, signal_number
        self.count = 0

    def take(self) -> None:
        """Count a change that is about to be made."""
        self.count += 1
        if self.count == self._number:
            signal.raise_signal(self._signal)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES):
            names = [str(argument) for argument in arguments[:2] if isinstance(argument, str | os.PathLike)]
            if any(name.startswith(self._root) for name in names) or event in ("os.remove", "os.rmdir"):
                self.take()


class RemoteBuilds(FakeBuilds):
    """Its service manager is in another process; a request that changes services is a change of the machine."""

    def __init__(self, root: Path, socket: str, steps: Steps) -> None:
        super().__init__(root, None)
        self._socket, self._steps = socket, steps

    def systemctl(self, *arguments: str, before: Sequence[str] = ()) -> str:
        if arguments[0] not in ("show", "is-enabled"):
            self._steps.take()
        status, text = ask(self._socket, list(arguments))
        if status:
            raise InstallError(f"systemctl {' '.join(arguments)} ended with status {status}")
        return text


def main() -> int:
    """Run the installer; returns its exit status."""
    root, socket, number, name, *arguments = sys.argv[1:]
    steps = Steps(Path(root), int(number), signal.Signals[name])
    machine = RemoteBuilds(Path(root), socket, steps)
    release = SoftwareRelease((Path(root) / "release").read_text(encoding="ascii"), ())
    vars(commands).update(Machine=lambda *_: machine, own_release=lambda _: release)
    sys.addaudithook(steps.hear)
    status = commands.main([*arguments, "--root", root, "--settle", "0.2"], program="scripts/install", role="device")
    print(steps.count)  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main())
