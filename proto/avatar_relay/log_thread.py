"""Writes a log on a thread of its own: a full pipe, a stopped terminal or a slow disk holds up that thread, and nothing else."""

from __future__ import annotations

import copy
import logging
import threading
from collections import deque

MAX_WAITING_CHARACTERS = 1 << 20
"""Maximum text in the queue. Entries that do not fit are lost, and the log says how many."""
FLUSH_S = 1.0
"""Time limit of `flush`: a program that ends does not wait longer for whatever reads its log."""

_text_of = logging.Formatter()


class LogThread(logging.Handler):
    """Hands each record to another handler, in order, on a thread of its own. Thread-safe."""

    def __init__(self, output: logging.Handler) -> None:
        super().__init__()
        self._output = output
        self._changed = threading.Condition()
        self._waiting: deque[logging.LogRecord] = deque()
        self._characters = 0
        self._lost = 0
        self._writes = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`. Texts are made here, because arguments and frames may change or be large."""
        record = copy.copy(record)
        try:
            record.msg, record.args = record.getMessage(), None
        except Exception:  # as in the standard library, a wrong format is reported and not raised
            self.handleError(record)
            return
        if record.exc_info:
            record.exc_text, record.exc_info = _text_of.formatException(record.exc_info), None
        with self._changed:
            if self._characters + _size(record) > MAX_WAITING_CHARACTERS:
                self._lost += 1
                return
            self._waiting.append(record)
            self._characters += _size(record)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything is written, for `FLUSH_S` at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._writes, FLUSH_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                record = self._waiting.popleft()
                self._characters -= _size(record)
                lost, self._lost = (0, self._lost) if self._waiting else (self._lost, 0)
                self._writes = True
            try:
                self._output.emit(record)  # without its lock, which `logging.shutdown` waits for
                if lost:
                    self._output.emit(_report(lost))
            except Exception:  # one record must not end the log
                self._output.handleError(record)
            with self._changed:
                self._writes = False
                self._changed.notify_all()


def _size(record: logging.LogRecord) -> int:
    return len(record.msg) + len(record.exc_text or "")


def _report(lost: int) -> logging.LogRecord:
    text = "%s log entries were lost here, because what reads the log was too slow"
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (lost,), None)
