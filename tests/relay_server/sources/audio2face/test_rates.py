"""Motion of NIM 1.3 and 2.0, at any rate, burst or paced, with any names: placed at its time codes, without delaying the sound."""

from __future__ import annotations

import asyncio
import itertools

import numpy as np
import pytest

from avatar_relay.reasons import Reason
from relay_server.sources.audio2face import clip
from relay_server.sources.audio2face.pace import FIRST_WAIT_S, LAST_WAIT_S
from relay_server.sources.source import AudioChunk, AudioEnded, Irregularity, MotionChunk, MotionLost
from tests.lab.services.audio2face import JUMP_S, NAMES_52, NAMES_68, TROUBLE_AT, Audio2FaceService, Style, Trouble
from tests.relay_server.sources.audio2face.speakers import HELLO, RATE_HZ, Speaker, against, noise
from tests.relay_server.sources.performances import Performed, read_all

SECONDS = 1.5
SPEECH = noise(SECONDS)
V1_3, V2_0 = {"joined": 1}, {"joined": 4, "rounded": True}
"""Each keyframe alone, or several in a message with time codes in milliseconds."""
STYLES = [
    Style(names=names, rate=rate, paced=paced, **version)  # type: ignore[arg-type]
    for version, names, rate, paced in itertools.product((V1_3, V2_0), (NAMES_52, NAMES_68), (24.0, 30.0, 60.0), (False, True))
]


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the rate as long as a busy machine needs."""
    monkeypatch.setattr(clip, "RATE_WAIT_S", 10.0)


async def performed(style: Style, trouble: Trouble = Trouble.NONE, **settings: object) -> tuple[Performed, float, Audio2FaceService]:
    """A complete performance, its rate, and the service."""
    service = Audio2FaceService(trouble, style=style)
    async with against(service, Speaker(SPEECH), **{"timeout_s": 8.0, **settings}) as source:
        performance = await source.perform(HELLO)
        assert performance.motion_format is not None
        assert performance.motion_format.blendshape_names == style.names
        return await read_all(performance), performance.motion_format.keyframes_per_second, service


def off_by_s(result: Performed, rate: float, service: Audio2FaceService, width: int) -> float:
    """The largest distance of a keyframe from its time code, in s; all must be present, bit for bit."""
    places = {row.tobytes(): index / rate for index, row in enumerate(result.rows(width))}
    (heard,) = service.calls
    return max(abs(places[row.tobytes()] - time_s) for row, time_s in zip(heard.rows, heard.times, strict=True))


@pytest.mark.parametrize("paced", [False, True], ids=["burst", "paced"])
async def test_motion_lands_at_its_time_codes(paced: bool) -> None:
    """Within one keyframe, none lost, at the rate that the time codes imply; the sound is complete."""
    styles = [style for style in STYLES if style.paced == paced]
    results = await asyncio.gather(*(performed(style) for style in styles))
    for style, (result, rate, service) in zip(styles, results, strict=True):
        assert rate == style.rate, style
        assert off_by_s(result, rate, service, len(style.names)) <= 1 / rate, style
        assert result.audio == SPEECH
        assert not result.losses
        assert not any(isinstance(item, Irregularity) for item in result.items)


async def test_time_codes_that_jump() -> None:
    """Later motion is delayed by the jump, and the gap is filled."""
    result, rate, service = await performed(Style(rate=30.0), Trouble.JUMPS)
    rows, sent = result.rows(len(service.names)), service.calls[0].rows
    jump = round(JUMP_S * rate)
    np.testing.assert_array_equal(rows[:TROUBLE_AT], sent[:TROUBLE_AT])
    np.testing.assert_array_equal(rows[TROUBLE_AT + jump], sent[TROUBLE_AT])


@pytest.mark.parametrize(("seen", "declared"), [(60.0, 30.0), (24.0, 30.0), (30.0, 60.0)])
async def test_declared_rate_that_disagrees_is_told(seen: float, declared: float) -> None:
    """Once, with both rates; the motion is as long as its sound nevertheless."""
    result, rate, service = await performed(Style(rate=seen), keyframes_per_second=declared)
    (doubt,) = [item for item in result.items if isinstance(item, Irregularity)]
    assert doubt.fault.reason is Reason.MOTION_RATE_MISMATCH
    assert f"show {seen:g} keyframes per second, not {declared:g}" in doubt.fault.text
    assert rate == declared
    assert abs(len(result.rows(len(service.names))) / rate - SECONDS) <= 2 / min(seen, declared)


@pytest.mark.parametrize("trouble", [Trouble.STALLS_MIDWAY, Trouble.NEVER_ANSWERS], ids=lambda trouble: trouble.name)
async def test_silent_service_does_not_hold_the_sound(trouble: Trouble) -> None:
    """Each second of sound is sent in time for gapless playback, and the loss is reported soon after the last one."""
    service = Audio2FaceService(trouble)
    loop = asyncio.get_running_loop()
    items, times = [], []
    async with against(service, Speaker(SPEECH), timeout_s=8.0) as source:
        began_s = loop.time()
        performance = await source.perform(HELLO)
        async for item in performance.items:
            items.append(item)
            times.append(loop.time() - began_s)
    sounds = [(item, time_s) for item, time_s in zip(items, times, strict=True) if isinstance(item, AudioChunk)]
    assert b"".join(item.data for item, _ in sounds) == SPEECH
    first_s = sounds[0][1]
    heard_s = 0.0
    for item, time_s in sounds:
        assert time_s <= first_s + heard_s + 0.02
        heard_s += len(item.data) / 2 / RATE_HZ
    (lost,) = [(item, time_s) for item, time_s in zip(items, times, strict=True) if isinstance(item, MotionLost)]
    assert lost[0].fault.reason is Reason.SOURCE_SILENT
    assert lost[1] <= first_s + SECONDS + 2.0
    if trouble is Trouble.STALLS_MIDWAY:
        assert first_s <= FIRST_WAIT_S
        assert isinstance(items[-2], AudioEnded)
        assert sum(isinstance(item, MotionChunk) for item in items) >= 1
        assert lost[1] >= first_s + SECONDS + LAST_WAIT_S - 0.2
