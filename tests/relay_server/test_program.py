"""`relay-server` as run by a person or a service manager."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc

from avatar_relay.v1 import admin_service_pb2, admin_service_pb2_grpc
from relay_server.service.garbage import FULL_COLLECTIONS
from tests.lab.data import PROJECT_ROOT

MAX_COLLECTED = 2_000
"""Objects of an idle relay that a full collection looks at: more than 40,000 with those of its modules."""
COLLECTED = """
import asyncio, gc, os, signal
from relay_server.config import RelayConfig
from relay_server.server import serve

def ready(_address):
    print(len(gc.get_objects()), gc.get_threshold()[2])
    os.kill(os.getpid(), signal.SIGTERM)

asyncio.run(serve(RelayConfig(listen="127.0.0.1:0"), {}, ready))
"""

POLICIES = """
import asyncio, os, signal, threading
from relay_server.config import RelayConfig
from relay_server.server import serve

def ready(_address):
    polling = [thread.native_id for thread in threading.enumerate() if "_poll_wrapper" in thread.name]
    print(*(os.sched_getscheduler(thread) for thread in (0, *polling)))
    os.kill(os.getpid(), signal.SIGTERM)

asyncio.run(serve(RelayConfig(listen="127.0.0.1:0"), {}, ready))
"""
"""Prints the scheduling policies of the main thread and of those that poll for gRPC."""


async def start(*flags: str) -> asyncio.subprocess.Process:
    """Start the program."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "relay_server", *flags, stdout=pipe, stderr=pipe, cwd=PROJECT_ROOT)


async def test_serves_until_sigterm(tmp_path: Path) -> None:
    """The program prints its address, serves, and ends cleanly on SIGTERM."""
    port_file = tmp_path / "port"
    process = await start("--listen", "127.0.0.1:0", "--port-file", str(port_file))
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line.startswith("listening on 127.0.0.1:")
    address = line.split()[-1]
    assert address.endswith(":" + port_file.read_text().strip())
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = admin_service_pb2_grpc.AdminServiceStub(channel)
        assert not (await stub.ListDevices(admin_service_pb2.ListDevicesRequest())).devices
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_ends_when_asked_to_drain() -> None:
    """The RPC `Drain` ends the program like SIGTERM."""
    process = await start("--listen", "127.0.0.1:0")
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().split()[-1]
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = admin_service_pb2_grpc.AdminServiceStub(channel)
        assert (await stub.Drain(admin_service_pb2.DrainRequest())).conversations == 0
        assert await process.wait() == 0


async def test_a_wrong_setting_is_a_usage_error() -> None:
    """Exit status 2, and one line that names the setting."""
    process = await start("--listen", "0.0.0.0:0")
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"insecure_listen" in errors


def test_a_full_collection_skips_the_objects_of_the_start() -> None:
    """It stops all streams while it runs, so it is short, and rare."""
    done = subprocess.run([sys.executable, "-c", COLLECTED], check=True, capture_output=True, text=True, cwd=PROJECT_ROOT)
    objects, threshold = map(int, done.stdout.split())
    assert (objects <= MAX_COLLECTED, threshold) == (True, FULL_COLLECTIONS), objects


def test_the_polling_thread_does_not_preempt_the_loop() -> None:
    """One thread polls; it has another policy than the main thread."""
    done = subprocess.run([sys.executable, "-c", POLICIES], capture_output=True, text=True, timeout=30, cwd=PROJECT_ROOT, check=True)
    assert [int(policy) for policy in done.stdout.split()] == [os.SCHED_OTHER, os.SCHED_BATCH]
