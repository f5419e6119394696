from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyaudio")
from edge_client.audio.speaker.portaudio import to_monotonic

_MONOTONIC, _REALTIME = 5_000.0, 1_700_000_000.0


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (_MONOTONIC - 0.004, _MONOTONIC - 0.004),
        (_MONOTONIC + 0.0005, _MONOTONIC + 0.0005),
        (_REALTIME - 0.25, _MONOTONIC - 0.25),
        (123.0, _MONOTONIC),
        (0.0, _MONOTONIC),
        (_MONOTONIC - 2.0, _MONOTONIC),
    ],
    ids=["monotonic", "rounded up", "realtime", "own base", "none", "too old"],
)
def test_time_base(current: float, expected: float) -> None:
    """A time stamp on either system clock keeps its age; any other is replaced by the current time."""
    assert to_monotonic(current, monotonic=_MONOTONIC, realtime=_REALTIME) == pytest.approx(expected, abs=1e-6)


@given(
    age=st.floats(-0.0009, 0.999),
    monotonic=st.floats(2.0, 1e7),
    realtime=st.one_of(st.floats(0.0, 0.5), st.floats(1e9, 4e9)),
    is_realtime=st.booleans(),
)
def test_either_clock_keeps_the_age_of_a_time_stamp(age: float, monotonic: float, realtime: float, is_realtime: bool) -> None:
    """For any values of the two clocks, including a machine that booted in 1970, where only the monotonic one is reliable."""
    base = realtime if is_realtime and realtime > 1e9 else monotonic
    told = to_monotonic(base - age, monotonic=monotonic, realtime=realtime)
    assert told == pytest.approx(monotonic - age, abs=1e-5)
