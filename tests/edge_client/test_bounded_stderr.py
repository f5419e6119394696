from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edge_client.bounded_stderr import EXCERPT_CHARACTERS, STDERR_BYTES, BoundedStderr


@pytest.fixture
def stderr() -> Iterator[BoundedStderr]:
    """With nothing written yet."""
    before = sorted(os.listdir("/proc/self/fd"))
    stderr = BoundedStderr()
    yield stderr
    stderr.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


_FLOOD = """
import ctypes
libc = ctypes.CDLL(None)
line = b"x" * 99_999 + b"\\n"
for _ in range(2_000):
    libc.write(2, line, len(line))
print("unharmed")
"""


def test_child_that_writes_200_mb_runs_on(stderr: BoundedStderr) -> None:
    """It takes neither memory nor an error that it does not look at."""
    done = subprocess.run([sys.executable, "-c", _FLOOD], stdout=subprocess.PIPE, stderr=stderr.fileno(), check=True)
    assert done.stdout == b"unharmed\n"
    assert os.fstat(stderr.fileno()).st_size == STDERR_BYTES
    assert os.fstat(stderr.fileno()).st_blocks * 512 <= STDERR_BYTES
    assert stderr.excerpt() == "…" + "x" * (EXCERPT_CHARACTERS - 1)


def test_excerpt_is_one_printable_line(stderr: BoundedStderr) -> None:
    """Whatever the child wrote: the log stays a log."""
    assert stderr.excerpt() == ""
    os.write(stderr.fileno(), b"first\n\x1b[2Jsecond \xff\xc3\xa4\n\n")
    assert stderr.excerpt() == "first\\n\\x1b[2Jsecond \\xffä"


def test_newest_text_is_kept(stderr: BoundedStderr) -> None:
    """A child that talks for days has its last words told; what was written before the turn comes before them."""
    os.write(stderr.fileno(), b"early ")
    os.write(stderr.fileno(), b"." * (STDERR_BYTES // 2))
    stderr.make_room()
    os.write(stderr.fileno(), b"assertion failed\n")
    assert stderr.excerpt().endswith("......assertion failed")
    stderr.make_room()
    os.write(stderr.fileno(), b"abort\n")
    assert stderr.excerpt().endswith("assertion failed\\nabort")


def test_memory_cannot_grow(stderr: BoundedStderr) -> None:
    """Not by the child either, which holds the same descriptor."""
    with pytest.raises(PermissionError):
        os.ftruncate(stderr.fileno(), STDERR_BYTES + 1)
