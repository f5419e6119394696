"""Performances: a source's items are published through an avatar, whatever the source does; and `Speak` with its file names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from avatar_relay.media import AS_MOTION_SAYS, Expression, ExpressionPreset, Kind, OnPlaying, Pacing, TraceContext
from avatar_relay.messages import (
    AudioOnly,
    ConversationEnd,
    ConversationError,
    Finished,
    FromPublisher,
    Interrupt,
    Media,
    PublishOpen,
    ToPublisher,
)
from avatar_relay.publisher import Publisher
from avatar_relay.reasons import Fault, Reason
from relay_server.errors import RequestError
from relay_server.sources import speech_publishing as performance_module
from relay_server.sources.source import (
    AudioChunk,
    FileSpeech,
    Irregularity,
    MotionChunk,
    MotionLost,
    NamedSpeech,
    Performance,
    SourceError,
    Speech,
    TextSpeech,
    VoiceWish,
)
from relay_server.sources.speech_publishing import MAX_EARLY_MOTION_BYTES, PublishedSpeech, SpeechPublisher, find_speech_file
from tests.avatar_relay.publisher.fakes import PCM_16K, WEIGHTS_30, FakeRelay, event, payload_bytes, weights

Item = AudioChunk | MotionChunk | MotionLost | Irregularity | Exception
SOUND = AudioChunk(bytes(3_200))
MOTION = MotionChunk(weights(3))
LOST = MotionLost(Fault(Reason.SOURCE_SILENT, "the service stalls"))
FAILURE = SourceError(Fault(Reason.SOURCE_FAILED, "the service went away"))


class ScriptedSource:
    """Performs a script of items and errors. Records its requests and whether it was closed."""

    def __init__(self, *script: Item, name: str = "scripted", repeat: bool = False) -> None:
        self.name = name
        self.asked: list[Speech] = []
        self.closed = 0
        self._script = script
        self._repeat = repeat

    async def perform(self, speech: Speech) -> Performance:
        self.asked.append(speech)
        return Performance(PCM_16K, WEIGHTS_30, Pacing.BURST, self._items())

    async def _items(self) -> AsyncIterator[AudioChunk | MotionChunk | MotionLost | Irregularity]:
        try:
            while True:
                for item in self._script:
                    await asyncio.sleep(0)
                    if isinstance(item, Exception):
                        raise item
                    yield item
                if not self._repeat:
                    return
        finally:
            self.closed += 1


async def perform(relay: FakeRelay, publisher: Publisher, *script: Item) -> str:
    """Perform a script from beginning to end; return the conversation."""
    rendition = PublishedSpeech(publisher, await ScriptedSource(*script).perform(TextSpeech("hi")), ("lobby",), OnPlaying.REPLACE)
    conversation_id = await rendition.begin()
    await rendition.finish()
    await relay.link.until_said(ConversationEnd)
    return conversation_id


async def test_all_items_are_published_and_the_end_is_said() -> None:
    """Motion is shorter than the sound; the source has ended, so nothing waits for more motion."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        conversation_id = await perform(relay, publisher, SOUND, MOTION, SOUND, SOUND)
    assert payload_bytes(relay.link, Kind.AUDIO) == bytes(9_600)
    assert payload_bytes(relay.link, Kind.MOTION) == MOTION.data
    assert relay.link.all(ConversationEnd) == [ConversationEnd(conversation_id, 3, 1)]


async def test_motion_before_the_first_sound_is_kept() -> None:
    """Motion needs the conversation's id, and the first sound opens the conversation."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        await perform(relay, publisher, MOTION, MOTION, SOUND)
    assert payload_bytes(relay.link, Kind.MOTION) == MOTION.data * 2


@pytest.mark.parametrize("script", [(LOST, SOUND, SOUND), (MOTION, LOST, SOUND, SOUND), (SOUND, MOTION, LOST, SOUND)])
async def test_lost_motion_goes_on_with_sound_only(script: tuple[Item, ...]) -> None:
    """Wherever the motion is lost: devices are notified, the sound is complete, and the end is sent."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        conversation_id = await perform(relay, publisher, *script)
    assert relay.link.all(AudioOnly) == [AudioOnly(conversation_id)]
    assert payload_bytes(relay.link, Kind.AUDIO) == bytes(6_400)


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_irregular_sound_is_reported_and_goes_on(place: int) -> None:
    """With its conversation's id, even if the source reports it before the first sound."""
    relay, told = FakeRelay(), list[tuple[str, Fault]]()
    irregular = Fault(Reason.AUDIO_IRREGULAR, "a page is missing")
    script: list[Item] = [SOUND, MOTION, SOUND]
    script.insert(place, Irregularity(irregular))
    async with relay.publisher() as publisher:
        performance = await ScriptedSource(*script).perform(TextSpeech("hi"))
        rendition = PublishedSpeech(publisher, performance, ("lobby",), OnPlaying.REPLACE, report=lambda *what: told.append(what))
        conversation_id = await rendition.begin()
        await rendition.finish()
        await relay.link.until_said(ConversationEnd)
    assert told == [(conversation_id, irregular)]
    assert payload_bytes(relay.link, Kind.AUDIO) == 2 * SOUND.data
    assert payload_bytes(relay.link, Kind.MOTION) == MOTION.data


@pytest.mark.parametrize("asked", [AS_MOTION_SAYS, Expression(ExpressionPreset.ANGRY, 0.25)])
async def test_the_mood_of_the_performance_unless_the_caller_has_one(asked: Expression) -> None:
    """Sent in the opening."""
    relay, own = FakeRelay(), Expression(ExpressionPreset.SAD, 0.5)
    async with relay.publisher() as publisher:
        performance = replace(await ScriptedSource(SOUND).perform(TextSpeech("hi")), expression=own)
        rendition = PublishedSpeech(publisher, performance, ("lobby",), OnPlaying.REPLACE, expression=asked)
        await rendition.begin()
        await rendition.finish()
        await relay.link.until_said(ConversationEnd)
    assert [opened.open.expression for opened in relay.link.all(PublishOpen)] == [own if asked == AS_MOTION_SAYS else asked]


async def test_bad_motion_midway_goes_on_with_sound_only() -> None:
    """Earlier motion stays, later motion is ignored, the sound is complete."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        conversation_id = await perform(relay, publisher, SOUND, MOTION, MotionChunk(b"abc"), SOUND, MOTION, SOUND)
    assert relay.link.all(AudioOnly) == [AudioOnly(conversation_id)]
    assert payload_bytes(relay.link, Kind.AUDIO) == bytes(9_600)
    assert payload_bytes(relay.link, Kind.MOTION) == MOTION.data


@pytest.mark.parametrize("failure", [FAILURE, SourceError(Fault(Reason.SPEECH_FILE_INVALID, "damaged in the middle"))])
async def test_a_source_that_fails_midway_ends_its_conversation(failure: SourceError) -> None:
    """A face never hangs: published media plays out."""
    relay = FakeRelay()
    async with relay.publisher() as publisher:
        conversation_id = await perform(relay, publisher, SOUND, MOTION, failure)
    assert relay.link.all(ConversationEnd) == [ConversationEnd(conversation_id, 1, 1)]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ((), Reason.NO_AUDIO),
        ((MOTION,), Reason.NO_AUDIO),
        ((FAILURE,), Reason.SOURCE_FAILED),
        ((MotionChunk(bytes(MAX_EARLY_MOTION_BYTES)), MOTION), Reason.SOURCE_FAILED),
    ],
)
async def test_a_source_without_sound_opens_nothing(script: tuple[Item, ...], reason: Reason) -> None:
    """The caller gets its fault, and it is closed."""
    relay = FakeRelay()
    source = ScriptedSource(*script)
    async with relay.publisher() as publisher:
        rendition = PublishedSpeech(publisher, await source.perform(TextSpeech("hi")), ("lobby",), OnPlaying.REPLACE)
        with pytest.raises(SourceError) as caught:
            await rendition.begin()
    assert caught.value.fault.reason is reason
    assert source.closed == 1
    assert not relay.link.all(PublishOpen)


async def test_a_conversation_that_others_end_stops_its_source() -> None:
    """A source that would never end is closed, and nothing more is published."""
    relay = FakeRelay()
    source = ScriptedSource(SOUND, repeat=True)
    async with relay.publisher() as publisher:
        rendition = PublishedSpeech(publisher, await source.perform(TextSpeech("hi")), ("lobby",), OnPlaying.REPLACE)
        conversation_id = await rendition.begin()
        running = asyncio.create_task(rendition.finish())
        await relay.link.until_said(Media, 3)
        relay.link.tell(event(conversation_id, Finished(10_000, True, "interrupted")))
        await running
    assert source.closed == 1
    assert len(relay.link.all(PublishOpen)) == 1


async def test_an_interrupted_rendition_opens_nothing_more() -> None:
    """Although its source would never end, and its avatar would open a new conversation for the next sound."""
    relay = FakeRelay()
    endless = ScriptedSource(SOUND, repeat=True)
    async with relay.publisher() as publisher:
        rendition = PublishedSpeech(publisher, await endless.perform(TextSpeech("hi")), ("lobby",), OnPlaying.REPLACE)
        conversation_id = await rendition.begin()
        finishing = asyncio.create_task(rendition.finish())
        await asyncio.sleep(0.01)
        rendition.interrupt()
        await finishing
        await relay.link.until_said(Interrupt)
    assert [opened.open.conversation_id for opened in relay.link.all(PublishOpen)] == [conversation_id]
    assert endless.closed == 1


# --- Speak ---------------------------------------------------------------------------------------------------------


NO_VOICES: Mapping[str, str] = {}


class Room:
    """A service with three sources, and a folder of files."""

    def __init__(
        self, publisher: Publisher, tasks: asyncio.TaskGroup, folder: Path | None, *script: Item, voices: Mapping[str, str] = NO_VOICES
    ) -> None:
        self.text, self.audio, self.recording = (ScriptedSource(*script, name=name) for name in ("text", "audio", "recording"))
        text, audio, recording = self.text, self.audio, self.recording
        self.desk = SpeechPublisher(publisher, tasks, text=text, audio=audio, recording=recording, folder=folder, voices=voices)

    async def speak(self, *, text: str | None = None, file: str | None = None) -> tuple[str, str]:
        return await self.desk.speak("lobby", TextSpeech(text) if text is not None else NamedSpeech(file or ""), OnPlaying.QUEUE)


async def test_speak_returns_conversation_and_trace_and_goes_on_behind() -> None:
    """The rest is published after the reply."""
    relay = FakeRelay()
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with Publisher(relay.connect, trace=lambda _: TraceContext(traceparent)) as publisher, asyncio.TaskGroup() as tasks:
        room = Room(publisher, tasks, None, SOUND, MOTION, SOUND)
        conversation_id, trace_id = await room.speak(text="Good morning.")
        await relay.link.until_said(ConversationEnd)
    opening = relay.link.all(PublishOpen)[0]
    assert (opening.open.conversation_id, opening.targets, opening.open.on_playing) == (conversation_id, ("lobby",), OnPlaying.QUEUE)
    assert trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert room.text.asked == [TextSpeech("Good morning.")]
    assert payload_bytes(relay.link, Kind.AUDIO) == bytes(6_400)


async def test_a_target_has_a_voice_unless_the_call_names_one() -> None:
    """Other parameters of the call are kept."""
    relay = FakeRelay()
    async with relay.publisher() as publisher, asyncio.TaskGroup() as tasks:
        room = Room(publisher, tasks, None, SOUND, voices={"lobby": "de"})
        for wish in (VoiceWish(rate=100), VoiceWish("fr")):
            await room.desk.speak("lobby", TextSpeech("hi", wish), OnPlaying.QUEUE)
        await room.desk.speak("hall", TextSpeech("hi"), OnPlaying.QUEUE)
    assert room.text.asked == [TextSpeech("hi", wish) for wish in (VoiceWish("de", 100), VoiceWish("fr"), VoiceWish())]


async def test_files_go_to_the_source_of_their_kind(tmp_path: Path) -> None:
    """Selected by suffix, ignoring case."""
    relay = FakeRelay()
    async with relay.publisher() as publisher, asyncio.TaskGroup() as tasks:
        room = Room(publisher, tasks, tmp_path, SOUND)
        for name in ("a.wav", "b.FLAC", "c.ogg", "d.json"):
            (tmp_path / name).touch()
            await room.speak(file=name)
    assert room.audio.asked == [FileSpeech(tmp_path / name) for name in ("a.wav", "b.FLAC", "c.ogg")]
    assert room.recording.asked == [FileSpeech(tmp_path / "d.json")]


BAD_NAMES = {
    "../secret.wav": Reason.SPEECH_FILE_INVALID,
    "/etc/passwd": Reason.SPEECH_FILE_INVALID,
    "sub/inner.wav": Reason.SPEECH_FILE_INVALID,
    "sub\\inner.wav": Reason.SPEECH_FILE_INVALID,
    "..": Reason.SPEECH_FILE_INVALID,
    ".hidden.wav": Reason.SPEECH_FILE_INVALID,
    "nul\0.wav": Reason.SPEECH_FILE_INVALID,
    "sub": Reason.SPEECH_FILE_INVALID,
    "pipe.wav": Reason.SPEECH_FILE_INVALID,
    "outside.wav": Reason.SPEECH_FILE_INVALID,
    "dangling.wav": Reason.SPEECH_FILE_UNKNOWN,
    "loop.wav": Reason.SPEECH_FILE_UNKNOWN,
    "missing.wav": Reason.SPEECH_FILE_UNKNOWN,
    "n" * 300 + ".wav": Reason.SPEECH_FILE_UNKNOWN,
    "notes.txt": Reason.SPEECH_FILE_INVALID,
}


@pytest.mark.parametrize("name", BAD_NAMES)
async def test_a_name_never_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    """No paths, no hidden files, no links that leave the folder, only regular files of known types."""
    folder = tmp_path / "speech"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.wav").touch()
    (folder / "sub" / "inner.wav").touch()
    (folder / ".hidden.wav").touch()
    (folder / "notes.txt").touch()
    (folder / "outside.wav").symlink_to(tmp_path / "secret.wav")
    (folder / "dangling.wav").symlink_to(folder / "nowhere.wav")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    os.mkfifo(folder / "pipe.wav")
    async with FakeRelay().publisher() as publisher, asyncio.TaskGroup() as tasks:
        room = Room(publisher, tasks, folder, SOUND)
        with pytest.raises(RequestError) as caught:
            await room.speak(file=name)
    assert caught.value.fault.reason is BAD_NAMES[name]
    assert not room.audio.asked + room.recording.asked


@pytest.mark.parametrize("target", ["", "a/b", "ä", "a\x1b[2J\n", "x" * 60_000])
async def test_what_is_no_name_is_an_unknown_target(target: str) -> None:
    """The same answer as for an unknown device; it used to be UNKNOWN, with a traceback in the log for each call."""
    async with FakeRelay().publisher() as publisher, asyncio.TaskGroup() as tasks:
        room = Room(publisher, tasks, None, SOUND)
        with pytest.raises(RequestError) as caught:
            await room.desk.speak(target, TextSpeech("x"), OnPlaying.QUEUE)
    assert (caught.value.fault.reason, caught.value.fault.field) == (Reason.DEVICE_UNKNOWN, "target")
    assert len(caught.value.fault.text) < 200 and caught.value.fault.text.isprintable()
    assert not room.text.asked


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    """It leads to a file that is allowed anyway."""
    (tmp_path / "real.wav").touch()
    (tmp_path / "alias.wav").symlink_to("real.wav")
    assert find_speech_file(tmp_path, "alias.wav") == tmp_path / "real.wav"


async def test_speak_without_words_or_folder_says_so() -> None:
    """Three requests with nothing to speak."""
    async with FakeRelay().publisher() as publisher, asyncio.TaskGroup() as tasks:
        room = Room(publisher, tasks, None, FAILURE)
        for said, reason in (
            ({"text": ""}, Reason.SPEECH_MISSING),
            ({"file": "a.wav"}, Reason.SPEECH_FILE_UNKNOWN),
            ({"text": "x"}, Reason.SOURCE_FAILED),
        ):
            with pytest.raises(RequestError) as caught:
                await room.speak(**said)
            assert caught.value.fault.reason is reason


class UnknownDeviceRelay(FakeRelay):
    """Knows no device."""

    def answer(self, message: FromPublisher) -> list[ToPublisher]:
        if isinstance(message, PublishOpen):
            return [ConversationError(message.open.conversation_id, Fault(Reason.DEVICE_UNKNOWN, "no such device", "targets"))]
        return super().answer(message)


async def test_speak_to_an_unknown_device_is_refused() -> None:
    """With the relay's reason; the source is stopped."""
    relay = UnknownDeviceRelay()
    async with relay.publisher() as publisher, asyncio.TaskGroup() as tasks:
        room = Room(publisher, tasks, None, SOUND, SOUND)
        with pytest.raises(RequestError, match="no such device") as caught:
            await room.speak(text="hi")
    assert caught.value.fault.reason is Reason.DEVICE_UNKNOWN
    assert room.text.closed == 1


async def test_performances_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a caller is asked to retry later; `stop` ends all."""
    monkeypatch.setattr(performance_module, "MAX_PERFORMANCES", 2)
    async with FakeRelay().publisher() as publisher, asyncio.TaskGroup() as tasks:
        endless = ScriptedSource(SOUND, repeat=True)
        desk = SpeechPublisher(publisher, tasks, text=endless, audio=endless, recording=endless, folder=None)
        for device in ("one", "two"):
            await desk.speak(device, TextSpeech("hi"), OnPlaying.QUEUE)
        with pytest.raises(RequestError) as caught:
            await desk.speak("three", TextSpeech("hi"), OnPlaying.QUEUE)
        assert caught.value.fault.reason is Reason.LIMIT_REACHED
        desk.stop()
    assert endless.closed == 2


async def test_a_sources_own_bug_breaks_off_one_performance_only() -> None:
    """It is logged, its conversation is interrupted, and the service continues."""
    relay = FakeRelay()
    async with relay.publisher() as publisher, asyncio.TaskGroup() as tasks:
        await Room(publisher, tasks, None, SOUND, ZeroDivisionError("a bug")).speak(text="hi")
        conversation_id, _ = await Room(publisher, tasks, None, SOUND).speak(text="hi")
        await relay.link.until_said(ConversationEnd)
    assert relay.link.all(ConversationEnd) == [ConversationEnd(conversation_id, 1, 0)]
