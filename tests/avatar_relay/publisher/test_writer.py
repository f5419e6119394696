"""When a publisher's writer sends media that waits for a tick."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from avatar_relay.media import Kind, Payload
from avatar_relay.messages import Limits, Media
from avatar_relay.publisher.errors import ConnectionLostError
from avatar_relay.publisher.writer import Writer

TICK_US = 10_000


async def sent_at(monkeypatch: pytest.MonkeyPatch, send_us: list[int], first: int = 1) -> list[int]:
    """When messages are sent, in µs, if `first` payloads wait, these sends take so long, and one more payload gathers during each of them.

    The relay accepts two requests in a message.
    """
    now_us, sent, durations = [3_000], list[int](), iter(send_us)
    waiting = [Media("c1", (Payload(Kind.AUDIO, 1, bytes(8)),))] * first

    async def sleep(seconds: float) -> None:
        now_us[0] += round(1e6 * seconds)

    async def send(_message: object) -> None:
        sent.append(now_us[0])
        if (took_us := next(durations, None)) is None:
            raise ConnectionLostError("the end of the test")
        now_us[0] += took_us
        writer.wake()
        waiting.append(Media("c1", (Payload(Kind.AUDIO, 1, bytes(8)),)))

    monkeypatch.setattr(asyncio, "sleep", sleep)
    queue = SimpleNamespace(has_control=False)
    session: Any = SimpleNamespace(
        outbox=queue, deadline_us=None, tick=lambda _: None, next_message=lambda _: waiting.pop() if waiting else None
    )
    writer = Writer(session, now_us=lambda: now_us[0], media_tick_us=TICK_US, wrote=lambda: None)
    writer.welcome(Limits(1 << 20, 4 << 20, 1 << 16, 5_000, 1_000, max_joined_requests=2))
    link: Any = SimpleNamespace(send=send)
    with pytest.raises(ConnectionLostError):
        await writer.write(link)
    return sent


async def test_media_waits_for_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """At multiples of it, however long a send takes within it."""
    assert await sent_at(monkeypatch, [1_000, 9_000, 2_000]) == [3_000, 10_000, 20_000, 30_000]


async def test_media_does_not_wait_after_a_send_of_more_than_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for nearly two ticks otherwise."""
    assert await sent_at(monkeypatch, [8_000, 1_000, 25_000, 0]) == [3_000, 11_000, 20_000, 45_000, 50_000]


async def test_what_a_full_message_leaves_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick must not limit what a publisher can send: seven payloads, and those that gather meanwhile, are all sent at once."""
    assert await sent_at(monkeypatch, [1_000] * 7, first=7) == [3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 10_000]
