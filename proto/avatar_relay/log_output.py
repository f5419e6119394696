"""Writes a program's log to standard error: text lines, JSON objects, or entries of systemd's journal with fields.

The journal's native protocol is one datagram per entry, with one field per line (https://systemd.io/JOURNAL_NATIVE_PROTOCOL). If the
journal does not accept an entry, it is written to standard error as a line that begins with its priority (sd-daemon(3)), which systemd also
reads.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from avatar_relay.log_settings import LogFormat
from avatar_relay.log_thread import LogThread

JOURNAL_SOCKET = "/run/systemd/journal/socket"
MAX_ENTRY_CHARACTERS = 16_384
"""Length of a message with its traceback; the rest is cut off."""
_LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def begin_log(program: str, level: str, form: LogFormat, limits: logging.Filter, environment: Mapping[str, str]) -> None:
    """Write all of this process's log from now on, on a thread of its own. `limits` filters each record."""
    if form == "journal" or (form == "auto" and is_journal(2, environment)):
        output: logging.Handler = JournalHandler(program)
    else:
        output = StandardError()
        output.setFormatter(JsonFormatter(program) if form == "json" else logging.Formatter(_LINE))
    handler = LogThread(output)
    handler.addFilter(limits)
    logging.basicConfig(level=level.upper(), handlers=[handler])


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Whether systemd connected a descriptor to the journal: JOURNAL_STREAM has its device and inode."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class JsonFormatter(logging.Formatter):
    """One line with an object: `time` (UTC), `level`, `program`, `logger`, `thread`, `message`, and `exception` if there is one."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "program": self._program,
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        elif record.exc_text:
            fields["exception"] = record.exc_text
        return json.dumps(fields, ensure_ascii=False)


class StandardError(logging.Handler):
    """Writes lines to the descriptor of standard error.

    Not to `sys.stderr`, whose lock would be held by a thread that waits for the reader when the program ends. Nothing is written, and
    nothing raised, if there is no standard error or if its reader is gone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._descriptor, self._encoding = (2, sys.stderr.encoding) if sys.stderr else (-1, "utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self.write(self.format(record) + "\n")

    def write(self, text: str) -> None:
        """Write text as it is; blocks for as long as standard error does."""
        data = memoryview(text.encode(self._encoding, "backslashreplace"))
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            return


class JournalHandler(logging.Handler):
    """Sends entries with the fields MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, LOGGER, THREAD_NAME, CODE_FILE, CODE_LINE and CODE_FUNC.

    Never blocks for long: an entry that the journal does not accept at once goes to standard error.
    """

    def __init__(self, program: str, path: str = JOURNAL_SOCKET) -> None:
        super().__init__()
        self._program = program
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._plain = logging.Formatter("%(message)s")
        self._standard_error = StandardError()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        text = self._plain.format(record)[:MAX_ENTRY_CHARACTERS]
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        fields = {
            "MESSAGE": text,
            "PRIORITY": priority,
            "SYSLOG_IDENTIFIER": self._program,
            "LOGGER": record.name,
            "THREAD_NAME": record.threadName,
            "CODE_FILE": record.pathname,
            "CODE_LINE": record.lineno,
            "CODE_FUNC": record.funcName,
        }
        try:
            self._socket.sendto(entry_of(fields), self._path)
        except OSError:
            lines = text.splitlines() or [""]
            self._standard_error.write("".join(f"<{priority}>{record.name}: {line}\n" for line in lines))

    def close(self) -> None:
        """See `logging.Handler`."""
        self._socket.close()
        super().close()


def entry_of(fields: Mapping[str, Any]) -> bytes:
    """An entry of the journal: no value can start another field, because each is preceded by its length."""
    parts = []
    for name, value in fields.items():
        data = str(value).encode("utf-8", "replace")
        parts.append(name.encode("ascii") + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
    return b"".join(parts)
