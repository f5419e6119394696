"""Child processes of a supervisor, and messages of workers to it."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from avatar_relay.service_manager import ServiceManager
from relay_server.config import RelayConfig
from relay_server.workers.assignment import Assignment, decode_assignment
from relay_server.workers.child import ChildProcess, ended_how
from relay_server.workers.reports import BEATS_WITHIN_S, START_WITHIN_S, WorkerReports


async def test_a_child_gets_what_it_is_told_and_its_end_is_seen() -> None:
    """The end is reported as a status or a signal."""
    async with asyncio.timeout(20):
        child = ChildProcess([sys.executable, "-c", "import sys; sys.exit(len(sys.stdin.read()))"], os.environ, b"seven b")
        assert ended_how(await child.ended) == "ended with status 7"
        child = ChildProcess(["sleep", "60"], os.environ)
        child.kill()
        assert ended_how(await child.ended) == "was killed by signal 9"
        child.kill()  # harmless


async def test_a_child_that_does_not_listen_is_killed() -> None:
    """Killed after its grace period."""
    async with asyncio.timeout(20):
        child = ChildProcess(["sh", "-c", "trap '' TERM; echo > /dev/null; while :; do sleep 1; done"], os.environ)
        await asyncio.sleep(0.2)
        await child.stop(0.1)
        assert child.ended.result() == -9


async def test_a_worker_that_says_nothing_hangs(tmp_path: Path) -> None:
    """It may be silent for longer during the start than afterwards."""
    reports = WorkerReports(tmp_path / "socket")
    worker = ServiceManager(reports.environment())
    assert worker.watchdog_us == BEATS_WITHIN_S * 1_000_000
    assert [reports.second_passed() for _ in range(START_WITHIN_S + 1)] == [False] * START_WITHIN_S + [True]
    worker.tell("READY=1")
    async with asyncio.timeout(5):
        await reports.ready.wait()
    assert [reports.second_passed() for _ in range(BEATS_WITHIN_S + 1)] == [False] * BEATS_WITHIN_S + [True]
    assert not reports.draining.is_set()
    worker.tell("STOPPING=1")
    async with asyncio.timeout(5):
        await reports.draining.wait()
    reports.close()


def assignment(number: int) -> Assignment:
    """What the supervisor tells a worker."""
    return Assignment(
        number=number,
        supervisor=7,
        listen="127.0.0.1:1",
        admin_listen="off",
        cluster_nats=["nats://a"],
        cluster_relay="x-w2-5",
        siblings="x-w",
        cluster_secret_file="/s",
        sockets="/tmp/x",
    )


def test_an_assignment_arrives_as_it_was_made() -> None:
    """Sent over a pipe."""
    made = assignment(2)
    assert decode_assignment(made.encode()) == made


def test_each_worker_accepts_links_at_a_port_of_its_own(tmp_path: Path) -> None:
    """The first one at the configured port; port 0 takes a free one for each."""
    (secret := tmp_path / "secret").write_bytes(bytes(32))
    for configured, told in (("[::1]:52010", "[::1]:52012"), ("127.0.0.1:0", "127.0.0.1:0"), ("", "")):
        config = RelayConfig(cluster_nats=("nats://a",), cluster_secret_file=secret, cluster_listen=configured)
        worker = replace(assignment(3), cluster_secret_file=str(secret))
        assert worker.of(config).cluster_listen == told
