"""Each fault of a Motion Server, by name: what is reported, what the device does, what is retried."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from avatar_relay.avatarkit import count_keyframes
from avatar_relay.reasons import DropReason, Reason
from relay_server.sources.avatarkit import feed
from tests.relay_server.sources.avatarkit.motion_server import Mode, MotionServer
from tests.relay_server.sources.avatarkit.rig import PATIENCE_S, Rig, rig, sound

SECONDS = 7.3
KEYFRAMES = 182


@dataclass(frozen=True)
class Outcome:
    """Expected result of a fault. `lost` is why the conversation continues with sound only, None if all motion is shown.

    `handshakes` counts established sessions, `requests` how often the sound was sent.
    """

    lost: Reason | None = None
    noted: tuple[Reason, ...] = ()
    handshakes: int = 1
    requests: int = 1
    dropped: tuple[DropReason, ...] = ()


AWAY, REFUSED, SILENT, INVALID = Reason.SOURCE_UNAVAILABLE, Reason.SOURCE_REFUSED, Reason.SOURCE_SILENT, Reason.SOURCE_INVALID
RETRIED_BEFORE = Outcome(None, (AWAY,))
RETRIED_MIDWAY = Outcome(None, (AWAY,), handshakes=2, requests=2)
REFUSED_BEFORE = Outcome(REFUSED, (REFUSED,), handshakes=0, requests=0)
REFUSED_MIDWAY = Outcome(REFUSED, (REFUSED,))
INVALID_BEFORE = Outcome(INVALID, (INVALID,), handshakes=0, requests=0)
INVALID_MIDWAY = Outcome(INVALID, (INVALID,))

OUTCOMES: dict[Mode, Outcome] = {
    Mode.WELL: Outcome(),
    Mode.TOKEN_REFUSED: REFUSED_BEFORE,
    Mode.TOKEN_UNBILLED: REFUSED_BEFORE,
    Mode.TOKEN_ERRORS: RETRIED_BEFORE,
    Mode.TOKEN_EMPTY: INVALID_BEFORE,
    Mode.TOKEN_BROKEN: RETRIED_BEFORE,
    Mode.TOKEN_SLOW: Outcome(None, (SILENT,)),
    Mode.UPGRADE_400: REFUSED_BEFORE,
    Mode.UPGRADE_401: RETRIED_BEFORE,
    Mode.UPGRADE_402: REFUSED_BEFORE,
    Mode.UPGRADE_404: REFUSED_BEFORE,
    Mode.UPGRADE_503: RETRIED_BEFORE,
    Mode.HANDSHAKE_ERROR: REFUSED_BEFORE,
    Mode.HANDSHAKE_TEXT: INVALID_BEFORE,
    Mode.HANDSHAKE_GARBAGE: INVALID_BEFORE,
    Mode.HANDSHAKE_UNNAMED: INVALID_BEFORE,
    Mode.NO_CONFIRM: Outcome(None, (SILENT,)),
    Mode.CLOSE_AT_ONCE: Outcome(None, (AWAY,), handshakes=2),
    Mode.CLOSE_1000: RETRIED_MIDWAY,
    Mode.CLOSE_1011: RETRIED_MIDWAY,
    Mode.CLOSE_4001: REFUSED_MIDWAY,
    Mode.CLOSE_4002: RETRIED_MIDWAY,
    Mode.CLOSE_4003: REFUSED_MIDWAY,
    Mode.CLOSE_4010: REFUSED_MIDWAY,
    Mode.CLOSE_4503: RETRIED_MIDWAY,
    Mode.CUT: RETRIED_MIDWAY,
    Mode.ERROR_14: Outcome(None, (AWAY,), handshakes=1, requests=2),
    Mode.ERROR_16: REFUSED_MIDWAY,
    Mode.ERROR_4001: REFUSED_MIDWAY,
    Mode.ERROR_4002: RETRIED_MIDWAY,
    Mode.UNKNOWN_TYPE: Outcome(),
    Mode.TEXT: Outcome(),
    Mode.GARBAGE: INVALID_MIDWAY,
    Mode.BROKEN_ANIMATION: Outcome(Reason.MOTION_UNDECODABLE, (Reason.MOTION_UNDECODABLE,), dropped=(DropReason.UNDECODABLE,)),
    Mode.TOO_LARGE: INVALID_MIDWAY,
    Mode.FLOOD: INVALID_MIDWAY,
    Mode.LATE: Outcome(),
    Mode.DUPLICATE: Outcome(dropped=(DropReason.DUPLICATE,)),
    Mode.NO_END: Outcome(),
    Mode.EMPTY_END: Outcome(),
    Mode.WRONG_REQUEST: Outcome(INVALID, (INVALID,), dropped=(DropReason.CONVERSATION_UNKNOWN,)),
    Mode.NOTHING: Outcome(SILENT, (SILENT,)),
    Mode.STOPS: Outcome(SILENT, (SILENT,)),
}
OTHERWISE: dict[tuple[str, Mode], Outcome] = {
    # does not report the status within the body, and reports an invalid request
    ("spatialreal", Mode.TOKEN_ERRORS): REFUSED_BEFORE,
    # does not report the close code that it sent itself
    ("spatialreal", Mode.TOO_LARGE): RETRIED_MIDWAY,
}
WHOLE = {Mode.FLOOD}
"""Faults before which the motion covers all of the sound: nothing of it is given up."""
SHORT = {Mode.TOKEN_SLOW, Mode.NO_CONFIRM}
"""Faults that are detected by the timeout of a session's start."""
STALLED = {Mode.NOTHING, Mode.STOPS}
"""Faults that are detected because motion never arrives."""


async def be_patient_again(house: Rig) -> None:
    """The timeout under test has passed: the next attempt may take as long as a busy machine needs."""
    while house.server.faults_left:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    house.pool._start_timeout_s = PATIENCE_S


@pytest.mark.parametrize("sdk", ["spatius", pytest.param("spatialreal", marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name)
async def test_fault(mode: Mode, sdk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sound plays to its end, once; motion is complete, or given up for the expected reason; the next conversation succeeds."""
    if mode in STALLED:
        monkeypatch.setattr(feed, "STALL_US", 500_000)  # shorter than in production
    expected = OTHERWISE.get((sdk, mode), OUTCOMES[mode])
    server = MotionServer(mode, stop_after=1)
    timeout_s: dict[str, Any] = {"start_timeout_s": 2} if mode in SHORT else {}
    async with rig(sdk, server, speed=200, **timeout_s) as house, asyncio.TaskGroup() as tasks:
        if mode in SHORT:
            tasks.create_task(be_patient_again(house))
        conversation_id = await house.speak(sound(SECONDS))
        seen = house.device.seen[conversation_id]
        assert [(finished.reason, finished.interrupted) for finished in seen.finished] == [("completed", False)]
        assert abs(seen.finished[0].position_us - SECONDS * 1e6) <= 20_000
        assert seen.audio_only == (expected.lost is not None and mode not in WHOLE)
        fault = house.reports.get(conversation_id)
        assert (fault.reason if fault is not None else None) == expected.lost
        assert tuple(house.watched.failures) == expected.noted
        assert set(house.watched.drops) - {DropReason.CONVERSATION_CLOSED} == set(expected.dropped)
        assert (server.counts.handshakes, len(server.requests)) == (expected.handshakes, expected.requests)
        sent = iter([data for request in server.requests.values() for data in request.sent])
        assert all(data in sent for data in seen.motion), "motion out of its order, or not as it was sent"
        if expected.lost is None:
            assert sum(count_keyframes(data) for data in seen.motion) == KEYFRAMES
        assert server.counts.most_open_sessions <= 1
