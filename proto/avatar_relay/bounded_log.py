"""A log that others cannot fill, or write lines into: what a peer says stands in many of its messages."""

from __future__ import annotations

import logging
from collections.abc import Callable

BURST, PER_MINUTE = 3, 3
"""Lines of one kind: of one logger, with one message text before its values are put in. The relay tells of its strangers less often."""
MAX_KINDS = 512
MAX_CHARACTERS = 1_000


def plain(text: str, most: int = MAX_CHARACTERS) -> str:
    """Text in one line of at most so many characters, control characters as `\\\\x1b`, `\\\\n` and so on."""
    cut = text[:most] + ("…" if len(text) > most else "")
    return cut if cut.isprintable() else "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)


class BoundedLog(logging.Filter):
    """For a handler: makes each message plain, and leaves out all but a few of a kind in a minute.

    Only WARNING and above is counted, and INFO of loggers below `strict`: what those tell, a peer causes.
    """

    def __init__(self, now_us: Callable[[], int], strict: str = "") -> None:
        super().__init__()
        self._now_us = now_us
        self._strict = strict
        self._left: dict[tuple[str, object], tuple[float, int, int]] = {}
        """By kind: lines that may be written, when that was, and how many were left out since the last."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written; its message is plain then."""
        left_out = 0
        if record.levelno >= (logging.INFO if self._strict and record.name.startswith(self._strict) else logging.WARNING):
            now_us = self._now_us()
            kind = (record.name, record.msg)
            left, then_us, left_out = self._left.pop(kind, (float(BURST), now_us, 0))
            left = min(float(BURST), left + (now_us - then_us) * PER_MINUTE / 60e6)
            self._left[kind] = (left - 1, now_us, 0) if left >= 1 else (left, now_us, left_out + 1)
            if len(self._left) > MAX_KINDS:
                del self._left[next(iter(self._left))]
            if left < 1:
                return False
        more = f" (and {left_out} more of this kind)" if left_out else ""
        record.msg, record.args = plain(record.getMessage()) + more, None
        return True
