"""Control of devices and their events, as the avatar passes them on."""

from __future__ import annotations

import asyncio

import pytest

from avatar_relay.media import AS_MOTION_SAYS, Expression, ExpressionPreset, OnPlaying
from avatar_relay.messages import (
    ConversationEnd,
    ConversationError,
    DeviceVolume,
    EventAck,
    Finished,
    Interrupt,
    Media,
    Pause,
    Paused,
    PlayerEvent,
    PlayerEventBody,
    PublishOpen,
    Resume,
    Resumed,
    Started,
    Volume,
)
from avatar_relay.publisher import (
    AvatarEvent,
    ConnectionLostError,
    ConversationFailedError,
    ConversationFinished,
    FaultError,
    InvalidMediaError,
    PlaybackState,
    StateChanged,
)
from avatar_relay.reasons import Fault, Reason
from tests.avatar_relay.publisher.fakes import PCM_16K, PCM_100MS, FakeRelay, avatarkit_avatar, avatarkit_message, completed, event


async def test_control_verbs() -> None:
    """Each names its conversation; with nothing to steer they have no effect."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        avatar.pause()
        avatar.resume()
        avatar.interrupt()
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        avatar.pause()
        avatar.resume()
        avatar.set_volume(0.5, muted=True)
        avatar.interrupt()
        avatar.interrupt()
        await relay.link.until_said(Interrupt)
    assert relay.link.all(Pause) == [Pause(conversation_id)]
    assert relay.link.all(Resume) == [Resume(conversation_id)]
    assert relay.link.all(DeviceVolume) == [DeviceVolume("lobby", Volume(0.5, True))]
    assert relay.link.all(Interrupt) == [Interrupt(conversation_id)]


async def test_a_mood_is_that_of_conversations_to_come() -> None:
    """The current conversation keeps its own; a wrong mood or intensity is refused at the call, and changes nothing."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        await avatar.yield_audio_data(PCM_100MS)
        avatar.set_expression("happy", 0.5)
        with pytest.raises(ValueError, match=r"preset is 'bored'; it takes one of neutral, happy"):
            avatar.set_expression("bored")
        with pytest.raises(ValueError, match="between 0 and 1"):
            avatar.set_expression("sad", 1.5)
        with pytest.raises(TypeError, match="intensity must be a number"):
            avatar.set_expression("sad", "1")  # type: ignore[arg-type]
        await avatar.yield_audio_data(b"", end=True)
        await avatar.yield_audio_data(PCM_100MS, end=True)
        avatar.set_expression(ExpressionPreset.NEUTRAL)
        await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
    opened = [message.open.expression for message in relay.link.all(PublishOpen)]
    assert opened == [AS_MOTION_SAYS, Expression(ExpressionPreset.HAPPY, 0.5), AS_MOTION_SAYS]


@pytest.mark.parametrize("gain", [-0.1, 1.1, float("nan"), float("inf")])
async def test_a_gain_that_can_not_be_is_refused(gain: float) -> None:
    """Linear, 0 to 1."""
    async with FakeRelay().publisher() as publisher:
        with pytest.raises(InvalidMediaError, match="between 0 and 1"):
            publisher.avatar("lobby", audio_format=PCM_16K).set_volume(gain)


async def test_state_and_position_follow_the_device() -> None:
    """Idle, playing, paused, playing, idle; positions as reported; each change is reported once."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        told: list[AvatarEvent] = []
        avatar.subscribe(told.append)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        assert (avatar.state, avatar.audio_time()) == (PlaybackState.IDLE, 0.0)
        bodies: list[PlayerEventBody] = [Started(), Paused(40_000), Resumed(40_000)]
        for event_id, body in enumerate(bodies, 1):
            relay.link.tell(event(conversation_id, body, event_id))
            await relay.link.until_said(EventAck, event_id)
        assert (avatar.state, avatar.audio_time()) == (PlaybackState.PLAYING, 0.04)
        relay.link.tell(completed(conversation_id, 4))
        finished = await avatar.finished(conversation_id)
        assert (avatar.state, avatar.audio_time()) == (PlaybackState.IDLE, 0.1)
    states = [change.state for change in told if isinstance(change, StateChanged)]
    assert states == [PlaybackState.PLAYING, PlaybackState.PAUSED, PlaybackState.PLAYING, PlaybackState.IDLE]
    assert [outcome for outcome in told if isinstance(outcome, ConversationFinished)] == [finished]


async def test_repeated_events_are_acknowledged_and_told_once() -> None:
    """Devices repeat until acknowledged; a new session counts from 1 again, which is not a repetition."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, on_playing=OnPlaying.QUEUE)
        told: list[AvatarEvent] = []
        avatar.subscribe(told.append)
        first = await avatar.yield_audio_data(PCM_100MS, end=True)
        second = await avatar.yield_audio_data(PCM_100MS, end=True)
        for conversation_id, event_id in ((first, 1), (first, 1), (second, 1)):
            count = len(relay.link.all(EventAck))
            relay.link.tell(event(conversation_id, Started(), event_id))
            assert await relay.link.until_said(EventAck, count + 1) == EventAck(1, "lobby")
    assert [told_event.conversation_id for told_event in told if isinstance(told_event, PlayerEvent)] == [first, second]


async def test_finished_waits_for_all_devices_and_sums_up() -> None:
    """One result per device; the furthest position; the relay's own summary is not a device."""
    relay = FakeRelay(devices=("left", "right"))
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("wall", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        waiting = asyncio.create_task(avatar.finished(conversation_id))
        relay.link.tell(event(conversation_id, Finished(60_000, True, "device_lost"), 0, "left"))
        relay.link.tell(completed(conversation_id, 7, "right"))
        relay.link.tell(event(conversation_id, Finished(100_000, False, "completed"), 0, ""))
        finished = await waiting
    assert set(finished.by_device) == {"left", "right"}
    assert (finished.position_us, finished.interrupted, finished.reason) == (100_000, True, "mixed")


async def test_an_interrupt_during_a_cut_is_said_on_the_next_stream() -> None:
    """Callers need not wait for the stream to become idle."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        relay.refusals = [ConnectionLostError("the line broke")] * 20
        relay.link.tell(ConnectionLostError("the line broke"))
        await relay.until_refused(5)
        avatar.interrupt()
        link = await relay.until_connected(2)
        assert await link.until_said(Interrupt) == Interrupt(conversation_id)
        link.tell(event(conversation_id, Finished(0, True, "interrupted")))
        await avatar.finished(conversation_id)
    assert not link.all(ConversationEnd)


async def test_finished_of_an_unknown_id_is_an_error() -> None:
    """Instead of waiting forever."""
    async with FakeRelay().publisher() as publisher:
        with pytest.raises(FaultError, match="not a conversation of this avatar"):
            await publisher.avatar("lobby", audio_format=PCM_16K).finished("c-none")


class RefusingRelay(FakeRelay):
    """Opens nothing: each `open` is answered only by faults."""

    def answer(self, message):  # type: ignore[no-untyped-def]
        if isinstance(message, PublishOpen):
            fault = Fault(Reason.DEVICE_UNKNOWN, "no device or group of that name", "targets")
            return [ConversationError(message.open.conversation_id, fault)]
        return super().answer(message)


async def test_a_conversation_that_opens_nowhere_fails_with_the_relays_reason() -> None:
    """`finished` raises; so does the next sound, once; motion is stale."""
    relay = RefusingRelay()
    async with relay.publisher() as publisher:
        avatar = avatarkit_avatar(publisher)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        with pytest.raises(ConversationFailedError, match="no device or group") as caught:
            await avatar.finished(conversation_id)
        assert caught.value.fault.reason is Reason.DEVICE_UNKNOWN
        assert await avatar.yield_frames_data([avatarkit_message(1)], conversation_id) is False
        with pytest.raises(ConversationFailedError):
            await avatar.yield_audio_data(PCM_100MS)
        assert await avatar.yield_audio_data(PCM_100MS) != conversation_id


async def test_a_target_that_is_unknown_does_not_fail_the_others() -> None:
    """The fault precedes `opened`; the rest of the conversation survives."""
    relay = FakeRelay()
    answer = relay.answer

    def partly(message):  # type: ignore[no-untyped-def]
        fault = Fault(Reason.DEVICE_UNKNOWN, "no device of that name", "targets")
        extra = [ConversationError(message.open.conversation_id, fault)] if isinstance(message, PublishOpen) else []
        return [*extra, *answer(message)]

    relay.answer = partly  # type: ignore[method-assign]
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", "cellar", audio_format=PCM_16K)
        told: list[AvatarEvent] = []
        avatar.subscribe(told.append)
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        await relay.link.until_said(ConversationEnd)
        relay.link.tell(completed(conversation_id))
        assert (await avatar.finished(conversation_id)).reason == "completed"
    assert any(isinstance(error, ConversationError) and error.fault.reason is Reason.DEVICE_UNKNOWN for error in told)


async def test_a_conversation_that_others_end_raises_at_the_next_sound() -> None:
    """The second half of a sentence is therefore not spoken as a new one."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        conversation_id = await avatar.yield_audio_data(PCM_100MS)
        await relay.link.until_said(Media)
        relay.link.tell(event(conversation_id, Finished(20_000, True, "replaced")))
        assert (await avatar.finished(conversation_id)).reason == "replaced"
        with pytest.raises(ConversationFailedError, match="replaced"):
            await avatar.yield_audio_data(PCM_100MS)
        assert await avatar.yield_audio_data(PCM_100MS) != conversation_id


async def test_events_can_be_read_as_a_stream() -> None:
    """An alternative to callbacks; a listener that fails affects nothing else."""
    relay = FakeRelay()

    def broken(_: AvatarEvent) -> None:
        raise RuntimeError("a listener's own fault")

    async with relay.publisher() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K)
        avatar.subscribe(broken)
        events = avatar.events()
        conversation_id = await avatar.yield_audio_data(PCM_100MS, end=True)
        relay.link.tell(event(conversation_id, Started()))
        assert await anext(events) == event(conversation_id, Started())
        assert await anext(events) == StateChanged(PlaybackState.PLAYING)
        events.close()
        assert [left async for left in events] == []
