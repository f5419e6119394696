"""Runs programs for tools and tests: each has its own log, and none outlives its parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import grpc

from avatar_relay.v1 import admin_service_pb2, admin_service_pb2_grpc

Result = TypeVar("Result")

START_S = 60.0
"""Time limit for a program to start, generous for slow machines."""
STOP_S = 10.0
"""Time limit for a program to stop after SIGTERM."""
POLL_S = 0.05


class ProgramError(Exception):
    """A program failed, or did not start in time; the message contains its last output lines."""


class Program:
    """A running program whose output goes to a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def running(self) -> bool:
        """Whether the program is still running."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def terminate(self) -> None:
        """Send SIGTERM, without waiting."""
        if self.running:
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL: end it at once, like a crash or a power cut."""
        if self.running:
            self._process.kill()

    def said(self) -> str:
        """The complete output so far."""
        return self.log.read_text(errors="replace")

    async def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Wait for the first match in its output. Raises `ProgramError` if it ends first, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    ended = not self.running
                    if match := re.search(pattern, self.said()):
                        return match
                    if ended:
                        raise self.failure(f"ended with status {self._process.returncode}")
                    await asyncio.sleep(POLL_S)
        raise self.failure(f"did not say {pattern!r} within {seconds:.0f} s")

    async def wait(self, seconds: float) -> None:
        """Wait for it to end. Raises `ProgramError` if it fails, or does not end within `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                status = await self._process.wait()
        except TimeoutError as error:
            raise self.failure(f"did not end within {seconds:.0f} s") from error
        if status != 0:
            raise self.failure(f"ended with status {status}")

    async def ended(self) -> None:
        """Wait for it to end, then raise `ProgramError`: for a program that should keep running."""
        status = await self._process.wait()
        raise self.failure(f"ended with status {status}")

    def failure(self, what: str) -> ProgramError:
        """Build an error with the last lines of the output."""
        lines = self.said().splitlines()[-15:]
        return ProgramError("\n  ".join([f"{self.name} {what}. Its last lines, from {self.log}:", *lines]))

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if it does not stop in time."""
        if self.running:
            self.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
        if self.running:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def running(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> AsyncIterator[Program]:
    """Run a program for the duration of the `with` block. It is terminated even if this process is killed.

    A device's persistent state is stored beside `log`, so that no run starts with the card measurements of another.
    """
    with log.open("wb") as output:
        # setpriv: the kernel kills the child when its parent ends, for any reason.
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "TERM", *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "XDG_STATE_HOME": str(log.parent.absolute() / "state"), **environment},
        )
    program = Program(name, process, log)
    try:
        yield program
    finally:
        await asyncio.shield(program.stop())


def stop_on_signals(task: asyncio.Task[None]) -> None:
    """Ctrl-C, a closed terminal and `kill` cancel the task."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)


def python(module: str) -> list[str]:
    """The command that runs one of our modules with this Python."""
    return [sys.executable, "-P", "-m", module]


async def attached(address: str, device_id: str) -> None:
    """Wait until the relay reports the device as attached."""
    async with grpc.aio.insecure_channel(address) as channel:
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        while True:
            answer = await admin.ListDevices(admin_service_pb2.ListDevicesRequest(), timeout=START_S)
            if any(device.device_id == device_id and device.attached for device in answer.devices):
                return
            await asyncio.sleep(0.05)


async def while_running(work: Coroutine[None, None, Result], *programs: Program) -> Result:
    """Run `work` while the programs run. Raises `ProgramError` if one of them ends meanwhile."""
    watchers = [asyncio.create_task(program.ended()) for program in programs]
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task, *watchers], return_when=asyncio.FIRST_COMPLETED)
        for watcher in watchers:
            if watcher.done():
                watcher.result()
        return task.result()
    finally:
        for pending in (task, *watchers):
            pending.cancel()
        await asyncio.gather(task, *watchers, return_exceptions=True)
