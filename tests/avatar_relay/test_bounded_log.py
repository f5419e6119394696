"""Text from a peer cannot fill a log, nor add lines to it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from avatar_relay.bounded_log import BURST, MAX_CHARACTERS, MAX_KINDS, PER_MINUTE, BoundedLog, plain


class Log:
    """A logger whose handler is bounded."""

    def __init__(self) -> None:
        self.now_us = 0
        self.text = io.StringIO()
        self.handler = logging.StreamHandler(self.text)
        self.bounded = BoundedLog(lambda: self.now_us)
        self.handler.addFilter(self.bounded)
        self.logger = logging.getLogger("tests.bounded")
        self.logger.setLevel(logging.DEBUG)
        self.logger.propagate = False
        self.logger.addHandler(self.handler)

    def lines(self) -> list[str]:
        return self.text.getvalue().splitlines()


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    yield made
    made.logger.removeHandler(made.handler)


def test_a_kind_is_written_a_few_times_and_then_counted(log: Log) -> None:
    for number in range(1_000):
        log.logger.warning("refused: %s", number)
    assert log.lines() == [f"refused: {number}" for number in range(BURST)]
    log.now_us += 60_000_000 // PER_MINUTE
    log.logger.warning("refused: %s", "again")
    assert log.lines()[-1] == f"refused: again (and {1_000 - BURST} more of this kind)"


def test_kinds_do_not_wait_for_each_other(log: Log) -> None:
    for number in range(100):
        log.logger.warning("one: %s", number)
    log.logger.warning("another")
    assert log.lines()[-1] == "another"


@pytest.mark.parametrize(("strict", "lines"), [("", 100), ("other", 100), ("tests", BURST)])
def test_what_is_for_following_the_work_is_bounded_where_peers_cause_it(log: Log, strict: str, lines: int) -> None:
    log.bounded._strict = strict
    for number in range(100):
        log.logger.info("detail: %s", number)
    assert len(log.lines()) == lines


def test_its_memory_is_bounded(log: Log) -> None:
    for number in range(10 * MAX_KINDS):
        log.logger.warning(f"{number}")  # noqa: G004
    assert len(log.bounded._left) == MAX_KINDS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n2026 INFO all is well\x1b[0m", "a\\n2026 INFO all is well\\x1b[0m"),
        ("ä 日 \u202e", "ä 日 \\u202e"),
        ("x" * 5_000, "x" * MAX_CHARACTERS + "…"),
    ],
)
def test_messages_are_one_plain_line(log: Log, text: str, shown: str) -> None:
    log.logger.warning("the relay says %s", text)
    assert log.lines() == [plain(f"the relay says {shown}")]
    assert plain(text) == shown


def test_a_traceback_stays(log: Log) -> None:
    try:
        raise ValueError("x")
    except ValueError:
        log.logger.exception("broken")
    assert "Traceback" in log.text.getvalue()
