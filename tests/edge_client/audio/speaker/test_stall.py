from __future__ import annotations

from edge_client.audio.speaker.stall import STALL_SECONDS, StallWatch

_CHECK_SECONDS = 0.25
_CHECKS = round(STALL_SECONDS / _CHECK_SECONDS)


def test_count_that_stands_is_a_stall() -> None:
    """Not before the time is over, and not once more after the count has moved."""
    watch = StallWatch(100.0)
    assert not watch.is_stalled(7, 100.0)
    for check in range(1, _CHECKS + 1):
        assert not watch.is_stalled(7, 100.0 + check * _CHECK_SECONDS)
    assert watch.is_stalled(7, 100.0 + (_CHECKS + 1) * _CHECK_SECONDS)
    assert not watch.is_stalled(8, 110.0)


def test_device_that_never_asks_is_a_stall() -> None:
    """The time counts from the beginning of the watch."""
    watch = StallWatch(100.0)
    assert any(watch.is_stalled(0, 100.0 + check * _CHECK_SECONDS) for check in range(_CHECKS + 2))


def test_time_in_which_nobody_could_look_does_not_count() -> None:
    """A client that was stopped as a whole for a minute finds its device well."""
    watch = StallWatch(100.0)
    assert not watch.is_stalled(7, 100.25)
    assert not watch.is_stalled(7, 160.0)
    assert not watch.is_stalled(8, 160.25)
