from __future__ import annotations

import pytest

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
    """A time stamp on either system clock keeps its age; any other is replaced by now."""
    assert to_monotonic(current, monotonic=_MONOTONIC, realtime=_REALTIME) == pytest.approx(expected, abs=1e-6)
