"""The policy by itself: exact times, and its rules for any sequence of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_client.children.supervision import KILL_US, LONGEST_STEP_US, Action, ChildLimits, ChildState, Restarts, Signs, Supervision

STEP_US = 200_000
LIMITS = ChildLimits(progress_us=3_000_000, first_progress_us=30_000_000, pauses_us=(0, 500_000, 5_000_000))


class Course:
    """A supervision, its clock, and the child as the policy sees it."""

    def __init__(self, limits: ChildLimits = LIMITS) -> None:
        self.policy = Supervision(limits)
        self.now_us = 1_000_000
        self.beats = self.progress = 0
        self.exists = False
        self.silent_us = 0

    def step(self, passed_us: int = STEP_US, *, beats: bool = True, progress: bool = True) -> Action:
        """Advance the time; a child that exists shows the given signs of life."""
        self.now_us += passed_us
        if self.exists:
            self.beats += beats
            self.progress += progress
        action = self.policy.act(self.now_us, Signs(self.beats, self.progress) if self.exists else None)
        if action is Action.START:
            assert not self.exists
            self.exists, self.beats, self.progress = True, 0, 0
            self.policy.started()
        return action

    def end(self, reason: str = "it ended", *, wanted: bool = False) -> None:
        """End the child."""
        self.exists = False
        self.policy.ended(self.now_us, reason, wanted=wanted)

    def until(self, wanted: Action, limit_us: int = 60_000_000, *, beats: bool = True, progress: bool = True) -> int:
        """Time until the wanted action, in µs."""
        begin_us = self.now_us
        while self.step(beats=beats, progress=progress) is not wanted:
            assert self.now_us - begin_us < limit_us
        return self.now_us - begin_us


def running() -> Course:
    """A course whose child runs."""
    course = Course()
    assert course.step() is Action.START
    assert str(course.policy.standing) == "starting"
    course.step()
    assert course.policy.standing.state is ChildState.RUNNING
    return course


def test_silence_is_two_missed_beats() -> None:
    """Two missed beats of a child that has made progress count as silence; the reason is kept until it has ended."""
    course = running()
    assert 2_000_000 < course.until(Action.KILL, beats=False) <= 2_000_000 + STEP_US
    assert str(course.policy.standing) == "failing (no sign of life for 2 s)"
    course.end("it was killed by SIGKILL")
    assert str(course.policy.standing) == "failing (no sign of life for 2 s)"


def test_a_driver_that_opens_may_hold_the_interpreter() -> None:
    """Before the first progress more beats may be missing."""
    course = Course()
    course.step()
    course.step(progress=False)
    assert 10_000_000 < course.until(Action.KILL, beats=False, progress=False) <= 10_000_000 + STEP_US


def test_a_process_may_take_long_to_start() -> None:
    """Before its first beat only the time limit for its first progress applies."""
    course = Course()
    course.step()
    assert 30_000_000 < course.until(Action.KILL, beats=False, progress=False) <= 30_000_000 + STEP_US


def test_a_child_that_was_stopped_opens_nothing() -> None:
    """A child that was stopped gets no more time than one that runs."""
    course = Course()
    course.step()
    while course.policy.act(course.now_us, Signs(1, 0, is_stopped=True)) is Action.NOTHING:
        course.now_us += STEP_US
        assert course.now_us < 4_000_000
    assert course.policy.standing.reason == "no sign of life for 2 s"


def test_standing_still_is_noticed_though_it_beats() -> None:
    """Each kind of standstill is noticed within its limit, despite beats."""
    course = Course()
    course.step()
    assert 30_000_000 < course.until(Action.KILL, progress=False) <= 30_000_000 + STEP_US
    course = running()
    assert 3_000_000 < course.until(Action.KILL, progress=False) <= 3_000_000 + STEP_US
    assert str(course.policy.standing) == "failing (no progress for 3 s)"


def test_a_watcher_that_was_stopped_kills_nobody() -> None:
    """An hour between two checks counts as one step."""
    course = running()
    for _ in range(3):
        assert course.step(3_600_000_000, beats=False, progress=False) is Action.NOTHING
    assert course.step() is Action.NOTHING
    assert course.policy.standing.state is ChildState.RUNNING


def test_an_unkillable_child_has_none_beside_it() -> None:
    """An unkillable child has no other beside it, even after hours; once it has ended, the next one is started."""
    course = running()
    course.until(Action.KILL, beats=False)
    for _ in range(KILL_US // STEP_US + 1):
        assert course.step(beats=False) is Action.NOTHING
    assert "unkillable" in course.policy.standing.reason
    assert all(course.step(3_600_000_000, beats=False) is Action.NOTHING for _ in range(50))
    course.end()
    assert course.until(Action.START) <= STEP_US


def test_pauses_grow_and_are_forgotten_after_good_times() -> None:
    """Pauses grow, the last one repeats, and they are reset after good times."""
    course = Course()
    pauses = []
    for _ in range(4):
        pauses.append(course.until(Action.START))
        course.end()
    assert pauses == [STEP_US, STEP_US, 600_000, 5_000_000]
    course.until(Action.START)
    for _ in range(11_000_000 // STEP_US):
        course.step()
    course.end("later")
    assert course.policy.standing.reason == "later"
    assert course.until(Action.START) == STEP_US


def test_a_wanted_end_is_no_failure() -> None:
    """A child that ends on request is started again at once, without a reason against it."""
    course = running()
    course.end(wanted=True)
    assert str(course.policy.standing) == "starting"
    assert course.until(Action.START) == STEP_US


def test_what_others_found_counts() -> None:
    """The child is killed with the given reason; one started meanwhile is not."""
    course = running()
    course.policy.replace("the display died")
    assert course.step() is Action.KILL
    course.end()
    assert course.policy.standing.reason == "the display died"
    course.policy.replace("the display died")
    course.until(Action.START)
    assert course.step() is Action.NOTHING


ENDS = st.sampled_from(["", "", "", "ends", "wanted"])
STEPS = st.lists(st.tuples(st.integers(0, 2 * LONGEST_STEP_US), st.booleans(), st.booleans(), ENDS), max_size=200)


@given(STEPS)
def test_on_any_course(steps: list[tuple[int, bool, bool, str]]) -> None:
    """None is started beside another, none is killed twice or without cause, and a child without a sign of life is always killed."""
    course = Course()
    silent_us = still_us = 0
    progressed = dying = beaten = False
    for passed_us, beats, progress, end in steps:
        if end and course.exists:
            course.end(wanted=end == "wanted")
            dying = False
        existed = course.exists
        action = course.step(passed_us, beats=beats, progress=progress)
        step_us = min(passed_us, LONGEST_STEP_US)
        if action is Action.START:
            silent_us = still_us = 0
            progressed = dying = beaten = False
            continue
        if not existed or dying:
            assert action is Action.NOTHING
            continue
        silent_us = 0 if beats else silent_us + step_us
        progressed, beaten = progressed or progress, beaten or beats
        still_us = 0 if progress else still_us + step_us
        silent = beaten and silent_us > (2_000_000 if progressed else 10_000_000)
        overdue = silent or still_us > (3_000_000 if progressed else 30_000_000)
        assert (action is Action.KILL) == overdue
        dying = overdue


def test_failures_are_counted_with_the_last_reason_and_wanted_ends_are_not() -> None:
    course = running()
    course.end("it was killed by signal 11")
    course.until(Action.START)
    course.until(Action.KILL, progress=False)
    course.end("it was killed by signal 9")
    assert course.policy.restarts == Restarts(2, "no progress for 30 s"), "our own kill is not the reason"
    course.until(Action.START)
    course.step()
    course.end("another screen is there", wanted=True)
    assert course.policy.restarts == Restarts(2, "no progress for 30 s")
