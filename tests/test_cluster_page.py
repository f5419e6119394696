"""The three machines of docs/cluster.md, on one: NATS servers with TLS, an account and a limited user, and relays."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from avatar_relay.publisher import Publisher
from relay_server.backplane.nats_core import NatsBackplane
from tests.doc_blocks import read_blocks
from tests.lab.history import History
from tests.lab.programs import Program, python, running
from tests.lab.relay_cluster import NATS, START_S
from tests.lab.restarted_programs import free_port
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker

PAGE = "docs/cluster.md"
MACHINES = ("192.0.2.10", "192.0.2.11", "192.0.2.12")
PORTS = (4222, 6222, 52000, 52010)

pytestmark = [
    pytest.mark.skipif(NATS is None, reason="Debian's package nats-server is not installed"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with"),
    pytest.mark.timeout(180),
]


def block_of(*words: str) -> str:
    """The only block of the page that contains all words."""
    (found,) = [block.text for block in read_blocks(PAGE) if all([word in block.text for word in words])]
    return found


def make_certificates(folder: Path) -> None:
    """An authority, and a certificate for 127.0.0.1, for servers and clients."""
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for command in (
        f"req -x509 {key} -keyout ca.key -out ca.crt -days 1 -subj /CN=authority",
        f"req {key} -keyout nats.key -out nats.csr -subj /CN=nats",
        "x509 -req -in nats.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile san -out nats.crt",
        f"req -x509 {key} -keyout other.key -out other.crt -days 1 -subj /CN=other",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@dataclass(frozen=True)
class Machines:
    """The page's machines, each address and port of them on this one."""

    folder: Path
    places: Mapping[str, str]
    """By the page's HOST:PORT."""

    def text(self, of: str, machine: int) -> str:
        """A file of the page for one machine, with this machine's addresses and files."""
        text = of
        for kind in ('listen: "', 'listen = "'):  # before the lists, which are the same at all machines
            text = text.replace(kind + MACHINES[0], kind + MACHINES[machine])
        text = text.replace("relay-1", f"relay-{machine + 1}").replace("cluster.secret", str(self.folder / "cluster.secret"))
        for place, here in self.places.items():
            text = text.replace(place, here)
        return text.replace("/etc/nats", str(self.folder))

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def address(self, machine: int) -> str:
        """Where a relay listens."""
        return self.places[f"{MACHINES[machine]}:52000"]

    def relay(self, machine: int) -> str:
        """The settings of a relay."""
        return self.text(block_of("cluster_tls_ca_file"), machine)

    @asynccontextmanager
    async def running_relay(self, machine: int) -> AsyncIterator[Program]:
        """Run a relay."""
        settings = self.write(f"relay-{machine}.toml", self.relay(machine))
        command = [*python("relay_server"), "--config", str(settings), "--log-level", "info"]
        async with running(f"relay {machine}", command, self.folder / f"relay-{machine}.log", {}) as relay:
            await relay.wait_for("listening on", START_S)
            yield relay


@asynccontextmanager
async def nats_servers(folder: Path, *, untrusted: int | None = None) -> AsyncIterator[tuple[Machines, list[Program]]]:
    """Run the NATS servers of all machines; one of them may have a certificate of an unknown authority for its clients."""
    make_certificates(folder)
    (folder / "cluster.secret").write_bytes(bytes(range(32)))
    machines = Machines(folder, {f"{machine}:{port}": f"127.0.0.1:{free_port()}" for machine in MACHINES for port in PORTS})
    assert NATS is not None
    async with AsyncExitStack() as stack:
        servers = []
        for machine in range(len(MACHINES)):
            text = machines.text(block_of("accounts"), machine)
            if machine == untrusted:
                text = text.replace("nats.crt", "other.crt", 1).replace("nats.key", "other.key", 1)
            settings = machines.write(f"nats-{machine}.conf", text)
            log = folder / f"nats-{machine}.log"
            servers.append(await stack.enter_async_context(running(f"nats {machine}", [NATS, "-c", str(settings)], log, {})))
        for server in servers:
            await server.wait_for("Server is ready", START_S)
            await server.wait_for("Route connection created", START_S)
        yield machines, servers


async def speak(publisher: Publisher, history: History) -> None:
    """Have conversations with the device for a second, and wait for their ends."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(1.0, stop.set)
    await Speaker(1, publisher, "lobby", history, random.Random(1), Manner(shortest=50, longest=80, interrupted_share=0)).run(stop)


async def test_the_three_machines_of_the_page(tmp_path: Path) -> None:
    """Conversations cross from one relay to another one, over a direct connection, also after a NATS server has died."""
    async with asyncio.timeout(150), nats_servers(tmp_path) as (machines, servers), AsyncExitStack() as stack:
        door, _ = [await stack.enter_async_context(machines.running_relay(machine)) for machine in (0, 1)]
        history = stack.enter_context(History())
        device = SimulatedDevice("lobby", machines.address(1), history, random.Random(1))
        await until_attached([device])
        completed = []
        for _ in range(2):
            async with Publisher.connect(machines.address(0)) as publisher:
                await speak(publisher, history)
            completed.append(history.check().outcomes["completed"])
            servers[0].kill()
        verdict = history.check()
        await device.kill()
        assert verdict.violations == 0, verdict.told
        assert 0 < completed[0] < completed[1], verdict.outcomes
        assert "cannot be reached directly" not in door.said()
        assert "Permissions Violation" not in "".join([server.said() for server in servers])


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [("change-me", "wrong", "authorization"), ("ca.crt", "other.crt", "certificate")],
    ids=["password", "authority"],
)
async def test_a_relay_that_nats_refuses_says_why(tmp_path: Path, before: str, after: str, words: str) -> None:
    """In one line, with status 2: a wrong password, and a certificate of an unknown authority."""
    async with asyncio.timeout(150), nats_servers(tmp_path) as (machines, _):
        settings = machines.write("relay.toml", machines.relay(0).replace(before, after))
        pipe = asyncio.subprocess.PIPE
        relay = await asyncio.create_subprocess_exec(*python("relay_server"), "--config", str(settings), stdout=pipe, stderr=pipe)
        _, errors = await relay.communicate()
    said = errors.decode()
    assert (relay.returncode, said.count("\n")) == (2, 1), said
    assert "cluster_nats" in said
    assert words in said.lower()


async def test_a_server_with_a_wrong_certificate_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever server is tried first. A relay that has lost all others ends when it is told to."""
    async with asyncio.timeout(150), nats_servers(tmp_path, untrusted=0) as (machines, servers):
        tls = ssl.create_default_context(cafile=tmp_path / "ca.crt")
        urls = [f"tls://relay:change-me@{machines.places[f'{machine}:4222']}" for machine in MACHINES]
        lost = asyncio.Event()
        backplanes = [NatsBackplane(urls, f"relay-{number}", tls) for number in range(8)]
        for backplane in backplanes:
            await backplane.start(lost.set, lost.clear)
        assert all([backplane.connected for backplane in backplanes])
        caplog.set_level(logging.INFO)
        caplog.clear()
        for server in servers[1:]:
            server.kill()
        await lost.wait()
        while "certificate verify failed" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await asyncio.gather(*[backplane.stop() for backplane in backplanes])
