"""When a new release is kept and when it is rolled back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.installer.trial import ServiceState, Trial, TrialVerdict

UP = ServiceState("active", "running", 0, "sound running, face running")
STARTING = ServiceState("activating", "start")
NO_FACE = ServiceState("active", "running", 0, "sound running, face failing")


def verdict(trial: Trial, *looks: tuple[float, ServiceState]) -> TrialVerdict:
    """Return the verdict after the last check; all earlier ones must be undecided."""
    *before, last = [trial.look(now_s, state) for now_s, state in looks]
    assert set(before) <= {TrialVerdict.WAIT}
    return last


def test_a_release_that_is_ready_and_goes_on_stays() -> None:
    """Decided a minute after it was ready."""
    assert verdict(Trial(), (0, STARTING), (29, STARTING), (30, UP), (89, UP), (90, UP)) is TrialVerdict.KEEP


@pytest.mark.parametrize(
    ("looks", "reason"),
    [
        ([(0, STARTING), (30.1, STARTING)], "not ready within 30 s"),
        ([(0, STARTING), (1, ServiceState("activating", "auto-restart"))], "ended by itself"),
        ([(0, STARTING), (1, ServiceState("failed", "failed"))], "ended by itself"),
        ([(0, UP), (5, ServiceState("active", "running", 1))], "ended by itself"),
        ([(0, UP), (5, ServiceState("inactive", "dead"))], "became inactive"),
        ([(0, UP), (30, NO_FACE), (60, NO_FACE)], "face"),
    ],
)
def test_a_release_that_does_not_is_taken_back(looks: list[tuple[float, ServiceState]], reason: str) -> None:
    """With the reason."""
    trial = Trial()
    assert verdict(trial, *looks) is TrialVerdict.BACK
    assert reason in trial.reason


def test_a_part_that_comes_back_within_the_minute_is_no_loss() -> None:
    """Such as a face whose display was restarted."""
    assert verdict(Trial(), (0, UP), (30, NO_FACE), (60, UP)) is TrialVerdict.KEEP


def test_a_part_that_dies_and_comes_back_again_and_again_is_a_loss() -> None:
    """Although it runs at each check. Failures before it first ran do not count: a renderer may be replaced by another."""
    looks = [ServiceState("active", "running", 0, f"sound running, face running (started again {count} times)") for count in range(5)]
    starting = ServiceState("active", "running", 0, "sound running, face failing (started again 2 times)")
    assert verdict(Trial(), (0, starting), (5, looks[3]), (20, looks[4]), (60, looks[4])) is TrialVerdict.KEEP
    trial = Trial()
    assert verdict(trial, (0, starting), (5, looks[2]), (20, looks[3]), (40, looks[4])) is TrialVerdict.BACK
    assert trial.reason == "face: it was started again 2 times within 40 s"


def test_a_part_that_ran_before_the_change_has_to_run_after_it() -> None:
    """Also if it never ran in the new release; one that never ran before does not count."""
    assert verdict(Trial({"face"}), (0, NO_FACE), (60, NO_FACE)) is TrialVerdict.BACK
    assert verdict(Trial(), (0, NO_FACE), (60, NO_FACE)) is TrialVerdict.KEEP
    assert verdict(Trial({"sound"}), (0, ServiceState("active")), (60, ServiceState("active"))) is TrialVerdict.BACK


@given(st.lists(st.tuples(st.floats(0, 200), st.sampled_from([UP, STARTING, NO_FACE])), max_size=20))
def test_it_is_decided_in_time(looks: list[tuple[float, ServiceState]]) -> None:
    """For any observations: by 30 s and 60 s, with a reason."""
    trial = Trial()
    for now_s, state in sorted(looks, key=lambda look: look[0]):
        found = trial.look(now_s, state)
        assert found is not TrialVerdict.WAIT or now_s < 30 + 60 + 200
        if found is not TrialVerdict.WAIT:
            assert trial.reason
            return
