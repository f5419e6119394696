"""Offset and drift between relay and device, against clocks whose offset and drift are known."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from avatar_relay.messages import Pong
from edge_client.link.clock_probe import BUCKET_US, MAX_BUCKETS, ClockProbe, reading_from


@dataclass
class Relay:
    """A relay's clock: ours plus `offset_us`, running `drift_ppm` faster."""

    offset_us: float
    drift_ppm: float = 0.0

    def offset_at(self, device_us: float) -> float:
        return self.offset_us + device_us * self.drift_ppm * 1e-6

    def pong(self, sent_us: int, there_us: int, back_us: int, work_us: int = 20) -> tuple[Pong, int]:
        """A pong to a ping sent at `sent_us`, and its time of arrival."""
        came = sent_us + there_us
        left = came + work_us
        pong = Pong(1, sent_us, round(came + self.offset_at(came)), round(left + self.offset_at(left)), 0)
        return pong, left + back_us


def test_symmetric_way_gives_the_offset() -> None:
    """With equal delays both ways the offset is exact, however long the relay takes to answer."""
    probe = ClockProbe()
    probe.add(*Relay(-5_000_000).pong(1_000_000, 400, 400, work_us=50_000))
    estimate = probe.estimate(1_000_000)
    assert estimate is not None
    assert abs(estimate.offset_us + 5_000_000) <= 1
    assert estimate.round_trip_us == 800


def test_nothing_is_known_before_the_first_pong() -> None:
    """Without a reading there is no estimate."""
    assert ClockProbe().estimate(0) is None


def test_smallest_round_trip_wins() -> None:
    """A slow and asymmetric pong does not disturb the estimate of a fast one."""
    probe, relay = ClockProbe(), Relay(1_234_567)
    probe.add(*relay.pong(1_000_000, 200, 200))
    for second in range(2, 8):
        probe.add(*relay.pong(second * 1_000_000, 30_000, 500))
    estimate = probe.estimate(8_000_000)
    assert estimate is not None
    assert abs(estimate.offset_us - 1_234_567) < 5
    assert estimate.round_trip_us == 400


def test_drift_is_found() -> None:
    """Five minutes of jittery pings find 40 ppm within 5 ppm."""
    probe, relay, dice = ClockProbe(), Relay(1e9, 40.0), random.Random(1)
    for second in range(300):
        probe.add(*relay.pong(second * 1_000_000, 300 + int(dice.expovariate(1 / 2000)), 300 + int(dice.expovariate(1 / 2000))))
    estimate = probe.estimate(300_000_000)
    assert estimate is not None
    assert abs(estimate.drift_ppm - 40) < 5
    assert abs(estimate.offset_us - relay.offset_at(300_000_000)) < 1_000


def test_another_machine_begins_anew() -> None:
    """A reading that contradicts all earlier ones replaces them: offsets of two machines are never mixed."""
    probe = ClockProbe()
    for second in range(30):
        probe.add(*Relay(1e9).pong(second * 1_000_000, 300, 300))
    probe.add(*Relay(7e9).pong(31_000_000, 300, 300))
    estimate = probe.estimate(31_000_000)
    assert estimate is not None
    assert abs(estimate.offset_us - 7e9) < 2
    assert probe.restarts == 1


def test_times_that_can_not_be_are_counted() -> None:
    """A pong from the future, or one with a negative round trip, is not used."""
    assert reading_from(Pong(1, 100, 0, 0, 0), 50) is None
    assert reading_from(Pong(1, 100, 10, 5, 0), 200) is None
    probe = ClockProbe()
    probe.add(Pong(1, 100, 0, 500, 0), 200)
    assert probe.rejected == 1
    assert probe.estimate(200) is None


@example(offset=0, drift=200.0, ways=[(0, 19_982)], later=0)
@given(
    offset=st.integers(-(10**12), 10**12),
    drift=st.floats(-200, 200),
    ways=st.lists(st.tuples(st.integers(0, 80_000), st.integers(0, 80_000)), min_size=1, max_size=150),
    later=st.integers(0, 60_000_000),
)
def test_truth_lies_within_the_error(offset: int, drift: float, ways: list[tuple[int, int]], later: int) -> None:
    """For any delays, and drift up to its maximum, the true offset is within the error bound, plus the rounding of a pong's four
    times to whole microseconds."""
    probe, relay = ClockProbe(), Relay(offset, drift)
    for number, (there, back) in enumerate(ways):
        probe.add(*relay.pong(number * 1_000_000, there, back))
    now = len(ways) * 1_000_000 + later
    estimate = probe.estimate(now)
    assert estimate is not None
    assert probe.restarts == 0
    assert abs(estimate.offset_us - relay.offset_at(now)) <= estimate.error_us + 2


def test_memory_is_bounded() -> None:
    """Over hours of pings the latest ten minutes are kept: older readings no longer count."""
    probe, relay = ClockProbe(), Relay(0)
    probe.add(*relay.pong(0, 1, 1))
    for bucket in range(1, MAX_BUCKETS + 1):
        probe.add(*relay.pong(bucket * BUCKET_US, 5_000, 5_000))
    estimate = probe.estimate(0)
    assert estimate is not None
    assert estimate.round_trip_us == 10_000
