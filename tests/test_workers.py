"""`relay-server --workers N` as a program, with a real nats-server between its workers."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import statistics
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest

from avatar_relay.publisher import Publisher
from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import admin_service_pb2_grpc as stubs
from tests.lab.history import History
from tests.lab.programs import Program, python, running
from tests.lab.relay_cluster import NATS, START_S
from tests.lab.restarted_programs import free_port
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.speaker import Manner, Speaker
from tests.lab.stamp import now_us

pytestmark = pytest.mark.skipif(NATS is None, reason="nats-server is not installed")
ESTABLISHED = "01"
KILLS = 12
OWN = [("grpc.use_local_subchannel_pool", 1)]


@asynccontextmanager
async def relay(folder: Path, *flags: str, name: str = "relay") -> AsyncIterator[tuple[Program, str]]:
    """Run the program; yields its address."""
    command = [*python("relay_server"), "--listen", "127.0.0.1:0", *flags]
    async with running(name, command, folder / f"{name}.log", {}) as program:
        yield program, (await program.wait_for(r"listening on (\S+)", START_S))[1]


async def refusal(folder: Path, *flags: str) -> str:
    """Return the output of a relay that cannot start; it must be one line, with status 2."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*python("relay_server"), *flags, stdout=pipe, stderr=pipe, cwd=folder)
    async with asyncio.timeout(START_S):
        said, errors = await process.communicate()
    assert (process.returncode, said) == (2, b""), errors
    lines = errors.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers(pid: int) -> list[int]:
    """Return its workers, by their number."""
    return [child for child in children(pid) if b"relay_server.worker" in Path(f"/proc/{child}/cmdline").read_bytes()]


def is_alive(pid: int) -> bool:
    """Whether a process exists."""
    return Path(f"/proc/{pid}").exists()


def accepted(pid: int, port: int) -> int:
    """Count a process's connections to a port."""
    sockets = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    return sum(line[1].endswith(f":{port:04X}") and line[3] == ESTABLISHED and f"socket:[{line[9]}]" in sockets for line in lines)


async def devices_of(address: str) -> set[str]:
    """Return the devices that an operator sees at any of the workers."""
    async with grpc.aio.insecure_channel(address, options=OWN) as channel:
        answer = await stubs.AdminServiceStub(channel).ListDevices(pb.ListDevicesRequest(), timeout=10)
        return {device.device_id for device in answer.devices if device.attached}


async def test_a_relay_of_three_workers(tmp_path: Path) -> None:
    """Conversations cross workers, operators see all, killing a worker loses nothing, and SIGTERM ends everything."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(55))
        program, address = await stack.enter_async_context(relay(tmp_path, "--workers", "3", "--drain-grace-ms", "2000"))
        assert re.search(r"^3 workers; limits hold for each of them by itself: max_devices 1000,", program.said(), re.MULTILINE)
        supervisor = program.pid
        pids = workers(supervisor)
        assert len(pids) == 3
        with History() as history:
            devices = [SimulatedDevice(f"d{n}", address, history, random.Random(n)) for n in range(6)]
            await until_attached(devices)
            async with asyncio.timeout(10):  # a worker that a busy machine stopped for longer than its heartbeats is not asked meanwhile
                while await devices_of(address) != {device.device_id for device in devices}:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            async with Publisher.connect(address) as publisher:
                stop = asyncio.Event()
                manner = Manner(payloads_per_s=100, shortest=40, longest=200)
                speakers = [Speaker(n, publisher, device.device_id, history, random.Random(n), manner) for n, device in enumerate(devices)]
                speaking = [asyncio.create_task(speaker.run(stop)) for speaker in speakers]
                await asyncio.sleep(1.0)
                os.kill(pids[0], signal.SIGKILL)
                await program.wait_for("worker . was killed by signal 9; it is started again", 5)
                await asyncio.sleep(2.0)
                stop.set()
                await asyncio.gather(*speaking)
            verdict = history.check()
            assert len(workers(supervisor)) == 3
            for device in devices:
                await device.kill()
        assert verdict.violations == 0, verdict.told
        assert verdict.payloads_received > 1_000
        ours = children(supervisor)
        assert len(ours) == 4
        program.terminate()
        await program.wait(10)
        assert not any([is_alive(pid) for pid in ours])
    host, _, port = address.rpartition(":")
    with socket.create_server((host, int(port))):
        pass


@pytest.mark.slow
async def test_connections_spread(tmp_path: Path) -> None:
    """The kernel assigns each of three workers its share of 90 connections."""
    async with asyncio.timeout(50), relay(tmp_path, "--workers", "3") as (program, address), AsyncExitStack() as stack:
        host, _, port = address.rpartition(":")
        for _ in range(90):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            connection.recv(1)  # it was accepted
        held = [accepted(pid, int(port)) for pid in workers(program.pid)]
        assert sum(held) == 90
        assert all(15 <= count <= 48 for count in held), held


@pytest.mark.slow
async def test_the_port_is_taken(tmp_path: Path) -> None:
    """A second relay with one or more workers, two at once, a foreign program: status 2, and one line."""
    async with asyncio.timeout(55):
        async with relay(tmp_path, "--workers", "2") as (_, address):
            said = await asyncio.gather(*(refusal(tmp_path, "--listen", address, "--workers", count) for count in ("1", "2", "3")))
        assert all(
            re.search(rf"^relay-server: error: listen: {address} cannot be used: (another relay|address already in use)", line)
            for line in said
        ), said
        with socket.create_server(("127.0.0.1", 0)) as foreign:
            address = f"127.0.0.1:{foreign.getsockname()[1]}"
            assert "address already in use" in await refusal(tmp_path, "--listen", address, "--workers", "2")


@pytest.mark.slow
async def test_of_two_that_start_at_once_one_serves(tmp_path: Path) -> None:
    """The other one ends with status 2."""
    address = f"127.0.0.1:{free_port()}"
    async with asyncio.timeout(50), AsyncExitStack() as stack:
        programs = [
            await stack.enter_async_context(
                running(name, [*python("relay_server"), "--listen", address, "--workers", "2"], tmp_path / f"{name}.log", {})
            )
            for name in ("a", "b")
        ]
        while all([program.running for program in programs]):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
        loser, winner = sorted(programs, key=lambda program: program.running)
        await winner.wait_for("listening on", START_S)
        assert "another relay runs or starts there" in loser.said()
        with pytest.raises(Exception, match="status 2"):
            await loser.wait(1)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--workers", "0"), r"workers"),
        (("--workers", "2", "--speech-voice", "en-us", "--listen", "0.0.0.0:0"), "insecure_listen"),
        pytest.param(
            ("--workers", "2", "--cluster-nats", "nats://127.0.0.1:1", "--cluster-secret-file", "secret"),
            "cluster_nats: no NATS server",
            marks=pytest.mark.slow,
        ),
    ],
)
async def test_a_wrong_setting_is_told_once(tmp_path: Path, flags: tuple[str, ...], says: str) -> None:
    """Whether the supervisor or a worker finds it."""
    (tmp_path / "secret").write_bytes(b"s" * 32)
    assert re.search(says, await refusal(tmp_path, "--listen", "127.0.0.1:0", *flags))


async def test_without_a_nats_server_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or which setting to use."""
    monkeypatch.setattr("relay_server.workers.nats_child.shutil.which", lambda name, path: None)
    from relay_server.workers.nats_child import NatsChild

    with pytest.raises(Exception, match=r"workers: nats-server is not installed \(`apt install nats-server"):
        NatsChild(tmp_path, os.urandom)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_the_devices_of_a_killed_worker_are_soon_back(tmp_path: Path) -> None:
    """At another worker, or at the one that is started again."""
    took_s = list[float]()
    async with asyncio.timeout(200), relay(tmp_path, "--workers", "3") as (program, address):
        with History() as history:
            devices = [SimulatedDevice(f"d{n}", address, history, random.Random(n)) for n in range(24)]
            await until_attached(devices)
            for number in range(KILLS):
                streams, killed_us = [len(device.player.welcomes) for device in devices], now_us()
                os.kill(workers(program.pid)[number % 3], signal.SIGKILL)
                await asyncio.sleep(3.0)
                later = [device.player.welcomes[count:] for device, count in zip(devices, streams, strict=True)]
                took_s += [(times[0] - killed_us) / 1e6 for times in later if times]
                while len(workers(program.pid)) < 3 or len(await devices_of(address)) < len(devices):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            for device in devices:
                await device.kill()
    assert len(took_s) > KILLS
    assert statistics.quantiles(took_s, n=20)[-1] <= 2.0, sorted(took_s)


@pytest.mark.slow
async def test_an_operators_drain_ends_all(tmp_path: Path) -> None:
    """Although only one worker received the request."""
    async with asyncio.timeout(50), relay(tmp_path, "--workers", "2") as (program, address):
        async with grpc.aio.insecure_channel(address, options=OWN) as channel:
            await stubs.AdminServiceStub(channel).Drain(pb.DrainRequest(), timeout=10)
        await program.wait(20)


@pytest.mark.slow
async def test_a_killed_nats_server_is_started_again(tmp_path: Path) -> None:
    """On the port that the workers use."""
    async with asyncio.timeout(50), relay(tmp_path, "--workers", "2", "--log-level", "warning") as (program, address):
        (nats,) = set(children(program.pid)) - set(workers(program.pid))
        os.kill(nats, signal.SIGKILL)
        await program.wait_for("(?s)connected to NATS again.*connected to NATS again", 10)
        with History() as history:
            devices = [SimulatedDevice(f"d{n}", address, history, random.Random(n)) for n in range(4)]
            await until_attached(devices)
            async with asyncio.timeout(10):
                while await devices_of(address) != {"d0", "d1", "d2", "d3"}:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            for device in devices:
                await device.kill()


@pytest.mark.slow
async def test_a_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    """As a service manager would do."""
    async with asyncio.timeout(50), relay(tmp_path, "--workers", "2") as (program, _):
        os.kill(workers(program.pid)[1], signal.SIGSTOP)
        await program.wait_for("worker 2 hangs, and is killed", 20)
        await program.wait_for("worker 2 was killed by signal 9; it is started again in 0 ms", 5)
