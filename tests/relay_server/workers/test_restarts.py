"""The delay before a dead worker is restarted."""

from __future__ import annotations

from relay_server.workers.restarts import FIRST_WAIT_US, LARGEST_WAIT_US, STABLE_US, RestartPolicy


def test_one_that_ran_comes_back_at_once() -> None:
    """Restarted at once: its devices are waiting."""
    restarts = RestartPolicy()
    assert [restarts.wait_us(STABLE_US) for _ in range(3)] == [0, 0, 0]


def test_one_that_fails_again_and_again_waits_for_longer() -> None:
    """The delay grows up to a bound; a good run resets it."""
    restarts = RestartPolicy()
    waits = [restarts.wait_us(1_000) for _ in range(20)]
    assert waits[:3] == [FIRST_WAIT_US, 2 * FIRST_WAIT_US, 4 * FIRST_WAIT_US]
    assert waits[-1] == max(waits) == LARGEST_WAIT_US
    assert restarts.wait_us(STABLE_US) == 0
    assert restarts.wait_us(0) == FIRST_WAIT_US
