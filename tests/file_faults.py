"""File and descriptor operations that fail in the programs' own code, as on a machine without descriptors, space or memory."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Sequence
from typing import Any

import pytest

ERRORS = [OSError(number, os.strerror(number)) for number in (errno.EMFILE, errno.ENOSPC, errno.EIO, errno.ENOMEM)] + [MemoryError()]
IN_OS = ("open", "stat", "lstat", "readlink", "fstat", "read", "write", "fsync", "replace", "fchmod", "fchown", "unlink", "mkdir", "close")
OPERATIONS = (*((os, name) for name in IN_OS), (fcntl, "flock"))
CALLERS = ("relay_server.access.", "edge_client.state", "avatar_relay.pem", "os", "posixpath", "pathlib")
"""Modules whose calls can fail. Those of the test and of its runner cannot."""


class Failing:
    """Of the calls of `operations`, that after `after` others fails, and those that follow, `lasts` in all.

    A `close` that fails has closed the descriptor, as on Linux.
    """

    def __init__(
        self, patched: pytest.MonkeyPatch, error: BaseException, after: int, lasts: int = 1, operations: Sequence[Any] = OPERATIONS
    ) -> None:
        self._error = error
        self._left = after
        self._lasts = lasts
        self.called: set[str] = set()
        """The names of all operations that were called."""
        for owner, name in operations:
            patched.setattr(owner, name, self._fallible(name, getattr(owner, name)))

    @property
    def failed(self) -> bool:
        """Whether an operation was reached that failed."""
        return self._left < 0

    def _fallible(self, name: str, real: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            if sys._getframe(1).f_globals["__name__"].startswith(CALLERS):
                self.called.add(name)
                self._left -= 1
                if -self._lasts <= self._left < 0:
                    if name == "close":
                        real(*arguments)
                    raise self._error
            return real(*arguments, **more)

        return call
