"""A rolling restart of a cluster under conversations to a device with a narrow link: complete relays in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest

from avatar_relay.media import OnPlaying
from avatar_relay.reasons import FinishReason
from tests.races.cluster_schedule import NAMES, ClusterSchedule
from tests.races.virtual_loop import run_virtual

NARROW_S = 2.8
"""The link widens 0.2 s before the streams end: the relay still drops motion, and the device soon holds later motion."""


async def restart_all(seed: int) -> int:
    """Each conversation must complete once, and all missing motion must have been reported; returns how many payloads were."""
    schedule = ClusterSchedule(seed)
    schedule.late_share = 0.0
    await schedule.begin(NAMES, {peer: "x" for peer in schedule.backends} | {schedule.edge: "y"})
    (backend, _), how, motions = schedule.backends, OnPlaying.QUEUE, Counter[str]()
    for name in NAMES:
        restart, began_s = schedule.restart(name, after_s=2.0, grace_s=2.0), schedule.clock() / 1e6
        while not restart.done():
            is_narrow = schedule.clock() / 1e6 - began_s < NARROW_S
            (schedule.narrow.add if is_narrow else schedule.narrow.discard)(schedule.edge)
            backend.speak(how, 4, end=False)
            motions[backend.said[-1]] += sum(backend.move(backend.said[-1]) for _ in range(4))
            await schedule.wait(0.08)
        backend.end(how)
    await schedule.settle()
    for cid in backend.said:
        assert [body.reason for body in backend.finished[cid]] == [FinishReason.COMPLETED.value]
        missing = motions[cid] - len(schedule.edge.moved[cid])
        assert missing <= backend.yielded[cid], f"{cid}: {missing} of {motions[cid]} are missing, {backend.yielded[cid]} were reported"
    return sum(backend.yielded.values())


@pytest.mark.parametrize("seed", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_all_relays_may_be_restarted(seed: int) -> None:
    """Motion that yields to sound just before a relay ends is reported as well."""
    assert run_virtual(restart_all(seed)) > 0
