"""The publisher's stream: connecting, cuts, coming back, closing."""

from __future__ import annotations

import asyncio

import pytest

from avatar_relay.media import Credit, OnPlaying, TraceContext
from avatar_relay.messages import (
    ConversationEnd,
    EventAck,
    Finished,
    Interrupt,
    Media,
    Ping,
    Pong,
    PublisherHello,
    PublishOpen,
    Started,
)
from avatar_relay.reasons import Reason
from relay_server.publisher import ConnectionLostError, ConversationFailedError, InvalidMediaError, Publisher, PublisherClosedError
from tests.relay_server.publisher.fakes import PCM_16K, FakeRelay, completed, event

PCM_100MS = bytes(3_200)
BROKEN = ConnectionLostError("the line broke")
REFUSED = ConnectionLostError("unauthenticated", final=True)


async def test_hello_comes_first_and_alone() -> None:
    """Nothing goes out before the welcome."""
    relay = FakeRelay()
    async with relay.publisher():
        (hello,) = relay.link.said
    assert isinstance(hello, PublisherHello)
    assert (hello.publisher_id, hello.protocol_version, hello.session_token) == ("backend", 1, "")
    assert relay.link.closed


async def test_connecting_goes_on_until_the_relay_is_there() -> None:
    """A relay that starts after its backend is no failure."""
    relay = FakeRelay()
    relay.refusals = [BROKEN, BROKEN, BROKEN]
    async with relay.publisher():
        assert len(relay.links) == 1


async def test_a_final_refusal_ends_connecting_at_once() -> None:
    """Its text reaches the caller."""
    relay = FakeRelay()
    relay.refusals = [REFUSED]
    with pytest.raises(ConnectionLostError, match="unauthenticated"):
        async with relay.publisher():
            pass
    assert not relay.links


async def test_a_cut_fails_what_is_being_published() -> None:
    """Nobody knows what arrived; it is ended on the next stream, under the same session, and a new one can be opened."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        await relay.link.until_said(Media)
        relay.link.tell(BROKEN)
        link = await relay.until_connected(2)
        assert await link.until_said(ConversationEnd) == ConversationEnd(conversation_id)
        with pytest.raises(ConversationFailedError, match="broke off") as caught:
            await avatar.yield_audio_data(PCM_100MS)
        assert caught.value.fault.reason is Reason.PUBLISHER_LOST
        with pytest.raises(ConversationFailedError):
            await avatar.finished(conversation_id)
        second = await avatar.yield_audio_data(PCM_100MS)
        await link.until_said(PublishOpen)
    assert link.all(PublisherHello)[0].session_token == "session-1"
    assert second != conversation_id
    assert {media.conversation_id for media in link.all(Media)} <= {second}


async def test_a_cut_after_the_end_was_said_keeps_waiting_for_the_devices() -> None:
    """The last word is said again, since it may have been on its way; then finished comes on the new stream."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, on_playing=OnPlaying.QUEUE)
        ended = await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        cut_short = await avatar.yield_audio_data(PCM_100MS)
        await relay.link.until_said(Media, 2)
        relay.link.tell(event(ended, Started()))
        await relay.link.until_said(EventAck)
        avatar.interrupt()
        await relay.link.until_said(Interrupt, 2)
        relay.link.tell(None)
        link = await relay.until_connected(2)
        await link.until_said(Interrupt, 2)
        relay.link.tell(event(ended, Finished(10_000, True, "interrupted"), 2))
        relay.link.tell(event(cut_short, Finished(0, True, "interrupted"), 3))
        assert (await avatar.finished(ended)).interrupted
        assert (await avatar.finished(cut_short)).interrupted


async def test_an_ended_conversation_is_ended_again_after_a_cut() -> None:
    """Without sequences, because media that was on its way may be missing."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        assert (await relay.link.until_said(ConversationEnd)).last_audio_seq == 1
        relay.link.tell(BROKEN)
        link = await relay.until_connected(2)
        assert await link.until_said(ConversationEnd) == ConversationEnd(conversation_id)
        link.tell(completed(conversation_id))
        assert (await avatar.finished(conversation_id)).reason == "completed"


async def test_a_relay_that_forgot_the_session_fails_everything() -> None:
    """A relay that was restarted knows nothing of what it played."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        relay.token = "session-2"
        relay.link.tell(BROKEN)
        with pytest.raises(ConversationFailedError, match="new session"):
            await avatar.finished(conversation_id)


async def test_after_the_lease_everything_fails_and_attempts_go_on() -> None:
    """A backend outlives a relay; verbs say meanwhile that there is no stream."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        relay.refusals = [BROKEN] * 50
        relay.link.tell(BROKEN)
        await relay.until_refused(10)
        with pytest.raises(ConnectionLostError):
            await avatar.yield_audio_data(PCM_100MS)
        relay.now_us += 5_000_000
        with pytest.raises(ConversationFailedError, match="in time"):
            await avatar.finished(conversation_id)
        link = await relay.until_connected(2)
        link.tell(Pong(0, 0, 0, 0, 0))
        await link.until_heard_all()
        assert await avatar.yield_audio_data(PCM_100MS) != conversation_id


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
    """A face never hangs because a backend forgot the end."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        conversation_id = await publisher.avatar("lobby", audio_format=PCM_16K).yield_audio_data(PCM_100MS)
    assert relay.link.all(ConversationEnd) == [ConversationEnd(conversation_id, 1, 0)]
    assert relay.link.closed


async def test_leaving_waits_until_the_relay_has_all_of_it() -> None:
    """What merely left would be lost with the stream: a ping behind it comes back first."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        await publisher.avatar("lobby", audio_format=PCM_16K).yield_audio_data(PCM_100MS)
    kinds = [type(message) for message in relay.link.said]
    assert kinds[-2:] == [ConversationEnd, Ping]


async def test_leaving_with_an_error_closes_at_once() -> None:
    """Media that waits for credit does not hold it up; who waits for an outcome is told."""
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
    """As often as the relay asks for."""
    relay = FakeRelay(heartbeat_ms=1)
    async with relay.publisher():
        await relay.link.until_said(Ping, 3)


async def test_trace_context_travels_on_open() -> None:
    """The hook is asked once a conversation, with its id."""
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
    """Said before anything is sent."""
    async with FakeRelay().publisher() as publisher:
        with pytest.raises(InvalidMediaError, match="at least one device"):
            publisher.avatar(audio_format=PCM_16K)
