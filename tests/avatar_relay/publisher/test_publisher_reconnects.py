"""What a publisher sends again, stops or is told after its stream was cut or its relay was restarted."""

from __future__ import annotations

import asyncio

import pytest

from avatar_relay.media import AudioFormat, Codec, Cursor, Kind
from avatar_relay.messages import (
    ConversationEnd,
    ConversationError,
    Finished,
    FromPublisher,
    GoAway,
    Held,
    Interrupt,
    Media,
    Ping,
    Pong,
    PublisherHello,
    PublishOpen,
    Taken,
    ToPublisher,
)
from avatar_relay.publisher import ConnectionLostError, ConversationFailedError
from avatar_relay.publisher.publisher import PATIENCE_US
from avatar_relay.reasons import Fault, Reason
from tests.avatar_relay.publisher.fakes import BROKEN, PCM_16K, PCM_100MS, WEIGHTS_30, FakeRelay, completed, event, payload_bytes, weights


async def test_after_a_cut_a_conversation_goes_on_behind_what_the_relay_took() -> None:
    """Payload 1 arrived, 2 was lost in transit, 3 was queued meanwhile: 2 and 3 are sent after the relay's `opened`."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(bytes(3_200) + b"\1" * 3_200)
        await publisher.flush()
        relay.taken = (Taken(Cursor(conversation_id, 1)),)
        relay.link.tell(BROKEN)
        await avatar.yield_audio_data(b"\2" * 3_200, end=True)
        link = await relay.until_connected(2)
        assert await link.until_said(ConversationEnd) == ConversationEnd(conversation_id, 3, 0)
        link.tell(completed(conversation_id))
        assert (await avatar.finished(conversation_id)).reason == "completed"
    assert link.all(PublisherHello)[0].session_token == "session-1"
    assert not link.all(PublishOpen)
    assert [payload.seq for media in link.all(Media) for payload in media.payloads] == [2, 3]
    assert payload_bytes(link, Kind.AUDIO) == b"\1" * 3_200 + b"\2" * 3_200


async def test_a_large_payload_goes_on_within() -> None:
    """The relay reports how many of its bytes it received."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=AudioFormat(Codec.OPUS), motion_format=WEIGHTS_30)
        conversation_id = await avatar.yield_audio_data(bytes([0xF8, 0xFF, 0xFE]))
        motion = weights(300)
        await avatar.yield_frames_data([motion], conversation_id)
        await publisher.flush()
        relay.taken = (Taken(Cursor(conversation_id, 1, 0), motion_bytes=32 << 10),)
        relay.link.tell(BROKEN)
        link = await relay.until_connected(2)
        await link.until_said(Media)
        await publisher.flush()
        assert payload_bytes(link, Kind.MOTION) == motion[32 << 10 :]
        assert payload_bytes(link, Kind.AUDIO) == b""


async def test_a_relay_that_was_restarted_gets_what_no_device_holds() -> None:
    """Reopened with the devices' cursors; media and end follow."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(bytes(9_600), end=True)
        await relay.link.until_said(ConversationEnd)
        relay.link.tell(Held((Cursor(conversation_id, 2),), "lobby"))
        relay.token = "session-2"
        relay.link.tell(BROKEN)
        link = await relay.until_connected(2)
        assert await link.until_said(ConversationEnd) == ConversationEnd(conversation_id, 3, 0)
        link.tell(completed(conversation_id))
        assert (await avatar.finished(conversation_id)).reason == "completed"
    (again,) = link.all(PublishOpen)
    assert (again.targets, again.held) == (("lobby",), Cursor(conversation_id, 2))
    assert [payload.seq for media in link.all(Media) for payload in media.payloads] == [3]


class EmptyRelay(FakeRelay):
    """A restarted relay: answers reopened conversations with `fault`, the first `times` times."""

    fault = Fault(Reason.DEVICE_UNKNOWN, "not there yet", "targets", 100)
    times = 3

    def answer(self, message: FromPublisher) -> list[ToPublisher]:
        self.now_us += 100_000 if isinstance(message, Ping) else 0
        if isinstance(message, PublishOpen) and message.held is not None and self.times:
            self.times -= 1
            return [ConversationError(message.open.conversation_id, self.fault, "lobby")]
        return super().answer(message)


async def test_a_device_that_comes_back_later_is_asked_for_again() -> None:
    """Nothing is sent before the relay's `opened`."""
    relay = EmptyRelay(heartbeat_ms=20)
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        relay.link.tell(BROKEN)
        link = await relay.until_connected(2)
        await link.until_said(ConversationEnd)
    said = [type(message) for message in link.said if isinstance(message, PublishOpen | Media | ConversationEnd)]
    assert said == [PublishOpen] * 4 + [Media, ConversationEnd]


async def test_a_device_that_lost_what_it_held_has_finished() -> None:
    """The end that the relay would have reported: `device_lost`, at the last position."""
    relay = EmptyRelay()
    relay.fault = Fault(Reason.DEVICE_LOST, "it holds no more of it", "targets")
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        relay.link.tell(BROKEN)
        finished = await avatar.finished(conversation_id)
    assert (finished.reason, finished.interrupted) == ("device_lost", True)


async def test_what_was_interrupted_is_interrupted_again() -> None:
    """The first interrupt may have been lost in transit; holds for a relay that has the conversation, and for one that does not."""
    for known in (True, False):
        relay = FakeRelay()
        async with relay.publisher() as publisher:
            avatar = publisher.avatar("lobby", audio_format=PCM_16K)
            conversation_id = await avatar.yield_audio_data(PCM_100MS)
            await relay.link.until_said(Media)
            avatar.interrupt()
            await relay.link.until_said(Interrupt)
            relay.taken = (Taken(Cursor(conversation_id, 1)),) if known else ()
            relay.link.tell(None)
            link = await relay.until_connected(2)
            await link.until_said(Interrupt)
            link.tell(event(conversation_id, Finished(10_000, True, "interrupted"), 2))
            assert (await avatar.finished(conversation_id)).interrupted
        assert bool(link.all(PublishOpen)) is not known


async def test_what_the_relay_ended_meanwhile_is_stopped() -> None:
    """Our lease had expired: received media plays out, and the owner is notified at the next sound."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        await relay.link.until_said(Media)
        relay.taken = (Taken(Cursor(conversation_id, 1), ended=True),)
        relay.link.tell(BROKEN)
        link = await relay.until_connected(2)
        await link.until_heard_all()
        with pytest.raises(ConversationFailedError, match="PUBLISHER_LOST"):
            await avatar.yield_audio_data(PCM_100MS)
        link.tell(completed(conversation_id))
        assert (await avatar.finished(conversation_id)).reason == "publisher_lost"


async def test_when_patience_is_over_everything_fails_and_attempts_go_on() -> None:
    """Until then verbs accept data; after that they report that there is no stream."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        relay.refusals = [BROKEN] * 50
        relay.link.tell(BROKEN)
        await relay.until_refused(10)
        await avatar.yield_audio_data(PCM_100MS)
        relay.now_us += PATIENCE_US
        with pytest.raises(ConversationFailedError, match="in time"):
            await avatar.finished(conversation_id)
        with pytest.raises(ConversationFailedError):
            await avatar.yield_audio_data(PCM_100MS)
        with pytest.raises(ConnectionLostError):
            await avatar.yield_audio_data(PCM_100MS)
        link = await relay.until_connected(2)
        link.tell(Pong(0, 0, 0, 0, 0))
        await link.until_heard_all()
        assert await avatar.yield_audio_data(PCM_100MS) != conversation_id


async def test_what_finished_meanwhile_is_told_again() -> None:
    """The relay knows the id, and has closed it: the device's event is in transit."""
    relay = EmptyRelay()
    relay.fault = Fault(Reason.CONVERSATION_ID_TAKEN, "it exists or existed", "open")
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        relay.link.tell(BROKEN)
        link = await relay.until_connected(2)
        await link.until_said(PublishOpen)
        link.tell(completed(conversation_id))
        assert (await avatar.finished(conversation_id)).reason == "completed"


async def test_goaway_holds_the_publisher_back() -> None:
    """For as long as the relay requested; the next stream starts afresh."""
    relay = FakeRelay()
    loop = asyncio.get_running_loop()
    async with relay.publisher():
        relay.link.tell(GoAway("drain", 300))
        relay.link.tell(None)
        ended_s = loop.time()
        await relay.until_connected(2)
        assert loop.time() - ended_s >= 0.29
        relay.link.tell(None)
        ended_s = loop.time()
        await relay.until_connected(3)
        assert loop.time() - ended_s < 0.29
