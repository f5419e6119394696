"""An operator's update: a trigger without content, a path unit, and an index whose packages are pinned by hash."""

from __future__ import annotations

import hashlib
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from avatar_relay.installer import commands, update
from avatar_relay.installer.index import MAX_LOCK_BYTES, check_index, lock_place, locked_version
from avatar_relay.installer.machine import python_tag
from avatar_relay.installer.plan import DEVICE, UPDATE_TRIGGER
from avatar_relay.installer.process import InstallError
from avatar_relay.installer.release import PROJECT
from edge_client.update_trigger import ask_for_update
from scripts.installer.update_index import write_lock, write_pages
from tests.installer.releases import FakeBuilds, managed
from tests.installer.test_commands import install

PIN = f"--hash=sha256:{'a' * 64}"
LOCK = f"avatar_relay==9.2 {PIN}\nnumpy==2.1.0 {PIN} {PIN}\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBuilds]:
    """The machine that the command changes."""
    with managed(tmp_path) as made:
        monkeypatch.setattr(commands, "Machine", lambda root, systemctl: made)
        yield made


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and writes no log."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run a file server; yields its address."""
    folder.mkdir(exist_ok=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def put_lock(folder: Path, text: str) -> None:
    """Write a lock file for this machine."""
    path = folder / lock_place(python_tag(), platform.machine())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("address", ["https://releases.example.org/x/", "http://127.0.0.1:8000", "http://localhost/x", ""])
def test_addresses_that_are_taken(address: str) -> None:
    assert check_index(address) == address.rstrip("/")


REFUSED = ["http://releases.example.org", "file:///etc", "https://", "https://a:b@x", "https://x/?y", "https://x y", "https://x\n", "x"]
UNPINNED = [
    "numpy",
    "numpy==2",
    f"numpy>=2 {PIN}",
    f"-e /tmp {PIN}",
    "--index-url=https://x",
    f"a @ file:///x {PIN}",
    "",
    "a==1 --hash=md5:0",
]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_refused(address: str) -> None:
    """Packages from an index run as root."""
    with pytest.raises(ValueError, match="HTTPS"):
        check_index(address)


@pytest.mark.parametrize("line", UNPINNED)
def test_a_lock_pins_every_package(line: str) -> None:
    """Any other line causes the whole file to be refused."""
    assert locked_version(LOCK, PROJECT) == "9.2"
    with pytest.raises(ValueError, match="pins nothing"):
        locked_version(f"{line}\n{LOCK}", PROJECT)
    with pytest.raises(ValueError, match="does not name"):
        locked_version(LOCK.splitlines()[1], PROJECT)


def test_the_trigger_updates_the_device_from_the_index_of_its_settings(machine: FakeBuilds, tmp_path: Path) -> None:
    """The path unit, owned by root, runs the shipped command; the trigger's content is ignored."""
    with serving(tmp_path / "index") as index:
        assert install("--name", "lobby", "--set", f"update_index={index}") == 0
        before = machine.linked("current")
        state, log = machine.root / "var/lib/edge-client", machine.root / "var/log/edge-client-update.service.log"
        ask_for_update(state, "")
        assert not (state / UPDATE_TRIGGER).exists()
        ask_for_update(state, index)
        until_s = time.monotonic() + 20
        while not (log.is_file() and "install update" in log.read_text()):
            assert time.monotonic() < until_s, "the service of the path unit did not run"
            time.sleep(0.05)
        put_lock(tmp_path / "index", LOCK)
        assert install("update") == 0
        assert machine.linked("current") == f"9.2-edge-{_digest(LOCK)}"
        assert machine.linked("previous") == before
        assert install("update") == 0
        pip = update.newest_release(machine, [DEVICE]).requirement
    assert {"--require-hashes", "--isolated", f"--index-url={index}/simple"} <= set(pip)


def _digest(lock: str) -> str:
    data = lock.encode()
    return hashlib.sha256(f"lock\0{len(data)}\0".encode() + data).hexdigest()[:8]


def test_what_cannot_be_updated_says_why(machine: FakeBuilds, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, and nothing is changed."""
    assert install() == 0
    before = machine.linked("current")
    assert install("update") == 1
    assert "update_index is not set" in capsys.readouterr().err
    with serving(tmp_path / "index") as index:
        machine.write_settings(DEVICE, f'update_index = "{index}"\n')
        for lock, reason in ((None, "404"), ("numpy\n", "pins nothing"), ("x" * (MAX_LOCK_BYTES + 1), "bytes"), ("é\n", "ascii")):
            if lock is not None:
                put_lock(tmp_path / "index", lock)
            assert install("update") == 1
            assert reason in capsys.readouterr().err
    machine.write_settings(DEVICE, 'update_index = "http://evil.example"\n')
    with pytest.raises(InstallError, match="HTTPS"):
        update.newest_release(machine, [DEVICE])
    assert machine.linked("current") == before


def test_an_index_is_what_pip_and_the_installer_read(tmp_path: Path) -> None:
    """A line of the lock and a link for each wheel."""
    files = tmp_path / "files"
    files.mkdir()
    for name in ("avatar_relay-9.2-py3-none-any.whl", "PyAudio-0.2.14-cp311-cp311-linux_x86_64.whl"):
        (files / name).write_bytes(name.encode())
    write_pages(tmp_path)
    write_lock(tmp_path, list(files.iterdir()), "locks/x.txt")
    assert locked_version((tmp_path / "locks/x.txt").read_text(), PROJECT) == "9.2"
    page = (tmp_path / "simple/pyaudio/index.html").read_text()
    assert "../../files/PyAudio-0.2.14-cp311-cp311-linux_x86_64.whl#sha256=" in page
