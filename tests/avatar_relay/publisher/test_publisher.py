"""The publisher's stream: connecting, cuts, resuming, closing."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from avatar_relay.backoff import PUBLISHER_BACKOFF, STABLE_US, WELCOME_S, Attempts
from avatar_relay.limits import PEER_TIMEOUT_US
from avatar_relay.media import Credit, Kind, TraceContext
from avatar_relay.messages import (
    ConversationEnd,
    EventAck,
    Media,
    Ping,
    PublisherHello,
    PublishOpen,
    UnknownEvent,
)
from avatar_relay.publisher import ConnectionLostError, ConversationFailedError, InvalidMediaError, Publisher, PublisherClosedError
from relay_server.connections.relay import TICK_S
from tests.avatar_relay.publisher.fakes import BROKEN, PCM_16K, PCM_100MS, FakeLink, FakeRelay, payload_bytes

REFUSED = ConnectionLostError("unauthenticated", final=True)


async def test_hello_comes_first_and_alone() -> None:
    """Nothing is sent before the welcome."""
    relay = FakeRelay()
    async with relay.publisher():
        (hello,) = relay.link.said
    assert isinstance(hello, PublisherHello)
    assert (hello.publisher_id, hello.protocol_version, hello.session_token) == ("backend", 1, "")
    assert relay.link.closed


async def test_connecting_goes_on_until_the_relay_is_there() -> None:
    """A relay that starts after its backend is not a failure."""
    relay = FakeRelay()
    relay.refusals = [BROKEN, BROKEN, BROKEN]
    async with relay.publisher():
        assert len(relay.links) == 1


async def test_a_final_refusal_ends_connecting_at_once() -> None:
    """Its text is passed to the caller."""
    relay = FakeRelay()
    relay.refusals = [REFUSED]
    with pytest.raises(ConnectionLostError, match="unauthenticated"):
        async with relay.publisher():
            pass
    assert not relay.links


async def test_a_final_end_of_the_stream_is_not_retried() -> None:
    """Another stream of the same publisher took over."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        relay.link.tell(ConnectionLostError("replaced", final=True))
        with pytest.raises(ConversationFailedError):
            await avatar.finished(conversation_id)
        with pytest.raises(ConnectionLostError, match="replaced"):
            await avatar.yield_audio_data(PCM_100MS)
    assert len(relay.links) == 1


async def test_leaving_ends_what_is_open_and_lets_it_go_out() -> None:
    """A face must not hang because a backend omitted the end."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        conversation_id = await publisher.avatar("lobby", audio_format=PCM_16K).yield_audio_data(PCM_100MS)
    assert relay.link.all(ConversationEnd) == [ConversationEnd(conversation_id, 1, 0)]
    assert relay.link.closed


async def test_leaving_waits_until_the_relay_has_all_of_it() -> None:
    """Data merely sent would be lost with the stream: a later ping must be answered first."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        await publisher.avatar("lobby", audio_format=PCM_16K).yield_audio_data(PCM_100MS)
    kinds = [type(message) for message in relay.link.said]
    assert kinds[-2:] == [ConversationEnd, Ping]


async def test_flush_does_not_wait_for_early_media_to_be_joined() -> None:
    """The clock stands still, so that what waits would wait forever."""
    relay = FakeRelay()
    async with relay.publisher(media_tick_us=1_000) as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        await avatar.yield_audio_data(30 * PCM_100MS)
        await relay.link.until_said(Media)
        assert 0 < len(payload_bytes(relay.link, Kind.AUDIO)) < 30 * len(PCM_100MS)
        await publisher.flush()
        assert payload_bytes(relay.link, Kind.AUDIO) == 30 * PCM_100MS


async def test_leaving_with_an_error_closes_at_once() -> None:
    """Media waiting for credit does not delay it; callers that wait for an outcome are notified."""
    relay = FakeRelay(credit=Credit())
    with pytest.raises(ZeroDivisionError):
        async with relay.publisher() as publisher:
            avatar = publisher.avatar("lobby", audio_format=PCM_16K)
            conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
            waiting = asyncio.create_task(avatar.finished(conversation_id))
            await asyncio.sleep(0)
            raise ZeroDivisionError
    with pytest.raises(ConversationFailedError, match="closed"):
        await waiting
    with pytest.raises(PublisherClosedError):
        await avatar.yield_audio_data(PCM_100MS)
    assert relay.link.closed
    assert not relay.link.all(ConversationEnd)


async def test_heartbeats_are_sent() -> None:
    """At the interval requested by the relay."""
    relay = FakeRelay(heartbeat_ms=1)
    async with relay.publisher():
        await relay.link.until_said(Ping, 3)


def test_a_half_open_line_is_found_and_left_in_time() -> None:
    """Found within 5 s by either end and restored within 7 s, each with most of a second to spare; also if the first attempt is lost."""
    attempts, found_s = Attempts(PUBLISHER_BACKOFF, lambda: 1.0), PEER_TIMEOUT_US / 1e6 + TICK_S
    assert found_s <= 5 - 0.75
    assert found_s + attempts.wait_s() + attempts.within_s + attempts.wait_s() <= 7 - 0.75


async def test_a_silent_relay_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the peer timeout, or, if the relay requests rare pings, after some of them. The next stream has the same session."""
    monkeypatch.setattr("avatar_relay.publisher.writer.PEER_TIMEOUT_US", 20_000)
    relay = FakeRelay(heartbeat_ms=30)
    async with relay.publisher():
        first = relay.link
        await first.until_said(Ping, 6)
        assert len(relay.links) == 1, "it answers each ping, though only after longer than the time-out"
        first.swallow()
        while relay.link is first or not relay.link.all(PublisherHello):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)
        assert first.closed
        assert relay.link.all(PublisherHello)[0].session_token == "session-1"


async def test_a_relay_that_gives_no_welcome_is_left_and_given_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost attempt must not last as long as the silence limit of a stream; each further one gets more time."""
    monkeypatch.setattr("avatar_relay.backoff.WELCOME_S", 0.05)
    loop, began = asyncio.get_running_loop(), list[float]()
    relay = FakeRelay()

    async def connect() -> FakeLink:
        began.append(loop.time())
        return FakeLink(lambda _: []) if len(began) < 4 else await relay.connect()

    async with Publisher(connect, jitter=lambda: 0.0):
        tries = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert all(try_s >= 0.049 * 1.5**number for number, try_s in enumerate(tries))


async def test_a_proxy_without_a_relay_is_asked_rarely_after_half_a_minute() -> None:
    """For any number of attempts; a relay that does not answer at all is still retried."""
    counts: list[int] = []
    for foreign in (True, False):
        tries: list[None] = []

        async def connect(tries: list[None] = tries, foreign: bool = foreign) -> FakeLink:
            tries.append(None)
            raise ConnectionLostError("HTTP status 404", foreign=foreign)

        publisher = Publisher(connect, jitter=lambda: 0.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), publisher:
                pytest.fail("there is no relay")
        counts.append(len(tries))
    assert counts[0] == PUBLISHER_BACKOFF.eager_tries + 1
    assert counts[1] > counts[0]


def test_waits_begin_anew_with_each_welcome() -> None:
    """However often the relay fails: with ever longer waits, a publisher would miss it for minutes."""
    attempts = Attempts(PUBLISHER_BACKOFF, lambda: 1.0)
    for _ in range(200):
        attempts.welcomed()
        attempts.lost(STABLE_US - 1)
        assert attempts.wait_s() == PUBLISHER_BACKOFF.eager_s
    attempts.lost(STABLE_US)
    assert attempts.wait_s() == PUBLISHER_BACKOFF.first_s
    for _ in range(9):
        attempts.unanswered()
    assert attempts.within_s == PEER_TIMEOUT_US / 1e6
    attempts.welcomed()
    assert attempts.within_s == WELCOME_S


async def test_trace_context_travels_on_open() -> None:
    """The hook is called once per conversation, with its id."""
    relay = FakeRelay()
    asked: list[str] = []

    def trace(conversation_id: str) -> TraceContext:
        asked.append(conversation_id)
        return TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")

    async with Publisher(relay.connect, trace=trace) as publisher:
        conversation_id = await publisher.avatar("lobby", audio_format=PCM_16K).yield_audio_data(PCM_100MS)
        opening = await relay.link.until_said(PublishOpen)
    assert asked == [conversation_id]
    assert opening.open.trace_context == TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")


async def test_an_avatar_needs_a_target() -> None:
    """Raised before anything is sent."""
    async with FakeRelay().publisher() as publisher:
        with pytest.raises(InvalidMediaError, match="at least one device"):
            publisher.avatar(audio_format=PCM_16K)


async def test_event_of_an_unknown_kind_is_acknowledged() -> None:
    """Its device would repeat it otherwise."""
    relay = FakeRelay()
    async with relay.publisher():
        relay.link.tell(UnknownEvent(7, "lobby"))
        assert await relay.link.until_said(EventAck) == EventAck(7, "lobby")
