"""Wrong calls of the publisher library: each raises at the call, and affects no conversation of the same publisher.

Over a real relay, in process and over gRPC, with a device that plays what it receives. More examples: `--hypothesis-profile=more`.
"""

from __future__ import annotations

import array
import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avatar_relay.ids import is_valid_id
from avatar_relay.media import AngleUnit, AudioFormat, Codec, Kind, MotionEncoding, MotionFormat, NameSet, OnPlaying, Pacing, TraceContext
from avatar_relay.publisher import Avatar, AvatarEvent, ConversationFailedError, InvalidMediaError, Publisher
from tests.avatar_relay.publisher.fakes import PCM_16K, WEIGHTS_30, weights
from tests.avatar_relay.publisher.test_with_relay import Device, pair, way

__all__ = ["way"]

SHARED_RELAYS = settings().max_examples // 10
CALLS = 30
"""Number of calls in one example, which share a relay."""


class Number(int):
    """An enumeration member's number instead of the member."""


ODD = [object(), Number(1), Codec.OPUS, MotionEncoding.AVATARKIT_V2, Pacing.LIVE, OnPlaying.QUEUE, PCM_16K, WEIGHTS_30]
ODD += [np.zeros(4, np.int16), np.float32(math.nan), np.bool_(True), np.zeros(0), array.array("h", [1, 2]), bytes, print]
MISTAKES: dict[type, st.SearchStrategy[Any]] = {
    NoneType: st.none(),
    bool: st.booleans(),
    int: st.integers(),
    float: st.floats(),
    str: st.text(max_size=5) | st.just("\ud800"),
    bytes: st.binary(max_size=5),
    list: st.lists(st.integers(0, 255), max_size=3),
    tuple: st.tuples(st.text(max_size=3)),
    dict: st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
    Iterator: st.builds(lambda: iter([b"12"])),
}
"""Values that a caller may pass by mistake."""


def but(*kinds: type) -> st.SearchStrategy[Any]:
    """Any value that is none of these."""
    odd = [value for value in ODD if type(value) not in kinds]
    return st.one_of(*[values for kind, values in MISTAKES.items() if kind not in kinds], st.sampled_from(odd))


def outside(low: float, high: float) -> st.SearchStrategy[Any]:
    """Anything that is not a number from `low` to `high`."""
    numbers = (st.integers() | st.floats()).filter(lambda value: not low <= value <= high)
    return but(int, float, Number) | numbers


DATA = but(bytes)
FRAMES = st.one_of(but(list, tuple, bytes), st.lists(but(bytes), min_size=1, max_size=2), st.just(weights(1)), st.just(bytearray(4)))
POSITIONS = st.one_of(
    but(int, Number, list, tuple, NoneType),
    st.integers(max_value=-1),
    st.lists(st.integers(0, 10**6), max_size=2, unique=True).map(sorted),
    st.lists(st.integers(0, 10**6), min_size=3, max_size=3).filter(lambda values: not values[0] < values[1] < values[2]),
    st.lists(but(int, Number), min_size=3, max_size=3),
)
"""Payload of three keyframes."""
NOT_IDS = but(str) | MISTAKES[str].filter(lambda value: not is_valid_id(value))


@dataclass(frozen=True)
class Call:
    """A call with one wrong argument."""

    name: str
    value: object
    make: Callable[[Publisher, Avatar, str, Any], object]

    async def __call__(self, publisher: Publisher, avatar: Avatar, conversation_id: str) -> None:
        result = self.make(publisher, avatar, conversation_id, self.value)
        if isinstance(result, Awaitable):
            await result


def avatar_call(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    """`Publisher.avatar` with a wrong setting."""

    def call(publisher: Publisher, _: Avatar, __: str, value: Any) -> object:
        settings: dict[str, Any] = {"audio_format": PCM_16K, name: value}
        return publisher.avatar("hall", **settings)

    return values.map(lambda value: Call(f"avatar({name}=)", value, call))


def verb(name: str, values: st.SearchStrategy[Any], call: Callable[[Avatar, str, Any], object]) -> st.SearchStrategy[Call]:
    """A verb of the avatar during a conversation."""
    return values.map(lambda value: Call(name, value, lambda _, avatar, conversation_id, value: call(avatar, conversation_id, value)))


CALL = st.one_of(
    NOT_IDS.map(lambda value: Call("avatar(*targets)", value, lambda publisher, *_: publisher.avatar(value, audio_format=PCM_16K))),
    avatar_call("audio_format", but(AudioFormat)),
    avatar_call("motion_format", but(MotionFormat, NoneType)),
    avatar_call("pacing", but(Pacing)),
    avatar_call("on_playing", but(OnPlaying)),
    verb("yield_audio_data", DATA, lambda avatar, _, value: avatar.yield_audio_data(value)),
    verb("yield_audio_data(end=)", but(bool), lambda avatar, _, value: avatar.yield_audio_data(b"", end=value)),
    verb("yield_audio_data_nowait", DATA, lambda avatar, _, value: avatar.yield_audio_data_nowait(value)),
    verb("yield_audio_data_nowait(end=)", but(bool), lambda avatar, _, value: avatar.yield_audio_data_nowait(b"", end=value)),
    verb("yield_frames_data", FRAMES, lambda avatar, name, value: avatar.yield_frames_data(value, name)),
    verb("yield_frames_data(id)", but(str), lambda avatar, _, value: avatar.yield_frames_data([weights(1)], value)),
    verb("yield_frames_data(at_us=)", POSITIONS, lambda avatar, name, value: avatar.yield_frames_data([weights(3)], name, at_us=value)),
    verb(
        "yield_frames_data_nowait(at_us=)",
        POSITIONS,
        lambda avatar, name, value: avatar.yield_frames_data_nowait([weights(2), weights(1)], name, at_us=value),
    ),
    verb("yield_frames_data_nowait", FRAMES, lambda avatar, name, value: avatar.yield_frames_data_nowait(value, name)),
    verb("yield_frames_data_nowait(id)", but(str), lambda avatar, _, value: avatar.yield_frames_data_nowait([weights(1)], value)),
    verb("set_volume", outside(0, 1), lambda avatar, _, value: avatar.set_volume(value)),
    verb("set_volume(muted=)", but(bool), lambda avatar, _, value: avatar.set_volume(0.5, muted=value)),
    verb("opening", but(str), lambda avatar, _, value: avatar.opening(value)),
    verb("lacks_motion", but(str), lambda avatar, _, value: avatar.lacks_motion(value)),
    verb("opened", but(str), lambda avatar, _, value: avatar.opened(value)),
    verb("finished", but(str), lambda avatar, _, value: avatar.finished(value)),
    verb("subscribe", but(type, type(print)), lambda avatar, _, value: avatar.subscribe(value)),
)


async def make_calls(way: str, calls: Iterable[Call]) -> None:
    """Make the calls during a conversation that is complete in the end, beside another of the same publisher."""
    sound, motion = os.urandom(6_400), weights(6)
    async with pair(way) as (publisher, device, _, _):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = await avatar.yield_audio_data(sound[:3_200])
        for call in calls:
            with pytest.raises((TypeError, ValueError), match=r"\w"):
                await call(publisher, avatar, conversation_id)
        await assert_whole(avatar, device, conversation_id, sound, motion)
        assert publisher.is_connected


async def assert_whole(avatar: Avatar, device: Device, conversation_id: str, sound: bytes, motion: bytes) -> None:
    """A conversation whose first 3,200 bytes were published accepts the rest, and all of it plays."""
    await avatar.yield_audio_data(sound[3_200:])
    await avatar.yield_frames_data([motion], conversation_id)
    avatar.end()
    assert (await avatar.finished(conversation_id)).reason == "completed"
    assert device.bytes[conversation_id, Kind.AUDIO] == sound
    assert device.bytes[conversation_id, Kind.MOTION] == motion


@settings(max_examples=SHARED_RELAYS, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(CALL, min_size=CALLS, max_size=CALLS))
def test_wrong_calls_raise_and_disturb_nobody(way: str, calls: list[Call]) -> None:
    """For any argument and any wrong value."""
    asyncio.run(make_calls(way, calls))


@given(codec=but(Codec), rate_hz=outside(16_000, 16_000), channels=outside(1, 1))
def test_formats_that_can_not_be_are_not_made(codec: Any, rate_hz: Any, channels: Any) -> None:
    """Each of the three alone."""
    for arguments in ((codec, 16_000, 1), (Codec.PCM_S16LE, rate_hz, 1), (Codec.PCM_S16LE, 16_000, channels)):
        with pytest.raises((TypeError, ValueError), match=r"codec|sample_rate_hz|channels"):
            AudioFormat(*arguments)


@given(name_set=but(NameSet, NoneType), scale=outside(0, 10**6) | st.just(0), unit=but(AngleUnit))
def test_readings_of_weights_that_can_not_be_are_not_made(name_set: Any, scale: Any, unit: Any) -> None:
    """Each of the three alone."""
    for wrong in ({"name_set": name_set}, {"weight_scale": scale}, {"angle_unit": unit}):
        with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
            MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, ("a",), **wrong)


@given(encoding=but(MotionEncoding), rate=outside(0.125, 240), names=but(list, tuple))
def test_motion_formats_that_can_not_be_are_not_made(encoding: Any, rate: Any, names: Any) -> None:
    """Each of the three alone."""
    good = MotionEncoding.BLENDSHAPE_WEIGHTS
    for arguments in ((encoding, 25.0, ("a",)), (good, rate, ("a",)), (good, 25.0, names), (good, 25.0, ()), (good, 25.0, ("a", "a"))):
        with pytest.raises((TypeError, ValueError), match=r"encoding|keyframes_per_second|blendshape_names"):
            MotionFormat(*arguments)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: MotionFormat(25.0, MotionEncoding.AVATARKIT_V2), TypeError, "encoding must be a MotionEncoding such as .* not float 25.0"),  # type: ignore[arg-type]
        (lambda: MotionFormat(MotionEncoding.AVATARKIT_V2, 0), ValueError, "keyframes_per_second is 0; it must be from 0.125 to 240"),
        (lambda: MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, "jawOpen"), TypeError, "a tuple of str, not str 'jawOpen'"),  # type: ignore[arg-type]
        (lambda: AudioFormat(Codec.PCM_S16LE, 11_025), ValueError, "11025 Hz; pcm_s16le takes .* 16000"),
        (lambda: AudioFormat(Codec.PCM_S16LE, 16_000, 2), ValueError, "mix down"),
        (lambda: AudioFormat("pcm_s16le", 16_000), TypeError, "Codec.PCM_S16LE, not str 'pcm_s16le'"),  # type: ignore[arg-type]
        (lambda: TraceContext(None), TypeError, "traceparent must be a str, not NoneType"),  # type: ignore[arg-type]
        (lambda: Publisher.connect(("127.0.0.1", 1)), TypeError, "address must be a str"),  # type: ignore[arg-type]
        (lambda: Publisher.connect(""), ValueError, "HOST:PORT"),
        (lambda: Publisher.connect("a:1", credentials="ca.pem"), TypeError, "credentials must be a ChannelCredentials"),  # type: ignore[arg-type]
        (lambda: Publisher.connect("a:1", token=b"secret"), TypeError, "token must be a str or a Path, not bytes$"),  # type: ignore[arg-type]
        (lambda: Publisher.connect("a:1", publisher_id="my backend"), ValueError, "publisher_id is 'my backend'"),
        (lambda: Publisher.connect("a:1", media_tick_us=-1), ValueError, "media_tick_us must be from 0"),
        (lambda: Publisher.connect("a:1", media_tick_us=0.02), TypeError, "media_tick_us must be a whole number"),  # type: ignore[arg-type]
        (lambda: Publisher.connect("a:1", trace="00-ab"), TypeError, "trace must be a function"),  # type: ignore[arg-type]
        (lambda: Publisher.in_process("a:1"), TypeError, "relay must be a relay of this process"),  # type: ignore[arg-type]
        (lambda: Publisher("a:1"), TypeError, "connector must be a function"),  # type: ignore[arg-type]
    ],
)
def test_the_error_says_what_is_wrong(call: Callable[[], object], error: type[Exception], text: str) -> None:
    """The argument, the expected and the actual value; a token is not shown."""
    with pytest.raises(error, match=text):
        call()


async def test_a_list_of_targets_and_one_payload_for_frames_get_a_hint() -> None:
    """The two most likely mistakes."""
    async with pair("in process") as (publisher, _, _, _):
        with pytest.raises(TypeError, match=r"targets\[0\] must be a str, not list \['lobby'\]"):
            publisher.avatar(["lobby"], audio_format=PCM_16K)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="'lob by'; the name of a device or group is 1 to 64"):
            publisher.avatar("lob by", audio_format=PCM_16K)
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = await avatar.yield_audio_data(bytes(3_200))
        with pytest.raises(TypeError, match=r"frames must be a list of payloads, not bytes: pass \[payload\]"):
            await avatar.yield_frames_data(weights(1), conversation_id)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"data must be .* not ndarray: pass its .tobytes\(\)"):
            await avatar.yield_audio_data(np.zeros(4, np.int16))  # type: ignore[arg-type]
        with pytest.raises(InvalidMediaError, match="between 0 and 1"):
            avatar.set_volume(math.nan)


async def test_buffers_are_copied_at_the_call(way: str) -> None:
    """A bytearray or memoryview may be reused at once: the data at the time of the call is played."""
    sound, motion = bytearray(os.urandom(6_400)), bytearray(weights(6))
    expected = bytes(sound), bytes(motion)
    async with pair(way) as (publisher, device, _, _):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = avatar.yield_audio_data_nowait(sound)
        assert avatar.yield_frames_data_nowait([memoryview(motion)], conversation_id)
        sound[:], motion[:] = bytes(6_400), bytes(len(motion))
        avatar.end()
        await avatar.finished(conversation_id)
    assert (bytes(device.bytes[conversation_id, Kind.AUDIO]), bytes(device.bytes[conversation_id, Kind.MOTION])) == expected


async def test_a_device_that_is_not_there_is_told_for_its_own_conversation(way: str) -> None:
    """A valid but unknown name is not a wrong call."""
    sound, motion = os.urandom(6_400), weights(6)
    async with pair(way) as (publisher, device, _, _):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = await avatar.yield_audio_data(sound[:3_200])
        nowhere = publisher.avatar("nowhere", audio_format=PCM_16K)
        with pytest.raises(ConversationFailedError, match="no device or group"):
            await nowhere.finished(await nowhere.yield_audio_data(sound))
        await assert_whole(avatar, device, conversation_id, sound, motion)


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError()])
async def test_a_listener_that_raises_disturbs_nobody(way: str, error: BaseException) -> None:
    """Also if it reads the result of a cancelled task."""

    def listener(_: AvatarEvent) -> None:
        raise error

    sound, motion = os.urandom(6_400), weights(6)
    async with pair(way) as (publisher, device, _, _):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = await avatar.yield_audio_data(sound[:3_200])
        avatar.subscribe(listener)
        await assert_whole(avatar, device, conversation_id, sound, motion)
        again = await avatar.yield_audio_data(sound, end=True)
        await avatar.yield_frames_data([], again)
        assert (await avatar.finished(again)).reason == "completed"


async def test_a_coroutine_function_is_no_listener() -> None:
    """It would never be awaited."""

    async def listener(_: AvatarEvent) -> None:
        raise AssertionError

    async with pair("in process") as (publisher, _, _, _):
        with pytest.raises(TypeError, match="not a coroutine function"):
            publisher.avatar("lobby", audio_format=PCM_16K).subscribe(listener)  # type: ignore[arg-type]


async def test_a_trace_that_raises_or_gives_nothing_opens_nothing(way: str) -> None:
    """The next call opens a conversation."""
    given: list[object] = [None, "00-ab", ZeroDivisionError(), TraceContext()]

    def trace(_: str) -> TraceContext:
        result = given.pop(0)
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[return-value]

    async with pair(way) as (publisher, device, relay, address):
        traced = Publisher.in_process(relay, trace=trace) if way == "in process" else Publisher.connect(address, trace=trace)
        async with traced:
            avatar = traced.avatar("lobby", audio_format=PCM_16K)
            for error in (TypeError, TypeError, ZeroDivisionError):
                with pytest.raises(error):
                    await avatar.yield_audio_data(bytes(3_200))
            conversation_id = await avatar.yield_audio_data(bytes(3_200), end=True)
            assert (await avatar.finished(conversation_id)).reason == "completed"
        assert len(device.opened) == 1
        assert publisher.is_connected


@pytest.mark.parametrize("what", ["open", "media"])
async def test_what_can_not_be_sent_fails_its_own_conversation_only(way: str, what: str) -> None:
    """Defence in depth: a value that passed every check reaches the shared writer."""
    sound, motion = os.urandom(6_400), weights(6)
    async with pair(way) as (publisher, device, _, _):
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = await avatar.yield_audio_data(sound[:3_200])
        other = publisher.avatar("lobby", audio_format=PCM_16K, on_playing=OnPlaying.QUEUE)
        if what == "open":
            object.__setattr__(other._settings, "targets", (["lobby"],))
        wrong = other.yield_audio_data_nowait(sound)
        if what == "media":
            queue = other._records[wrong].conversation._queues[Kind.AUDIO].payloads
            queue[0] = queue[0]._replace(seq="1")  # type: ignore[arg-type]
        with pytest.raises(ConversationFailedError, match="could not be sent"):
            await other.finished(wrong)
        await assert_whole(avatar, device, conversation_id, sound, motion)
        assert publisher.is_connected
        with pytest.raises(ConversationFailedError):
            await other.yield_audio_data(sound)
        again = publisher.avatar("lobby", audio_format=PCM_16K)
        assert (await again.finished(await again.yield_audio_data(sound, end=True))).reason == "completed"
