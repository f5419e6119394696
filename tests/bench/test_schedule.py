"""When the load generator publishes each payload."""

from __future__ import annotations

from dataclasses import replace

from scripts.bench.cases import PACED
from scripts.bench.load import schedule

CASE = replace(PACED, sessions=30, seconds=1.0)


def test_sessions_that_begin_one_after_another_then_keep_the_usual_times() -> None:
    """The ramp comes before the warm-up, and begins with the first session; after it, each session has its phase."""
    ramp_us = 1_500_000
    ramped, at_once = schedule(replace(CASE, ramp_s=ramp_us / 1e6)), schedule(CASE)
    begins_us = [min(due_us for due_us, session, _ in ramped if session == number) for number in range(CASE.sessions)]
    assert begins_us == sorted(begins_us)
    assert all(number * 50_000 <= begin_us < number * 50_000 + CASE.audio_us for number, begin_us in enumerate(begins_us))
    assert not any([next(is_motion for _, one, is_motion in ramped if one == session) for session in range(CASE.sessions)])
    later = {(due_us, session, is_motion) for due_us, session, is_motion in ramped if due_us >= ramp_us}
    phases = {(session, is_motion): due_us for due_us, session, is_motion in reversed(at_once)}
    steps = {False: CASE.audio_us, True: CASE.motion_us}
    assert all((due_us - phases[session, is_motion]) % steps[is_motion] == 0 for due_us, session, is_motion in later)
