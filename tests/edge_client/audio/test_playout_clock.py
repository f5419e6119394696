"""The frame heard now, from anchors."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge_client.audio.playout_clock import STEP_US, ClockReader, PlayoutClock
from edge_client.audio.sink import Anchor

RATE_HZ = 48_000.0


def _settled(**offset: int) -> PlayoutClock:
    clock = PlayoutClock(**offset)
    for block in range(3):
        clock.on_anchor(Anchor(block * 480.0, block * 10_000, RATE_HZ, block * 480 + 4_800))
    return clock


def test_valid_only_once_settled() -> None:
    """The first time stamp of a device is unreliable; a repeated anchor is ignored."""
    clock = PlayoutClock()
    assert clock.frame_at(0) is None
    anchor = Anchor(0.0, 0, RATE_HZ, 4_800)
    clock.on_anchor(anchor)
    clock.on_anchor(anchor)
    clock.on_anchor(None)
    assert not clock.settled
    assert clock.frame_at(5_000) is None
    assert clock.time_of(240) is None


def test_runs_between_anchors() -> None:
    """Between anchors the position advances linearly, at the sink's rate."""
    clock = _settled()
    assert clock.frame_at(25_000) == 1_200.0
    assert clock.time_of(1_200) == 25_000


def test_freezes_at_what_was_handed_over() -> None:
    """During an underrun the position does not change."""
    clock = _settled()
    assert clock.frame_at(10_000_000) == 960 + 4_800


def test_stands_while_the_sink_is_paused_and_goes_on() -> None:
    """A pause takes no time on the media timeline."""
    clock = _settled()
    clock.on_anchor(Anchor(1_440.0, 30_000, 0.0, 1_440))
    assert clock.frame_at(5_000_000) == 1_440
    assert clock.time_of(2_000) is None
    clock.on_anchor(Anchor(1_440.0, 5_000_000, RATE_HZ, 5_000))
    assert clock.frame_at(5_010_000) == 1_920


def test_offset_of_the_output() -> None:
    """Sound that is heard 200 ms after it left the device."""
    clock = _settled(output_offset_us=200_000)
    assert clock.frame_at(225_000) == 1_200.0
    assert clock.time_of(1_200) == 225_000


def test_large_disagreement_is_taken_over_at_once() -> None:
    """A device that lost 100 ms: the clock is right with the next anchor."""
    clock = _settled()
    clock.on_anchor(Anchor(20_000.0, 30_000, RATE_HZ, 40_000))
    assert clock.frame_at(30_000) == 20_000.0


def test_a_prediction_is_not_remembered_and_never_before_what_was_heard() -> None:
    """A query for 300 ms ahead changes no later answer; a clock that would step back stops, for predictions too."""
    clock = _settled()
    reader = ClockReader(clock)
    clock.on_anchor(Anchor(20_000.0, 30_000, RATE_HZ, 100_000))
    far = reader.predicted_at(330_000)
    heard = reader.frame_at(31_000)
    assert far is not None
    assert heard is not None
    assert reader.predicted_at(31_000) == heard < far
    clock.on_anchor(Anchor(10_000.0, 40_000, RATE_HZ, 100_000))
    assert reader.predicted_at(41_000) == heard


@given(st.lists(st.integers(-900, 900), min_size=50, max_size=200), st.integers(-500, 500))
def test_jitter_of_time_stamps_is_smoothed_and_drift_is_followed(noise_us: list[int], ppm: int) -> None:
    """Time stamps that are off by up to 0.9 ms move the clock by less than a third of that; it never decreases."""
    clock = PlayoutClock()
    reader = ClockReader(clock)
    rate_hz = RATE_HZ * (1 + ppm * 1e-6)
    frames = []
    for block, noise in enumerate(noise_us):
        now_us = block * 10_000
        true = rate_hz * now_us / 1e6
        clock.on_anchor(Anchor(true + noise * RATE_HZ / 1e6, now_us, RATE_HZ, 1 << 40))
        for probe_us in range(now_us, now_us + 10_000, 2_500):
            frame = reader.frame_at(probe_us)
            if frame is not None:
                frames.append(frame)
    assert frames == sorted(frames)
    steps = [later - earlier for earlier, later in itertools.pairwise(frames)]
    assert max(steps) <= RATE_HZ * 0.0025 + 0.2 * RATE_HZ * 0.0018 + 5
    assert abs(frames[-1] - rate_hz * (len(noise_us) * 10_000 - 2_500) / 1e6) <= STEP_US * RATE_HZ / 1e6


def test_the_offset_of_the_card_adds_to_that_of_the_settings() -> None:
    clock = PlayoutClock(output_offset_us=10_000)
    for block in range(3):
        clock.on_anchor(Anchor(block * 480.0, block * 10_000, RATE_HZ, block * 480 + 4_800, offset_us=5_000))
    assert clock.offset_us == 15_000
    assert (clock.frame_at(40_000), clock.time_of(1_200)) == (1_200.0, 40_000)
