"""The thread that writes the log."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

from avatar_relay import log_thread
from avatar_relay.log_thread import MAX_WAITING_CHARACTERS, LogThread

WAIT_S = 30


class HeldUp(logging.Handler):
    """Writes nothing until it is released, as a full pipe does."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert self.released.wait(WAIT_S)
        if record.msg == "fails":
            raise OSError
        self.written.append(self.format(record))


def record(message: str, *args: object, **more: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "args": args, **more})


@pytest.fixture
def output() -> HeldUp:
    return HeldUp()


@pytest.fixture
def handler(output: HeldUp, monkeypatch: pytest.MonkeyPatch) -> LogThread:
    monkeypatch.setattr(log_thread, "FLUSH_S", WAIT_S)
    return LogThread(output)


def test_callers_go_on_and_all_is_written_in_order(handler: LogThread, output: HeldUp) -> None:
    """Arguments have the values that they had."""
    values = [1]
    for _ in range(100):
        handler.handle(record("%s", values))
        values[0] += 1
    output.released.set()
    handler.flush()
    assert output.written == [f"[{number}]" for number in range(1, 101)]


def test_what_waits_is_bounded_and_what_is_lost_is_counted(handler: LogThread, output: HeldUp) -> None:
    """The count follows what was written before the loss."""
    for number in range(30):
        handler.handle(record(f"{number:02}" + "x" * (MAX_WAITING_CHARACTERS // 10)))
    output.released.set()
    handler.flush()
    *texts, lost = output.written
    assert [text[:2] for text in texts] == [f"{number:02}" for number in range(len(texts))]
    assert 9 <= len(texts) <= 10
    assert lost == f"{30 - len(texts)} log entries were lost here, because what reads the log was too slow"
    handler.handle(record("again"))
    handler.flush()
    assert output.written[-1] == "again"


def test_a_traceback_is_kept_as_text(handler: LogThread, output: HeldUp) -> None:
    """The frames, and what they hold, are not."""
    try:
        raise ValueError("no")
    except ValueError:
        handler.handle(record("it broke", exc_info=sys.exc_info()))
    output.released.set()
    handler.flush()
    (text,) = output.written
    assert text.startswith("it broke\nTraceback") and text.endswith("ValueError: no")


def test_one_bad_record_does_not_end_the_log(handler: LogThread, output: HeldUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one with a wrong format nor one that cannot be written."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    output.released.set()
    for message in (record("%d", "a"), record("fails"), record("after them")):
        handler.handle(message)
    handler.flush()
    assert output.written == ["after them"]


def test_a_flush_has_an_end(output: HeldUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program does not wait at its end for what does not read its log."""
    monkeypatch.setattr(log_thread, "FLUSH_S", 0.01)
    handler = LogThread(output)
    handler.handle(record("it"))
    handler.flush()
    assert output.written == []
    output.released.set()
