"""Freed memory is returned to the system."""

from __future__ import annotations

import subprocess
import sys

from relay_server.free_memory import WORTH_BYTES, TrimPolicy
from tests.lab.data import PROJECT_ROOT

FRAGMENTED = """
import random, threading
from relay_server.free_memory import find_trim, resident_bytes

def fill():
    kept.append([bytearray(random.randrange(20_000, 100_000)) for _ in range(1_000)])

kept, trim = [], find_trim()
assert trim is not None
before = resident_bytes()
threads = [threading.Thread(target=fill) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
kept = [blocks[::50] for blocks in kept]  # what is left lies everywhere
freed = resident_bytes()
trim()
print(before >> 20, freed >> 20, resident_bytes() >> 20)
"""

LARGE = """
import sys
from relay_server.free_memory import resident_bytes, use_small_heaps

if sys.argv[1] == "small":
    assert use_small_heaps()
bytearray(30 << 20)  # freed at once: from now on glibc takes blocks of up to this size from its heap, and keeps twice as much at its end
before = resident_bytes()
large = [bytearray(b"x" * (1 << 20)) for _ in range(40)]
del large
print((resident_bytes() - before) >> 20)
"""


def test_it_is_due_after_some_growth() -> None:
    """Growth is measured from the first measurement, and from each return of memory."""
    policy = TrimPolicy()
    assert not policy.is_due(50 << 20)
    assert not policy.is_due((50 << 20) + WORTH_BYTES - 1)
    assert policy.is_due((50 << 20) + WORTH_BYTES)
    policy.trimmed(60 << 20)
    assert not policy.is_due(70 << 20)
    assert policy.is_due(76 << 20)


def test_memory_of_many_threads_goes_back() -> None:
    """Freed blocks are interleaved with blocks in use, in the heaps of several threads."""
    before, freed, after = figures(FRAGMENTED)
    assert freed - before > 64, "nothing was kept: the test shows nothing"
    assert after - before < 32


def test_large_blocks_go_back_when_they_are_freed() -> None:
    """Without a trim."""
    assert figures(LARGE, "usual")[0] > 32, "nothing was kept: the test shows nothing"
    assert figures(LARGE, "small")[0] < 4


def figures(program: str, *arguments: str) -> list[int]:
    """The numbers that a program prints."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=True)
    return [int(figure) for figure in done.stdout.split()]
