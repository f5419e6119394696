from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edge_client.bounded_stderr import EXCERPT_CHARACTERS, STDERR_BYTES, BoundedStderr


@pytest.fixture
def stderr() -> Iterator[BoundedStderr]:
    """Nothing written yet."""
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
    """It uses no memory, and the child gets no error."""
    done = subprocess.run([sys.executable, "-c", _FLOOD], stdout=subprocess.PIPE, stderr=stderr.fileno(), check=True)
    assert done.stdout == b"unharmed\n"
    assert os.fstat(stderr.fileno()).st_size == STDERR_BYTES
    assert os.fstat(stderr.fileno()).st_blocks * 512 <= STDERR_BYTES
    assert stderr.excerpt() == "…" + "x" * (EXCERPT_CHARACTERS - 1)


def test_excerpt_is_one_printable_line(stderr: BoundedStderr) -> None:
    """The excerpt is safe to log, whatever the child wrote."""
    assert stderr.excerpt() == ""
    os.write(stderr.fileno(), b"first\n\x1b[2Jsecond \xff\xc3\xa4\n\n")
    assert stderr.excerpt() == "first\\n\\x1b[2Jsecond \\xffä"


def test_newest_text_is_kept(stderr: BoundedStderr) -> None:
    """The last output of a child that writes for days is reported, including what precedes the wrap."""
    os.write(stderr.fileno(), b"early ")
    os.write(stderr.fileno(), b"." * (STDERR_BYTES // 2))
    stderr.make_room()
    os.write(stderr.fileno(), b"assertion failed\n")
    assert stderr.excerpt().endswith("......assertion failed")
    stderr.make_room()
    os.write(stderr.fileno(), b"abort\n")
    assert stderr.excerpt().endswith("assertion failed\\nabort")


def test_memory_cannot_grow(stderr: BoundedStderr) -> None:
    """Nobody can grow the memory, not even the child, which holds the same descriptor."""
    with pytest.raises(PermissionError):
        os.ftruncate(stderr.fileno(), STDERR_BYTES + 1)
