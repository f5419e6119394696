"""Many conversations of random lengths, interrupted at random points: nothing lost, nothing mixed up, each finished once."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator

import pytest

from avatar_relay.media import OnPlaying
from relay_server.sources.performance import Rendition
from tests.relay_server.sources.avatarkit.rig import Rig, rig, sound
from tests.standins.motion_server import MotionServer

LONGEST_S = 9.0
BATCH = 100
"""Conversations with one set of programs: what a device saw of each is kept in memory."""


class Talk:
    """One conversation as it was meant: how long, and whether it is cut short, by whom and when."""

    def __init__(self, dice: random.Random) -> None:
        self.seconds = dice.uniform(0.1, LONGEST_S)
        self.cut = dice.choice(("", "", "avatar", "operator", "replaced"))
        self.cut_after_s = dice.uniform(0, self.seconds * 1.2)
        self.chunk = dice.choice((1_001, 3_200, 6_400, 64_000))
        self.on_playing = dice.choice((OnPlaying.REPLACE, OnPlaying.QUEUE))


async def converse(house: Rig, talks: list[Talk], speed: float) -> list[tuple[Talk, str]]:
    """Have them all, one after the other; a replaced one is followed before it is over."""
    had: list[tuple[Talk, str]] = []
    running: list[asyncio.Task[None]] = []
    for talk in talks:
        rendition = await house.begin(b"", talk.on_playing, chunks=_voice(talk))
        had.append((talk, rendition.conversation_id))
        running.append(asyncio.create_task(rendition.finish()))
        if talk.cut:
            await asyncio.sleep(talk.cut_after_s / speed)
            _cut(house, talk, rendition)
        if talk.cut != "replaced":
            await house.until_finished(rendition.conversation_id)
    for _, conversation_id in had:
        await house.until_finished(conversation_id)
    await asyncio.gather(*running)
    return had


def _cut(house: Rig, talk: Talk, rendition: Rendition) -> None:
    if talk.cut == "avatar":
        rendition.interrupt()
    elif talk.cut == "operator":
        house.relay.interrupt("lobby", "")


async def _voice(talk: Talk) -> AsyncIterator[bytes]:
    data = sound(talk.seconds)
    for start in range(0, len(data), talk.chunk):
        yield data[start : start + talk.chunk]
        await asyncio.sleep(0)


def check(house: Rig, had: list[tuple[Talk, str]]) -> None:
    """What must hold of all of them."""
    by_number = {request.number: request for request in house.server.requests.values()}
    taken: set[str] = set()
    for talk, conversation_id in had:
        seen = house.device.seen[conversation_id]
        assert len(seen.finished) == 1, f"{conversation_id}: {seen.finished}"
        assert not seen.audio_only
        requests = house.requests_of(seen)
        assert len(requests) <= 1, "motion of several requests in one conversation"
        assert len(seen.shown) <= 1
        for request in requests:
            assert request.req_id not in taken, "one request's motion in two conversations"
            taken.add(request.req_id)
            assert seen.motion == request.sent[: len(seen.motion)], "motion differs from what was on the WebSocket"
            assert seen.shown <= {request.number}, f"{conversation_id} showed {seen.shown}, not {request.number}"
        assert {by_number[number].req_id for number in seen.shown} <= {request.req_id for request in requests}
        if seen.finished[0].reason == "completed":
            assert abs(seen.finished[0].position_us - talk.seconds * 1e6) <= 20_000
            assert sum(map(len, seen.motion)) == sum(len(data) for request in requests for data in request.sent)
            assert int(talk.seconds * 25) == sum(request.keyframes for request in requests)
    for decoder in house.device.decoders:
        assert len({bytes(data) for data in decoder.decoded}) == len(decoder.decoded)


async def run(sdk: str, count: int, speed: float, seed: int) -> dict[str, int]:
    """All of it; returns what happened, in numbers."""
    dice = random.Random(seed)
    totals: dict[str, int] = {}
    while count > 0:
        talks = [Talk(dice) for _ in range(min(count, BATCH))]
        count -= len(talks)
        async with rig(sdk, MotionServer(), speed=speed, max_sessions=1, warm_sessions=1, start_timeout_s=30) as house:
            await house.until_warm()
            had = await converse(house, talks, speed)
            check(house, had)
            assert house.watched.failures == []
            assert (house.server.counts.tokens, house.server.counts.handshakes) == (1, 1), "one session serves them all"
            for _, conversation_id in had:
                seen = house.device.seen[conversation_id]
                for name, number in ((seen.finished[0].reason, 1), ("payloads", len(seen.motion)), ("shown", len(seen.shown))):
                    totals[name] = totals.get(name, 0) + number
            for reason in house.watched.drops:
                totals[f"dropped: {reason}"] = totals.get(f"dropped: {reason}", 0) + 1
    return totals


async def test_some_conversations() -> None:
    """A slice of the thousand, in a few seconds."""
    totals = await run("spatius", 12, 80.0, seed=7)
    assert totals["completed"] >= 4
    assert totals["interrupted"] >= 1
    assert totals["shown"] >= 4


@pytest.mark.slow
@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("sdk", ["spatius", "spatialreal"])
async def test_a_thousand_conversations(sdk: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Many times faster than time passes."""
    totals = await run(sdk, 1_000, 80.0, seed=1)
    with capsys.disabled():
        sys.stdout.write(f"\n{sdk}: 1000 conversations: {totals}\n")
    assert sum(totals.get(reason, 0) for reason in ("completed", "interrupted", "replaced")) == 1_000


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_twenty_conversations_in_real_time(capsys: pytest.CaptureFixture[str]) -> None:
    """At the pace of people."""
    totals = await run("spatius", 20, 1.0, seed=2)
    with capsys.disabled():
        sys.stdout.write(f"\nspatius: 20 conversations in real time: {totals}\n")
