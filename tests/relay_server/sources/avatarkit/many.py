"""Many conversations of random lengths, interrupted at random points: nothing lost, nothing mixed up, each finished once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

from avatar_relay.media import OnPlaying
from relay_server.sources.speech_publishing import PublishedSpeech
from tests.relay_server.sources.avatarkit.motion_server import MotionServer
from tests.relay_server.sources.avatarkit.rig import PCM_16K, Rig, rig, sound

LONGEST_S = 9.0
START_TIMEOUT_S = 600
"""How long a conversation waits for the one session: the machine's load must not decide it."""
Totals = Counter[str]


class Talk:
    """A planned conversation: its length, and whether, by whom and when it is cut short."""

    def __init__(self, dice: random.Random) -> None:
        self.seconds = dice.uniform(0.1, LONGEST_S)
        self.cut = dice.choice(("", "", "avatar", "operator", "replaced"))
        self.cut_after_s = dice.uniform(0, self.seconds * 1.2)
        self.chunk = dice.choice((1_001, 3_200, 6_400, 64_000))
        self.on_playing = dice.choice((OnPlaying.REPLACE, OnPlaying.QUEUE))


async def converse(house: Rig, talks: list[Talk]) -> list[tuple[Talk, str]]:
    """Run all of them in sequence; a replaced one is followed before it has ended."""
    had: list[tuple[Talk, str]] = []
    running: list[asyncio.Task[None]] = []
    for talk in talks:
        rendition = await house.begin(b"", talk.on_playing, chunks=_voice(talk))
        had.append((talk, rendition.conversation_id))
        running.append(asyncio.create_task(rendition.finish()))
        if talk.cut:
            await house.device.until(house.device.now_us + round(talk.cut_after_s * 1e6))
            _cut(house, talk, rendition)
        if talk.cut != "replaced":
            await house.until_finished(rendition.conversation_id)
    for _, conversation_id in had:
        await house.until_finished(conversation_id)
    await asyncio.gather(*running)
    return had


def _cut(house: Rig, talk: Talk, rendition: PublishedSpeech) -> None:
    if talk.cut == "avatar":
        rendition.interrupt()
    elif talk.cut == "operator":
        house.relay.operator.interrupt("lobby", "")


async def _voice(talk: Talk) -> AsyncIterator[bytes]:
    data = sound(LONGEST_S)[: 2 * round(talk.seconds * PCM_16K.sample_rate_hz)]
    for start in range(0, len(data), talk.chunk):
        yield data[start : start + talk.chunk]
        await asyncio.sleep(0)


def check(house: Rig, had: list[tuple[Talk, str]]) -> None:
    """Check the invariants of all of them."""
    by_number = {request.number: request for request in house.server.requests.values()}
    taken: set[str] = set()
    for talk, conversation_id in had:
        seen = house.device.seen[conversation_id]
        assert len(seen.finished) == 1, f"{conversation_id}: {seen.finished}"
        assert not seen.audio_only
        requests = house.requests_of(seen)
        assert len(requests) <= 1, "motion of several requests in one conversation"
        assert len(seen.shown) <= 1, f"{conversation_id} showed {seen.shown}; its own is {[request.number for request in requests]}"
        for request in requests:
            assert request.req_id not in taken, "one request's motion in two conversations"
            taken.add(request.req_id)
            assert seen.motion == request.sent[: len(seen.motion)], "motion differs from what was on the WebSocket"
            assert seen.shown <= {request.number}, f"{conversation_id} showed {seen.shown}, not {request.number}"
        assert {by_number[number].req_id for number in seen.shown} <= {request.req_id for request in requests}
        if seen.finished[0].reason == "completed":
            assert abs(seen.finished[0].position_us - talk.seconds * 1e6) <= 20_000
            assert sum(map(len, seen.motion)) == sum(len(data) for request in requests for data in request.sent)
            assert round(talk.seconds * PCM_16K.sample_rate_hz) * 25 // PCM_16K.sample_rate_hz == sum(
                request.keyframes for request in requests
            )
    for decoder in house.device.decoders:
        assert len({bytes(data) for data in decoder.decoded}) == len(decoder.decoded)


async def run(sdk: str, count: int, speed: float, seed: int) -> Totals:
    """Run a batch with one set of programs; return its numbers. Raises `AssertionError` if an invariant is violated."""
    dice = random.Random(seed)
    talks = [Talk(dice) for _ in range(count)]
    async with rig(sdk, MotionServer(), speed=speed, max_sessions=1, warm_sessions=1, start_timeout_s=START_TIMEOUT_S) as house:
        await house.until_warm()
        had = await converse(house, talks)
        check(house, had)
        assert house.watched.failures == []
        assert (house.server.counts.tokens, house.server.counts.handshakes) == (1, 1), "one session serves them all"
        totals = Counter(conversations=len(had))
        for _, conversation_id in had:
            seen = house.device.seen[conversation_id]
            totals.update({seen.finished[0].reason: 1, "payloads": len(seen.motion), "shown": len(seen.shown)})
        totals.update(f"dropped: {reason}" for reason in house.watched.drops)
    return totals
