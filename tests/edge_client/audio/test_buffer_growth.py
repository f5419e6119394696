"""When a card's buffer grows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.buffer_growth import SAFE_STEPS_US, STEPS_US, BufferGrowth
from edge_client.choices import Latency

S = 1_000_000


def test_in_the_next_silence() -> None:
    """After one underrun it waits for silence."""
    growth = BufferGrowth(10_000)
    assert growth.look(0, 0, sounding=False) is None
    assert growth.look(1 * S, 1, sounding=True) is None
    assert growth.look(60 * S, 1, sounding=True) is None
    assert growth.look(61 * S, 1, sounding=False) == 20_000


def test_at_once_after_three_within_ten_seconds() -> None:
    """After three underruns further apart it waits too."""
    growth = BufferGrowth(20_000)
    assert [growth.look(second * S, count, sounding=True) for second, count in ((0, 1), (6, 2), (11, 3), (15, 4))] == [
        None,
        None,
        None,
        50_000,
    ]
    assert BufferGrowth(20_000).look(0, 3, sounding=True) == 50_000


def test_how_far() -> None:
    """The buffer grows to 50 ms; beyond that only by a setting."""
    assert BufferGrowth(50_000).look(0, 9, sounding=False) is None
    assert BufferGrowth(50_000, "safe").look(0, 9, sounding=False) == 100_000
    assert BufferGrowth(200_000, "safe").look(0, 9, sounding=False) is None
    assert BufferGrowth(21_333).look(0, 1, sounding=False) == 50_000


@given(
    st.integers(1_000, 300_000),
    st.sampled_from(["low", "safe"]),
    st.lists(st.tuples(st.integers(0, 9 * S), st.integers(0, 2), st.booleans())),
)
def test_it_only_grows_and_within_bounds(buffer_us: int, latency: Latency, course: list[tuple[int, int, bool]]) -> None:
    """The buffer never shrinks, never exceeds the limit, and never grows without an underrun."""
    growth, now_us, dry = BufferGrowth(buffer_us, latency), 0, 0
    for step_us, more, sounding in course:
        now_us, dry = now_us + step_us, dry + more
        if (grown_us := growth.look(now_us, dry, sounding=sounding)) is not None:
            assert dry > 0
            assert buffer_us < grown_us <= (SAFE_STEPS_US if latency == "safe" else STEPS_US)[-1]
