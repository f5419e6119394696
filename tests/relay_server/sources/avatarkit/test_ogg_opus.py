"""Encoded speech: an Ogg Opus stream is passed unchanged to the SDK and the device, and its motion is returned."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from avatar_relay.avatarkit import count_keyframes
from avatar_relay.media import AudioFormat, Codec, OnPlaying
from avatar_relay.reasons import Reason
from relay_server.sources.source import AudioSpeech, FileSpeech
from relay_server.sources.speech_publishing import PublishedSpeech
from tests.edge_client.audio.decoders.clips import encode, need_opus_tools, tones
from tests.relay_server.sources.avatarkit.motion_server import OGG_OPUS, Mode, MotionServer
from tests.relay_server.sources.avatarkit.rig import Rig, rig
from tests.relay_server.sources.fast_device import Seen
from tests.relay_server.sources.local.test_source import irregular_opus

SECONDS = 7.3
KEYFRAMES = 182


async def cut_anywhere(stream: bytes) -> AsyncIterator[bytes]:
    """Cut into pieces regardless of pages."""
    dice, start = random.Random(5), 0
    while start < len(stream):
        size = dice.randint(1, 4_000)
        yield stream[start : start + size]
        start += size


async def speak(house: Rig, stream: bytes) -> tuple[str, Seen]:
    """Run one conversation until it has finished."""
    performance = await house.source().perform(AudioSpeech(AudioFormat(Codec.OGG_OPUS), cut_anywhere(stream)))
    rendition = PublishedSpeech(house.publisher, performance, ("lobby",), OnPlaying.REPLACE, report=house.reports.__setitem__)
    conversation_id = await rendition.begin()
    await rendition.finish()
    return conversation_id, await house.until_finished(conversation_id)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Speech-like sound."""
    need_opus_tools()
    return encode(tmp_path_factory.mktemp("opus"), tones(SECONDS))


@pytest.mark.parametrize("sdk", ["spatius", "spatialreal"])
async def test_stream_and_motion_arrive_as_they_are(sdk: str, stream: bytes) -> None:
    """The server gets the same bytes; the device decodes them to the end and shows their motion."""
    async with rig(sdk, MotionServer(), speed=5) as house:
        _, seen = await speak(house, stream)
        (request,) = house.server.requests.values()
        assert [session.audio_format for session in house.server.sessions] == [OGG_OPUS]
        assert bytes(request.audio) == stream
        assert seen.motion == request.sent
        assert sum(count_keyframes(data) for data in seen.motion) == KEYFRAMES
        assert seen.shown == {request.number}
        (finished,) = seen.finished
        assert (finished.reason, seen.audio_only) == ("completed", False)
        assert abs(finished.position_us - SECONDS * 1e6) <= 20_000


async def test_a_session_that_breaks_costs_the_rest_of_the_motion(stream: bytes) -> None:
    """Encoded sound cannot be resumed midway; it plays to its end nevertheless, and the reason is reported."""
    async with rig("spatius", MotionServer(Mode.CLOSE_1011, stop_after=1), speed=5) as house:
        conversation_id, seen = await speak(house, stream)
        assert seen.audio_only
        assert house.reports[conversation_id].reason is Reason.SOURCE_UNAVAILABLE
        (finished,) = seen.finished
        assert finished.reason == "completed"
        assert abs(finished.position_us - SECONDS * 1e6) <= 20_000


async def test_what_is_irregular_about_a_file_is_told(tmp_path: Path) -> None:
    """The source reports it on reading, and its sound is complete."""
    (tmp_path / "a.opus").write_bytes(irregular_opus(tmp_path))
    async with rig("spatius", MotionServer(), speed=5) as house:
        performance = await house.source().perform(FileSpeech(tmp_path / "a.opus"))
        rendition = PublishedSpeech(house.publisher, performance, ("lobby",), OnPlaying.REPLACE, report=house.reports.__setitem__)
        conversation_id = await rendition.begin()
        await rendition.finish()
        seen = await house.until_finished(conversation_id)
        assert house.reports[conversation_id].reason is Reason.AUDIO_IRREGULAR
        assert seen.motion
        (finished,) = seen.finished
        assert (finished.reason, seen.audio_only) == ("completed", False)
