"""A background task that ends by itself is logged with its name and ends the program."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import pytest

from relay_server.background import Background
from relay_server.config import RelayConfig
from relay_server.server import build_relay, serving
from tests.lab.data import PROJECT_ROOT
from tests.relay_server.access.guarded import Access
from tests.relay_server.service.wired import FakeSpeech

FAULTY = """
import sys
from relay_server.access.guard import Guard
from relay_server.cli import main
async def run(self):
    raise ZeroDivisionError("injected")
Guard.run = run
main(sys.argv[1:])
"""


async def test_task_that_ends_ends_the_program(tmp_path: Path) -> None:
    """The real program, with a fault injected into the task that watches the access file."""
    flags = ("--listen", "127.0.0.1:0", "--access-file", str(Access(tmp_path).path))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", FAULTY, *flags, stdout=pipe, stderr=pipe, cwd=PROJECT_ROOT)
    errors = (await process.communicate())[1].decode()
    assert process.returncode == 1
    assert "background task ended unexpectedly; exiting: access file" in errors
    assert "ZeroDivisionError: injected" in errors
    assert errors.splitlines()[-1] == "relay-server: error: access file ended unexpectedly"


async def test_upkeep_that_fails_is_seen(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    relay, background = build_relay(RelayConfig(listen="127.0.0.1:0")), Background()

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(relay, "tick", fail)
    async with serving(relay, FakeSpeech(), background):
        await background.until(asyncio.Event())
    assert background.ended == "relay upkeep"


async def test_server_that_stops_by_itself_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()
    async with serving(build_relay(RelayConfig(listen="127.0.0.1:0")), FakeSpeech(), background) as (server, _):
        ((grpc_server, _name, _address),) = server._listeners._servers
        await grpc_server.stop(None)
        await background.until(asyncio.Event())
    assert background.ended == "gRPC servers"


async def test_end_in_order_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()
    async with serving(build_relay(RelayConfig(listen="127.0.0.1:0")), FakeSpeech(), background):
        pass
    assert (background.ended, caplog.records) == (None, [])


async def test_task_that_returns_counts_as_ended(caplog: pytest.LogCaptureFixture) -> None:
    background, never = Background(), asyncio.Event()

    async def work() -> None:
        pass

    background.start("short", work())
    await background.until(never)
    assert background.ended == "short"
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]


async def test_cancelled_tasks_end_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """Tasks cancelled by their owner, or by `stop`, end without a log line; `until` returns on request."""
    background, asked = Background(), asyncio.Event()
    owned = background.start("owned", asyncio.sleep(3_600))
    background.start("other", asyncio.sleep(3_600))
    await asyncio.sleep(0)
    owned.cancel()
    asked.set()
    await background.until(asked)
    await background.stop()
    assert (background.ended, caplog.records) == (None, [])
