"""The log as text, JSON and entries of systemd's journal."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_relay.log_output import MAX_ENTRY_CHARACTERS, JournalHandler, JsonFormatter, is_journal
from tests.lab.programs import python

STRANGE = 'a lone \udcff, two\nlines, "quotes"\nPRIORITY=0'


def record(message: str, level: int = logging.WARNING, **more: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "edge_client.link", "levelno": level, "levelname": logging.getLevelName(level), "msg": message, **more}
    )


def entry_in(datagram: bytes) -> dict[str, str]:
    """An entry as read by the journal: each value is preceded by its length."""
    fields = {}
    while datagram:
        name, _, rest = datagram.partition(b"\n")
        length = int.from_bytes(rest[:8], "little")
        value, end, datagram = rest[8 : 8 + length], rest[8 + length : 9 + length], rest[9 + length :]
        assert end == b"\n" and len(value) == length
        fields[name.decode("ascii")] = value.decode()
    return fields


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of systemd's journal."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "journal"))
        listener.settimeout(5)
        yield listener


def test_an_entry_has_fields_that_no_message_can_forge(journal: socket.socket) -> None:
    handler = JournalHandler("edge-client", journal.getsockname())
    handler.handle(record(STRANGE, lineno=7, pathname="link.py", funcName="attach"))
    found = entry_in(journal.recv(65_536))
    assert found == {
        "MESSAGE": STRANGE.replace("\udcff", "?"),
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "edge-client",
        "LOGGER": "edge_client.link",
        "THREAD_NAME": "MainThread",
        "CODE_FILE": "link.py",
        "CODE_LINE": "7",
        "CODE_FUNC": "attach",
    }
    for level, priority in ((logging.DEBUG, "7"), (logging.INFO, "6"), (logging.ERROR, "3"), (logging.CRITICAL, "2")):
        handler.handle(record("it", level))
        assert entry_in(journal.recv(65_536))["PRIORITY"] == priority
    handler.close()


def test_a_traceback_is_in_the_entry_and_bounded(journal: socket.socket) -> None:
    handler = JournalHandler("edge-client", journal.getsockname())
    try:
        raise ValueError("x" * 99_999)
    except ValueError:
        handler.handle(record("it broke", exc_info=sys.exc_info()))
    message = entry_in(journal.recv(65_536))["MESSAGE"]
    assert message.startswith("it broke\nTraceback (most recent call last):") and len(message) == MAX_ENTRY_CHARACTERS
    handler.close()


def test_what_the_journal_does_not_take_is_on_standard_error(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each line with its priority."""
    handler = JournalHandler("edge-client", str(tmp_path / "nobody"))
    handler.handle(record("two\nlines", logging.ERROR))
    assert capfd.readouterr().err == "<3>edge_client.link: two\n<3>edge_client.link: lines\n"
    handler.close()


def test_an_object_of_json_is_one_line() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        text = JsonFormatter("relay-server").format(record(STRANGE, created=1_700_000_000.25, exc_info=sys.exc_info()))
    assert "\n" not in text
    found = json.loads(text)
    assert found["exception"].endswith("ValueError: no")
    del found["exception"]
    assert found == {
        "time": "2023-11-14T22:13:20.250000Z",
        "level": "warning",
        "program": "relay-server",
        "logger": "edge_client.link",
        "thread": "MainThread",
        "message": STRANGE,
    }


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        found = os.fstat(log.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        assert is_journal(log.fileno(), {"JOURNAL_STREAM": stream})
        assert not is_journal(log.fileno(), {"JOURNAL_STREAM": stream + "1"})
        assert not is_journal(log.fileno(), {})
    assert not is_journal(-1, {"JOURNAL_STREAM": stream})


PROGRAMS = {
    "relay-server": [*python("relay_server"), "--listen", "127.0.0.1:0", "--log-level", "info"],
    "edge-client": [*python("edge_client"), "--relay", "127.0.0.1:1", "--renderer", "none", "--audio-sink", "virtual"],
}


def log_of(program: str, log: Path, *flags: str, environment: dict[str, str] | None = None) -> list[str]:
    """Return a program's log until it is stopped, which happens after its first output."""
    with log.open("wb") as file:
        stat = os.fstat(file.fileno())
        environment = {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"} if environment is None else environment
        state = {"XDG_STATE_HOME": str(log.parent)}
        with subprocess.Popen(
            [*PROGRAMS[program], *flags], stdout=subprocess.DEVNULL, stderr=file, env=os.environ | state | environment
        ) as run:
            while not log.stat().st_size and run.poll() is None:
                with pytest.raises(subprocess.TimeoutExpired):
                    run.wait(0.05)
            run.terminate()
            assert run.wait(30) == 0
    lines = log.read_text().splitlines()
    assert lines
    return lines


SLOW = pytest.mark.slow


@pytest.mark.parametrize("program", ["relay-server", pytest.param("edge-client", marks=SLOW)])
def test_a_program_writes_json(program: str, tmp_path: Path) -> None:
    """One object per line."""
    for line in log_of(program, tmp_path / "log", "--log-format", "json"):
        found = json.loads(line)
        assert found["program"] == program and found["level"] in ("debug", "info", "warning", "error") and found["message"]


@SLOW
@pytest.mark.parametrize("program", PROGRAMS)
def test_in_a_unit_without_a_journal_lines_have_priorities(program: str, tmp_path: Path) -> None:
    """As in a container without systemd's socket."""
    assert all(re.match(r"<[2-7]>[\w.]+: .", line) for line in log_of(program, tmp_path / "log"))


def test_the_address_is_written_in_one_piece() -> None:
    """The log, which has a thread of its own, may go to the same file: no entry comes between the line and its end, also unbuffered."""
    reader, output = os.pipe2(os.O_DIRECT)  # each read gets what one write wrote
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(PROGRAMS["relay-server"], stdout=output, stderr=subprocess.DEVNULL, env=environment) as run:
        line = os.read(reader, 4_096)
        run.terminate()
        assert run.wait(30) == 0
    assert re.fullmatch(rb"listening on 127\.0\.0\.1:\d+\n", line)
    os.close(reader)
    os.close(output)


@pytest.mark.parametrize("program", ["relay-server", pytest.param("edge-client", marks=SLOW)])
def test_a_log_that_nobody_reads_stops_no_program(program: str, tmp_path: Path) -> None:
    """As in a pipe to a program that hangs: it starts, goes on, and ends when it should."""
    reader, log = os.pipe()
    os.set_blocking(log, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(log, bytes(1 << 16))
    os.set_blocking(log, True)
    ready = tmp_path / "ready"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(ready))
        systemd.settimeout(30)
        environment = os.environ | {"XDG_STATE_HOME": str(tmp_path), "NOTIFY_SOCKET": str(ready)}
        with subprocess.Popen(PROGRAMS[program], stdout=subprocess.DEVNULL, stderr=log, env=environment) as run:
            while b"READY=1" not in systemd.recv(4_096):
                pass
            run.terminate()
            assert run.wait(30) == 0
    os.close(reader)
    os.close(log)
