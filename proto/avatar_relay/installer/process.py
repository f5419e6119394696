"""Commands that the installer runs, the signals that interrupt it, and the lock that keeps a second one waiting."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from avatar_relay.installer.faults import cause_of, last_error

COMMAND_S, LOCK_S, LOCK_LOOK_S = 120, 3_600, 0.2
OUTPUT_LINES = 12


class InstallError(Exception):
    """An operation failed. The text is one line and says what to do; `output` is the end of the output of the command that failed."""

    def __init__(self, text: str, output: str = "") -> None:
        super().__init__(text)
        self.output = output


class InstallInterrupted(BaseException):
    """A signal asked the installer to end; the text is the signal's name."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `InstallInterrupted` on SIGINT, SIGTERM and SIGHUP, except those that are ignored (nohup). In the main thread only."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise InstallInterrupted(signal.Signals(number).name)

    numbers = [one for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def only_one(root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Lock a machine against a second installer; waits for the first. Raises `InstallError` after `LOCK_S`.

    Commands inherit the lock: if the installer is killed, the next one waits until a pip that still runs has ended.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.set_inheritable(descriptor, True)
        end_s, told = time.monotonic() + LOCK_S, False
        while not _take(descriptor):
            if time.monotonic() > end_s:
                raise InstallError(f"another installation has been running here for {LOCK_S // 60} minutes")
            if not told:
                say("another installation is running here; waiting until it ends")
                told = True
            time.sleep(LOCK_LOOK_S)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def run(*command: str | Path, limit_s: float = COMMAND_S, what: str, finishes: bool = False) -> str:
    """Run a command; returns its standard output. Raises `InstallError` with the reason, and the end of its output.

    It is killed, with what it started, if the installer is interrupted; one that `finishes`, such as apt-get, is waited for instead.
    """
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            start_new_session=True,
            close_fds=False,
        )
    except OSError as error:
        raise InstallError(f"{what}: {command[0]}: {error.strerror}") from error
    with process:
        try:
            out, errors = process.communicate(timeout=limit_s)
        except BaseException as error:
            late = isinstance(error, subprocess.TimeoutExpired)
            if finishes and not late:
                process.communicate()
                raise
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if late:
                raise InstallError(f"{what}: it took longer than {limit_s:g} s") from error
            raise
    if process.returncode != 0:
        said = (out + errors).strip()
        reason = cause_of(said) or f"{name} ended with status {process.returncode}: {last_error(said)}"
        raise InstallError(f"{what}: {reason}", "\n".join(said.splitlines()[-OUTPUT_LINES:]))
    return out
