"""Rules of `sweep_times`: an idle relay looks rarely, one with new connections of strangers often."""

from __future__ import annotations

from relay_server.access.connection_rules import Connection
from relay_server.access.sweep_times import DESCRIPTOR_US, LOOK_US, QUICK_US, SWEEP_US, YOUNG_US, SweepTimes, pause_us, young

STRANGER = Connection(7, 7, ("192.0.2.1", 1), 1, since_us=0)


def sweeps(seconds: int, strangers: list[Connection], *, opened_us: int = -1) -> list[int]:
    """When a relay sweeps, in µs, if a connection is opened at `opened_us`."""
    times, found = SweepTimes(), list[int]()
    for now_us in range(0, 1_000_000 * seconds, LOOK_US):
        if times.is_due(int(now_us >= opened_us >= 0), False, now_us):
            found.append(now_us)
            times.swept(bool(young(strangers, now_us)), now_us)
    return found


def test_an_idle_relay_sweeps_once_a_second() -> None:
    assert sweeps(60, []) == list(range(0, 60_000_000, SWEEP_US))


def test_a_new_connection_is_looked_for_twice() -> None:
    """gRPC may not have accepted it the first time."""
    opened_us = 3_250_000
    assert [at for at in sweeps(60, [], opened_us=opened_us) if 3_000_000 < at < 5_000_000] == [opened_us, opened_us + LOOK_US, 4_500_000]


def test_a_stranger_is_looked_at_often_while_it_is_young() -> None:
    assert sweeps(60, [STRANGER]) == [*range(0, YOUNG_US, LOOK_US), *range(YOUNG_US, 60_000_000, SWEEP_US)]


def test_activity_is_looked_at_at_once() -> None:
    times = SweepTimes()
    times.swept(False, 0)
    assert times.is_due(0, True, 1)
    assert not times.is_due(0, False, 1)


def test_sweeps_of_many_descriptors_follow_each_other_less_quickly() -> None:
    assert pause_us(100) == QUICK_US
    assert pause_us(10_000) == 10_000 * DESCRIPTOR_US
