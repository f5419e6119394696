"""The scheduling policy of threads that a relay starts for gRPC."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from relay_server.service.grpc_threads import threads_without_preemption


def in_a_thread(act: Callable[[], None]) -> None:
    """Run in a thread of its own: a policy belongs to a thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(act).result()


def policy_of_a_new_thread() -> int:
    """The policy that a thread has from the one that starts it."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    return found[0]


def test_only_threads_started_within_do_not_preempt() -> None:
    """The calling thread, and threads that it starts later, have the default policy."""

    def check() -> None:
        with threads_without_preemption():
            within = policy_of_a_new_thread()
        assert (within, os.sched_getscheduler(0), policy_of_a_new_thread()) == (os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_OTHER)

    in_a_thread(check)


def test_the_policy_returns_after_an_error() -> None:
    """A server that cannot be created leaves the calling thread as it was."""

    def check() -> None:
        with pytest.raises(ValueError), threads_without_preemption():
            raise ValueError
        assert os.sched_getscheduler(0) == os.SCHED_OTHER

    in_a_thread(check)


@pytest.mark.parametrize("chosen", [os.SCHED_BATCH, os.SCHED_IDLE])
def test_a_policy_chosen_by_the_operator_stays(chosen: int) -> None:
    """Within and after the context."""

    def check() -> None:
        os.sched_setscheduler(0, chosen, os.sched_param(0))
        with threads_without_preemption():
            within = policy_of_a_new_thread()
        assert (within, os.sched_getscheduler(0)) == (chosen, chosen)

    in_a_thread(check)


def test_a_system_that_refuses_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As musl and some sandboxes do."""

    def refuse(*arguments: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)

    def check() -> None:
        with threads_without_preemption():
            within = policy_of_a_new_thread()
        assert (within, os.sched_getscheduler(0)) == (os.SCHED_OTHER, os.SCHED_OTHER)

    in_a_thread(check)
