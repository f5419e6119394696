"""Transitions between drivers of the face, without a jump."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_client.motion.pose import POSE_SIZE, Pose
from edge_client.motion.transition import CATCH_UP_US, IN_US, OUT_US, Driver, Transition


def _pose(value: float) -> Pose:
    return np.full(POSE_SIZE, value, np.float32)


def test_in_takes_eight_keyframes() -> None:
    """Fading in from rest to full motion takes 320 ms."""
    transition = Transition()
    weights = [transition.step(Driver.MOTION, _pose(1.0), time_us).weight for time_us in range(0, 400_001, 80_000)]
    assert weights == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.0])
    assert IN_US == 8 * 40_000


def test_out_takes_twenty_keyframes_and_ends_in_rest() -> None:
    """Fading out takes 800 ms; the rest of the pose fades with its weight."""
    transition = Transition()
    transition.step(Driver.MOTION, _pose(1.0), 0)
    transition.step(Driver.MOTION, _pose(1.0), 1_000_000)
    transition.step(Driver.IDLE, None, 1_000_000)
    half = transition.step(Driver.IDLE, None, 1_000_000 + OUT_US // 2)
    assert half.weight == pytest.approx(0.5)
    assert half.pose[0] == pytest.approx(0.5)
    assert transition.step(Driver.IDLE, None, 1_000_000 + OUT_US).weight == 0.0
    assert OUT_US == 20 * 40_000


def test_held_pose_stands_and_live_motion_is_caught_up_with() -> None:
    """The pose holds while motion is missing, then blends into the motion available by then."""
    transition = Transition()
    for time_us in (0, 500_000):
        transition.step(Driver.MOTION, _pose(0.2), time_us)
    assert transition.step(Driver.HELD, None, 900_000).pose[0] == pytest.approx(0.2)
    transition.step(Driver.MOTION, _pose(1.0), 1_000_000)
    middle = transition.step(Driver.MOTION, _pose(1.0), 1_000_000 + CATCH_UP_US // 2)
    assert middle.pose[0] == pytest.approx(0.6)
    assert transition.step(Driver.MOTION, _pose(1.0), 1_000_000 + CATCH_UP_US).pose[0] == 1.0


def test_a_time_before_the_blend_began_does_not_end_it() -> None:
    """The picture that began the blend was expected 20 ms late; the next one, for an earlier time, is not at the blend's end."""
    transition = Transition()
    transition.step(Driver.MOTION, _pose(1.0), 1_020_000)
    assert transition.step(Driver.MOTION, _pose(1.0), 1_010_000).weight == 0.0
    assert transition.step(Driver.MOTION, _pose(1.0), 1_020_000 + IN_US // 2).weight == pytest.approx(0.5)


@given(st.lists(st.tuples(st.sampled_from(Driver), st.integers(0, 50)), min_size=1, max_size=60))
def test_never_jumps(steps: list[tuple[Driver, int]]) -> None:
    """For any drivers and times of change: the face moves no faster than the shortest blend allows."""
    transition, now_us, last = Transition(), 0, 0.0
    for driver, hold in steps:
        for _ in range(hold + 1):
            now_us += 10_000
            blend = transition.step(driver, _pose(1.0), now_us)
            value = float(blend.pose[0])
            assert abs(value - last) <= 10_000 / CATCH_UP_US + 1e-5
            assert 0.0 <= blend.weight <= 1.0
            last = value
