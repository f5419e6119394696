"""The scheduling policy of gRPC's threads.

gRPC's polling thread wakes whenever an operation is complete, and then wakes the event loop. With Linux's default policy it interrupts the
loop to do so, between a write to one stream and a write to the next. A thread with SCHED_BATCH does not preempt a running thread when it
wakes; its share of the processor is the same (sched(7)). It runs once the loop has done what it can, or at once on an idle core.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def threads_without_preemption() -> Iterator[None]:
    """Threads that the calling thread starts within the context do not preempt others when they wake, nor do threads that these start.

    Nothing changes if the calling thread has another policy than the default, as a service manager can choose, or if the system refuses.
    """
    changed = _change(os.SCHED_OTHER, os.SCHED_BATCH)
    try:
        yield
    finally:
        if changed:
            _change(os.SCHED_BATCH, os.SCHED_OTHER)


def _change(before: int, after: int) -> bool:
    """Change the calling thread's policy, if it is `before`; returns whether it did."""
    try:
        if os.sched_getscheduler(0) != before:
            return False
        os.sched_setscheduler(0, after, os.sched_param(0))  # the only priority of these policies
    except OSError:  # musl has no such call, and a sandbox may forbid it
        return False
    return True
