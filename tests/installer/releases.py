"""A machine in a folder with the lab's service manager, and releases that build instantly: a program that uses sd_notify."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from avatar_relay.installer.machine import COMPLETE, Machine
from avatar_relay.installer.process import InstallError
from avatar_relay.installer.release import SoftwareRelease
from tests.lab.data import PROJECT_ROOT
from tests.lab.service_manager import ServiceLab

PROGRAM = """#!{python} -IS
import os, signal, socket, sys, time
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(text.encode(), "\\0" + os.environ["NOTIFY_SOCKET"][1:])
if "self-test" in sys.argv:
    print("failed   gles  no picture" if {behaviour!r} == "untested" else "ok")
    sys.exit({behaviour!r} == "untested")
if "version" in sys.argv:
    if "nonsense" in open(sys.argv[-1]).read():
        sys.exit("edge-client: error: nonsense: no such setting")
    sys.exit(0)
if "install" in sys.argv:
    print(*sys.argv[1:], flush=True)
    sys.exit(0)
print("started {name}", flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if {behaviour!r} == "crashes":
    time.sleep(0.1)
    sys.exit(1)
if {behaviour!r} != "never ready":
    tell("READY=1")
    tell("STATUS=sound running, face running")
if {behaviour!r} == "loses the face":
    time.sleep(0.3)
    tell("STATUS=sound running, face failing")
while True:
    time.sleep(0.05)
    tell("WATCHDOG=1")
"""


class FakeBuilds(Machine):
    """Builds releases that behave as in `behaviour`; `lab` is its service manager."""

    behaviour = "good"

    def __init__(self, root: Path, lab: ServiceLab | None) -> None:
        super().__init__(root, "/no/such/systemctl")
        self._lab = lab

    def build(self, release: SoftwareRelease) -> None:
        folder = self.version(release.name)
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "bin").mkdir(parents=True)
        for program in ("edge-client", "relay-server", "relayctl"):
            path = folder / "bin" / program
            path.write_text(PROGRAM.format(python=sys.executable, behaviour=self.behaviour, name=release.name), encoding="utf-8")
            path.chmod(0o755)
        shutil.copytree(PROJECT_ROOT / "system", folder / "units")
        (folder / COMPLETE).touch()

    def systemctl(self, *arguments: str, before: Sequence[str] = ()) -> str:
        if self._lab is None:
            return super().systemctl(*arguments, before=before)
        status, text = self._lab.ask(list(arguments))
        if status:
            raise InstallError(f"systemctl {' '.join(arguments)} ended with status {status}")
        return text


@contextmanager
def managed(folder: Path) -> Iterator[FakeBuilds]:
    """A machine in a folder with running services."""
    lab = ServiceLab(folder / "root")
    try:
        yield FakeBuilds(folder / "root", lab)
    finally:
        lab.close()
