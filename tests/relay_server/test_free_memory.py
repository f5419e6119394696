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
    command = [sys.executable, "-c", FRAGMENTED]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=30, check=True)
    before, freed, after = map(int, done.stdout.split())
    assert freed - before > 64, "nothing was kept: the test shows nothing"
    assert after - before < 32
