"""AvatarKit's verbs over a fake link: output, results and waits."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from avatar_relay.media import AudioFormat, Codec, Credit, Kind, OnPlaying
from avatar_relay.messages import (
    AudioOnly,
    ConversationCredit,
    ConversationEnd,
    Dropped,
    Interrupt,
    Media,
    PublishOpen,
)
from avatar_relay.publisher import AvatarEvent, BufferFullError, InvalidMediaError, PublisherClosedError
from avatar_relay.reasons import DropReason, Reason
from tests.avatar_relay.publisher.fakes import (
    AVATARKIT,
    PCM_16K,
    PCM_100MS,
    WEIGHTS_30,
    FakeRelay,
    avatarkit_avatar,
    avatarkit_message,
    completed,
    event,
    payload_bytes,
    weights,
)


async def test_a_conversation_from_first_sound_to_finished() -> None:
    """The manual's example: open, media, end in this order; the id is returned; finished reports the position."""
    relay = FakeRelay()
    motion = avatarkit_message(3, end=True)
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        assert await avatar.yield_frames_data([motion], conversation_id) is True
        assert await avatar.yield_audio_data(b"", end=True) == conversation_id
        end = await relay.link.until_said(ConversationEnd)
        relay.link.tell(completed(conversation_id))
        finished = await avatar.finished(conversation_id)
    opening = relay.link.all(PublishOpen)[0]
    assert (opening.targets, opening.open.conversation_id, opening.open.motion_format) == (("lobby",), conversation_id, AVATARKIT)
    assert end == ConversationEnd(conversation_id, last_audio_seq=1, last_motion_seq=1)
    assert payload_bytes(relay.link, Kind.AUDIO) == PCM_100MS
    assert payload_bytes(relay.link, Kind.MOTION) == motion
    assert (finished.position_us, finished.interrupted, finished.reason) == (100_000, False, "completed")
    kinds = [type(message) for message in relay.link.said]
    assert kinds.index(PublishOpen) < kinds.index(Media) < kinds.index(ConversationEnd)


async def test_motion_travels_bit_for_bit_with_pts_counted_on_a_copy() -> None:
    """Windows of 50 and 100 keyframes are at 0 and 2 s; large ones arrive as fragments that add up."""
    relay = FakeRelay()
    windows = [avatarkit_message(50), avatarkit_message(100), avatarkit_message(7, end=True)]
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher)
        conversation_id = await avatar.yield_audio_data(bytes(32_000 * 6))
        await avatar.yield_frames_data(windows, conversation_id)
        await avatar.yield_audio_data(b"", end=True)
        await relay.link.until_said(ConversationEnd)
    payloads = [payload for media in relay.link.all(Media) for payload in media.payloads if payload.kind is Kind.MOTION]
    places = {payload.seq: (payload.pts_us, payload.duration_us) for payload in payloads}
    assert places == {1: (0, 2_000_000), 2: (2_000_000, 4_000_000), 3: (6_000_000, 280_000)}
    assert payload_bytes(relay.link, Kind.MOTION) == b"".join(windows)
    assert all(len(payload.data) <= 16 << 10 for payload in payloads)


async def test_media_goes_out_by_earliest_pts_and_joined_up_to_64_kb() -> None:
    """Sound is not behind later motion; audio precedes motion of equal PTS; no message exceeds 64 KB."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        relay.link.flowing.clear()
        conversation_id = await avatar.yield_audio_data(bytes(64_000))
        await avatar.yield_frames_data([weights(15)] * 4, conversation_id)
        relay.link.flowing.set()
        avatar.end()
        await relay.link.until_said(ConversationEnd)
    media = relay.link.all(Media)
    sent = [(payload.pts_us or 0, payload.kind is Kind.MOTION) for message in media for payload in message.payloads]
    assert sent == sorted(sent)
    assert len(media) == 2
    assert all(sum(len(payload.data) for payload in message.payloads) <= 64 << 10 for message in media)


@pytest.mark.parametrize("frames", [[], [b""]])
async def test_empty_frames_make_it_audio_only(frames: list[bytes]) -> None:
    """As in AvatarKit; on the wire no payload is empty. Later motion is dropped, reported, and returns False."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher)
        told: list[AvatarEvent] = []
        avatar.subscribe(told.append)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        assert await avatar.yield_frames_data([avatarkit_message(2)], conversation_id)
        assert await avatar.yield_frames_data(frames, conversation_id)
        late = avatarkit_message(1)
        assert await avatar.yield_frames_data([late], conversation_id) is False
        await avatar.yield_audio_data(b"", end=True)
        await relay.link.until_said(ConversationEnd)
    assert relay.link.all(AudioOnly) == [AudioOnly(conversation_id)]
    assert told == [event(conversation_id, Dropped(Kind.MOTION, 1, len(late), DropReason.AUDIO_ONLY), 0, "")]
    kinds = [type(message) for message in relay.link.said]
    assert kinds.index(AudioOnly) < kinds.index(ConversationEnd)


async def test_end_of_sound_waits_for_its_motion() -> None:
    """AvatarKit's `end` ends the sound; motion still in transit belongs to it, and the wire's `end` follows both."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher)
        conversation_id = await avatar.yield_audio_data(bytes(32_000), end=True)
        await relay.link.until_said(Media)
        assert not relay.link.all(ConversationEnd)
        assert await avatar.yield_frames_data([avatarkit_message(10)], conversation_id)
        assert await avatar.yield_frames_data([avatarkit_message(14)], conversation_id)
        await relay.link.until_said(ConversationEnd)
        assert await avatar.yield_frames_data([avatarkit_message(1)], conversation_id) is False


async def test_end_says_that_no_motion_follows() -> None:
    """Before or after the end of the sound; then there is nothing left to end."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher, OnPlaying.QUEUE)
        first = await avatar.yield_audio_data(bytes(32_000), end=True)
        assert avatar.end() == first
        second = await avatar.yield_audio_data(bytes(32_000))
        assert avatar.end() == second
        assert avatar.end() is None
        await relay.link.until_said(ConversationEnd, 2)


async def test_motion_that_never_comes_does_not_hold_the_end_for_ever() -> None:
    """After the grace the conversation ends without it."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher)
        await avatar.yield_audio_data(bytes(32_000), end=True)
        await relay.link.until_said(Media)
        relay.now_us += 5_000_000
        publisher.wake()
        await relay.link.until_said(ConversationEnd)


async def test_sound_after_end_opens_a_new_conversation() -> None:
    """A new id; with REPLACE waiting data of the old one is not sent any more, and its motion is stale."""
    relay = FakeRelay(credit=Credit(0, 1 << 20))
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher)
        first = await avatar.yield_audio_data(PCM_100MS, end=True)
        second = await avatar.yield_audio_data(PCM_100MS)
        assert first != second
        assert await avatar.yield_frames_data([avatarkit_message(1)], first) is False
        assert await avatar.yield_frames_data([avatarkit_message(1)], second) is True
        await relay.link.until_said(Media)
        avatar.interrupt()
    assert {media.conversation_id for media in relay.link.all(Media)} == {second}


async def test_queued_conversations_are_all_sent() -> None:
    """With QUEUE the first one continues while the second is published."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher, OnPlaying.QUEUE)
        first = await avatar.yield_audio_data(bytes(32_000), end=True)
        second = await avatar.yield_audio_data(PCM_100MS, end=True)
        assert await avatar.yield_frames_data([avatarkit_message(25)], first) is True
        assert await avatar.yield_frames_data([avatarkit_message(3)], second) is True
        await relay.link.until_said(ConversationEnd, 2)
    assert {media.conversation_id for media in relay.link.all(Media)} == {first, second}


@pytest.mark.parametrize(
    ("data", "end", "why"),
    [(b"", False, "begins with sound"), (b"", True, "begins with sound"), (b"\x01", True, "one whole sample")],
)
async def test_a_conversation_without_sound_is_refused(data: bytes, end: bool, why: str) -> None:
    """Empty audio with `end` closes a conversation and does not open one; half a sample is not sound."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher)
        with pytest.raises(InvalidMediaError, match=why) as caught:
            await avatar.yield_audio_data(data, end=end)
        assert caught.value.fault.reason is Reason.NO_AUDIO
        assert await avatar.yield_audio_data(PCM_100MS)
    assert not any(not payload.data for media in relay.link.all(Media) for payload in media.payloads)


async def test_half_a_sample_at_the_end_is_told() -> None:
    """It cannot be played; the rest is."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        told: list[AvatarEvent] = []
        avatar.subscribe(told.append)
        conversation_id = await avatar.yield_audio_data(bytes(5), end=True)
        await relay.link.until_said(ConversationEnd)
    assert payload_bytes(relay.link, Kind.AUDIO) == bytes(4)
    assert told == [event(conversation_id, Dropped(Kind.AUDIO, 1, 1, DropReason.UNDECODABLE), 0, "")]


BAD_MOTION = {
    "cut short": avatarkit_message(2)[:-3],
    "not AvatarKit": b"\x08\x01",
    "too large": bytes((2 << 20) + 1),
}


@pytest.mark.parametrize("name", BAD_MOTION)
async def test_undecodable_motion_is_the_callers_error_and_takes_nothing(name: str) -> None:
    """Not even the valid frames before it; the conversation continues."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        good = avatarkit_message(3, end=True)
        with pytest.raises(InvalidMediaError) as caught:
            await avatar.yield_frames_data([good, BAD_MOTION[name]], conversation_id)
        assert caught.value.fault.reason in (Reason.MOTION_UNDECODABLE, Reason.PAYLOAD_TOO_LARGE)
        assert await avatar.yield_frames_data([good], conversation_id)
        avatar.end()
        await relay.link.until_said(ConversationEnd)
    assert payload_bytes(relay.link, Kind.MOTION) == good


@pytest.mark.parametrize(
    ("data", "why"), [(weights(2)[:-1], "not whole rows"), (weights(3, float("nan")), "not a finite number"), (b"abc", "not whole rows")]
)
async def test_bad_weights_are_the_callers_error(data: bytes, why: str) -> None:
    """Rows that do not match the names, NaN and infinity."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        with pytest.raises(InvalidMediaError, match=why):
            await avatar.yield_frames_data([data], conversation_id)


async def test_motion_without_a_declared_format_is_the_callers_error() -> None:
    """`motion_format` is set when the avatar is created."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        with pytest.raises(InvalidMediaError, match="without a motion format"):
            await avatar.yield_frames_data([weights(1)], conversation_id)


async def test_motion_of_an_id_never_seen_is_false() -> None:
    """Stale, not an error."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        assert await avatarkit_avatar(publisher).yield_frames_data([avatarkit_message(1)], "c-unknown") is False


async def test_bare_opus_packets_keep_their_borders_and_get_pts() -> None:
    """One packet per payload; PTS from the durations in the packets' first bytes."""
    relay = FakeRelay()
    packets = [bytes([0x08]) + bytes(9), bytes([0x80]) + bytes(3), bytes([0x0B, 3]) + bytes(30)]
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=AudioFormat(Codec.OPUS))
        for packet in packets:
            await avatar.yield_audio_data(packet)
        with pytest.raises(InvalidMediaError, match="Opus packet"):
            await avatar.yield_audio_data(bytes([0x0B, 63]))
        avatar.end()
        await relay.link.until_said(ConversationEnd)
    payloads = [payload for media in relay.link.all(Media) for payload in media.payloads]
    assert [payload.data for payload in payloads] == packets
    assert [(payload.pts_us, payload.duration_us) for payload in payloads] == [(0, 20_000), (20_000, 2_500), (22_500, 60_000)]


async def test_no_more_is_sent_than_credit_allows() -> None:
    """The rest waits in the library and is sent with the next grant."""
    relay = FakeRelay(credit=Credit(4_000, 0))
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(bytes(9_600))
        await relay.link.until_said(Media)
        assert len(payload_bytes(relay.link, Kind.AUDIO)) == 3_200
        relay.link.tell(ConversationCredit(conversation_id, Credit(audio_bytes=2_400)))
        await relay.link.until_said(Media, 2)
        assert len(payload_bytes(relay.link, Kind.AUDIO)) == 6_400
        avatar.interrupt()


async def test_a_verb_waits_while_the_buffer_is_full() -> None:
    """It continues as credit arrives, and accepts everything once."""
    relay = FakeRelay(credit=Credit())
    data = bytes(itertools.islice(itertools.cycle(range(251)), 64_000))
    async with relay.publisher(buffer_bytes=16_000) as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        yielding = asyncio.create_task(avatar.yield_audio_data(data, end=True))
        opening = await relay.link.until_said(PublishOpen)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not yielding.done()
        relay.link.tell(ConversationCredit(opening.open.conversation_id, Credit(1 << 20, 0)))
        assert await yielding == opening.open.conversation_id
        await relay.link.until_said(ConversationEnd)
    assert payload_bytes(relay.link, Kind.AUDIO) == data


async def test_nowait_raises_when_full_and_takes_nothing() -> None:
    """Both variants; a short payload still fits afterwards."""
    relay = FakeRelay(credit=Credit())
    async with relay.publisher(buffer_bytes=10_000) as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = avatar.yield_audio_data_nowait(bytes(8_000))
        with pytest.raises(BufferFullError):
            avatar.yield_audio_data_nowait(bytes(3_000))
        assert avatar.yield_audio_data_nowait(bytes(2_000)) == conversation_id
        assert avatar.yield_frames_data_nowait([weights(40)], conversation_id)
        with pytest.raises(BufferFullError):
            avatar.yield_frames_data_nowait([weights(10)], conversation_id)
        relay.link.tell(ConversationCredit(conversation_id, Credit(1 << 20, 1 << 20)))
        avatar.end()
        await relay.link.until_said(ConversationEnd)
    assert payload_bytes(relay.link, Kind.AUDIO) == bytes(10_000)
    assert payload_bytes(relay.link, Kind.MOTION) == weights(40)


async def test_interrupt_frees_a_waiting_verb() -> None:
    """Data it had accepted is dropped with the rest; the interrupt is sent."""
    relay = FakeRelay(credit=Credit())
    async with relay.publisher(buffer_bytes=8_000) as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        yielding = asyncio.create_task(avatar.yield_audio_data(bytes(64_000)))
        await relay.link.until_said(PublishOpen)
        avatar.interrupt()
        conversation_id = await yielding
        assert await relay.link.until_said(Interrupt) == Interrupt(conversation_id)
        assert await avatar.yield_audio_data(PCM_100MS) != conversation_id
        avatar.interrupt()
    assert not relay.link.all(Media)


async def test_cancelling_a_waiting_verb_leaves_the_avatar_usable() -> None:
    """Accepted data stays; the next call continues after it."""
    relay = FakeRelay(credit=Credit())
    async with relay.publisher(buffer_bytes=8_000) as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        yielding = asyncio.create_task(avatar.yield_audio_data(bytes(64_000)))
        opening = await relay.link.until_said(PublishOpen)
        yielding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await yielding
        relay.link.tell(ConversationCredit(opening.open.conversation_id, Credit(1 << 20, 0)))
        assert await avatar.yield_audio_data(b"", end=True) == opening.open.conversation_id
        await relay.link.until_said(ConversationEnd)


async def test_verbs_outside_the_context_are_refused() -> None:
    """Before and after `async with`."""
    publisher = FakeRelay().publisher()
    avatar = publisher.avatar("lobby", audio_format=PCM_16K)
    with pytest.raises(PublisherClosedError):
        await avatar.yield_audio_data(PCM_100MS)
