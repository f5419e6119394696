"""A log filter against flooding and line injection: many messages quote text from a peer."""

from __future__ import annotations

import logging
from collections.abc import Callable

BURST, PER_MINUTE = 3, 3
"""Lines of one kind: one logger and one message text before its values are inserted. The relay limits unknown peers further."""
MAX_KINDS = 512
MAX_CHARACTERS = 1_000


def plain(text: str, most: int = MAX_CHARACTERS) -> str:
    """Text as one line of at most `most` characters, with control characters as `\\\\x1b`, `\\\\n` and so on."""
    cut = text[:most] + ("…" if len(text) > most else "")
    return cut if cut.isprintable() else "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)


class BoundedLog(logging.Filter):
    """Filter for a handler: makes each message plain, and limits the rate per kind.

    Only WARNING and above is limited, and INFO of loggers below `strict`: peers cause those messages.
    """

    def __init__(self, now_us: Callable[[], int], strict: str = "") -> None:
        super().__init__()
        self._now_us = now_us
        self._strict = strict
        self._left: dict[tuple[str, object], tuple[float, int, int]] = {}
        """By kind: remaining lines, the time of that count, and lines left out since the last one written."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written; its message is made plain."""
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
