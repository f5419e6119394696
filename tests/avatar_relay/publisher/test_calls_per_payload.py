"""Cost of a payload at the publisher in Python calls, from the caller's bytes to the encoded message.

Counts the `call` events of `sys.setprofile` for named functions of the library, resumptions of coroutines included; calls in asyncio, gRPC
and protobuf are not counted. Comprehensions are not either: later versions of Python inline them.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from types import FrameType

import pytest

from avatar_relay.messages import FromPublisher, Joined, Media
from avatar_relay.publisher import Publisher
from avatar_relay.publisher.grpc_link import _encode
from tests.avatar_relay.publisher.fakes import PCM_16K, PCM_100MS, WEIGHTS_30, FakeLink, FakeRelay, weights

MAX_CALLS_OF_AUDIO = 26
MAX_CALLS_OF_MOTION = 30
PAYLOADS = 10


class EncodingLink(FakeLink):
    """Encodes media as the link over gRPC does; counting ends there."""

    async def send(self, message: FromPublisher | Joined) -> None:
        if isinstance(message, Media):
            _encode(message)
            sys.setprofile(None)
        await super().send(message)


async def fewest_calls(what: str) -> Counter[str]:
    """Count the calls for each of several payloads, one after the other; returns the fewest."""
    relay, counted = FakeRelay(), list[Counter[str]]()

    def count(frame: FrameType, event: str, _argument: object) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith("avatar_relay.") and not frame.f_code.co_name.startswith("<"):
            counted[-1][f"{module}.{frame.f_code.co_qualname}"] += 1

    async def connect() -> FakeLink:
        relay.links.append(EncodingLink(relay.answer))
        return relay.link

    async with Publisher(connect, now_us=lambda: 0) as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        await publisher.flush()
        publish: dict[str, Callable[[], Awaitable[object]]] = {
            "audio": lambda: avatar.yield_audio_data(PCM_100MS),
            "motion": lambda: avatar.yield_frames_data([weights(1)], conversation_id),
        }
        for _ in range(PAYLOADS):
            sent = len(relay.link.all(Media))
            counted.append(Counter())
            payload = publish[what]()
            sys.setprofile(count)
            await payload
            await relay.link.until_said(Media, sent + 1)
            for _ in range(5):
                await asyncio.sleep(0)
        avatar.interrupt()
    return min(counted, key=Counter.total)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions count other events")
@pytest.mark.parametrize(("what", "most"), [("audio", MAX_CALLS_OF_AUDIO), ("motion", MAX_CALLS_OF_MOTION)])
async def test_a_payload_takes_few_calls(what: str, most: int) -> None:
    """Each is sent before the next one is handed over, so that nothing is joined."""
    calls = await fewest_calls(what)
    assert calls.total() <= most, "\n".join(f"{number} {name}" for name, number in calls.items())
