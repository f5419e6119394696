"""Publishes performances to devices: a source's items become calls of an `Avatar`. Also implements `Speak`.

Rules:

1. The first sound opens the conversation; motion before it is kept, up to `MAX_EARLY_MOTION_BYTES`.
2. If motion cannot be used, or its source lost it, the conversation becomes audio-only, and the sound continues. The sound also continues
   if something about it is irregular. Both are reported.
3. When a source fails midway or is finished, its conversation is ended explicitly, so that a face never hangs.
4. A conversation that is interrupted, replaced or lost stops its source. So does one whose sound was played to its end while its motion was
   still to come; that is reported.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import assert_never

from avatar_relay.ids import is_valid_id
from avatar_relay.limits import UNKNOWN_CONVERSATION_HOLD_BYTES
from avatar_relay.media import AS_MOTION_SAYS, Expression, OnPlaying, TraceContext
from avatar_relay.publisher import (
    Avatar,
    ConnectionLostError,
    ConversationFailedError,
    FaultError,
    InvalidMediaError,
    Publisher,
    PublisherError,
)
from avatar_relay.publisher.in_process import InProcessRelay
from avatar_relay.reasons import Fault, Reason
from avatar_relay.tracing import active, trace_id_of
from relay_server.core.shares import Shares
from relay_server.errors import RequestError
from relay_server.sources.source import (
    AudioChunk,
    AudioEnded,
    FileSpeech,
    Irregularity,
    Item,
    MotionChunk,
    MotionLost,
    NamedSpeech,
    Performance,
    Source,
    SourceError,
    Speech,
    TextSpeech,
    close_early,
)

MAX_EARLY_MOTION_BYTES = UNKNOWN_CONVERSATION_HOLD_BYTES
Report = Callable[[str, Fault], None]
"""Receives a conversation's id and what is wrong with it while its sound continues."""
MAX_PERFORMANCES, MAX_PERFORMANCES_PER_IDENTITY = 32, 8
"""Maximum `Speak` performances published at the same time."""
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"})
RECORDING_SUFFIXES = frozenset({".json", ".csv"})

logger = logging.getLogger(__name__)


def _nobody(conversation_id: str, fault: Fault) -> None:
    """Do nothing: the fault is only logged."""


class PublishedSpeech:
    """One performance on one or more devices: `begin`, then `finish`. `conversation_id` is set by `begin`."""

    def __init__(
        self,
        publisher: Publisher,
        performance: Performance,
        targets: tuple[str, ...],
        on_playing: OnPlaying,
        *,
        expression: Expression = AS_MOTION_SAYS,
        report: Report = _nobody,
    ) -> None:
        self.avatar: Avatar = publisher.avatar(
            *targets,
            audio_format=performance.audio_format,
            motion_format=performance.motion_format,
            pacing=performance.pacing,
            on_playing=on_playing,
        )
        mood = performance.expression if expression == AS_MOTION_SAYS else expression
        self.avatar.set_expression(mood.preset, mood.intensity)
        self.conversation_id = ""
        self._items = performance.items
        self._trace_context = performance.trace_context
        self._report = report
        self._publishing: asyncio.Task[None] | None = None
        self._interrupted = False

    async def begin(self) -> str:
        """Publish up to the first sound; return the conversation's id. If it raises or is cancelled, nothing stays open.

        Raises `SourceError` if there is no sound, and the errors of `Avatar.yield_audio_data`.
        """
        early: list[Item] = []
        early_bytes = 0
        try:
            async for item in self._items:
                if isinstance(item, AudioChunk):
                    with active(self._trace_context):
                        self.conversation_id = await self.avatar.yield_audio_data(item.data)
                    break
                early.append(item)
                early_bytes += len(item.data) if isinstance(item, MotionChunk) else 0
                if early_bytes > MAX_EARLY_MOTION_BYTES:
                    text = f"the source made more than {MAX_EARLY_MOTION_BYTES} bytes of motion before the first sound"
                    raise SourceError(Fault(Reason.SOURCE_FAILED, text))
            else:
                raise SourceError(Fault(Reason.NO_AUDIO, "the source made no sound"))
            for item in early:
                await self._publish_item(item)
        except BaseException:
            if self.conversation_id:
                self.avatar.interrupt()
            await self._close()
            raise
        return self.conversation_id

    async def finish(self) -> None:
        """Publish the rest, and end the conversation. Failures of the source or of publishing are logged, not raised.

        If cancelled, the conversation stays open: its publisher ends it.
        """
        if self._interrupted:
            return await self._close()
        publishing = self._publishing = asyncio.create_task(self._publish())
        over = asyncio.create_task(self._until_over())
        try:
            await asyncio.wait((publishing, over), return_when=asyncio.FIRST_COMPLETED)
            if publishing.done() and not publishing.cancelled():
                publishing.result()
            else:
                logger.info("performance stopped: conversation=%s has ended on all devices", self.conversation_id)
                self._report_missing_motion()
        finally:
            for task in (publishing, over):
                task.cancel()
            await asyncio.gather(publishing, over, return_exceptions=True)
            await self._close()

    def interrupt(self) -> None:
        """Interrupt it on all devices, and stop its source. After the avatar's own `interrupt` the next sound would open a new
        conversation."""
        self._interrupted = True
        if self._publishing is not None:
            self._publishing.cancel()
        self.avatar.interrupt()

    async def _until_over(self) -> None:
        """Wait until the conversation is over (rule 4): also detects it while the source yields nothing, and no call can fail."""
        with suppress(PublisherError):
            await self.avatar.finished(self.conversation_id)

    async def _publish(self) -> None:
        try:
            async for item in self._items:
                await self._publish_item(item)
            self.avatar.end()
        except SourceError as error:
            logger.warning("source failed midway: conversation=%s %s", self.conversation_id, error)
            self._end_after_failure()
        except ConversationFailedError as error:
            logger.info("performance stopped: conversation=%s %s", self.conversation_id, error)
        except PublisherError as error:
            logger.warning("performance failed: conversation=%s %s", self.conversation_id, error)
            self._end_after_failure()

    async def _publish_item(self, item: Item) -> None:
        match item:
            case AudioChunk(data):
                await self.avatar.yield_audio_data(data)
            case MotionChunk(data):
                await self._motion(data)
            case MotionLost(fault):
                await self._go_on_with_sound_only(fault)
            case Irregularity(fault):
                logger.warning("irregular media: conversation=%s %s: %s", self.conversation_id, fault.reason, fault.text)
                await self.avatar.opened(self.conversation_id)
                self._report(self.conversation_id, fault)
            case AudioEnded():
                await self.avatar.yield_audio_data(b"", end=True)
            case _:
                assert_never(item)

    async def _motion(self, data: bytes) -> None:
        """Publish motion by rule 2. The avatar counts stale motion."""
        try:
            await self.avatar.yield_frames_data([data], self.conversation_id)
        except InvalidMediaError as error:
            await self._go_on_with_sound_only(error.fault)

    def _report_missing_motion(self) -> None:
        """Report missing motion by rule 4."""
        if self.avatar.lacks_motion(self.conversation_id):
            fault = Fault(Reason.SOURCE_SILENT, "its motion had not arrived by the end of the sound")
            logger.warning("motion is missing: conversation=%s %s: %s", self.conversation_id, fault.reason, fault.text)
            self._report(self.conversation_id, fault)

    async def _go_on_with_sound_only(self, fault: Fault) -> None:
        name, reason, text = self.conversation_id, fault.reason, fault.text
        logger.warning("motion failed, continuing with sound only: conversation=%s %s: %s", name, reason, text)
        await self.avatar.yield_frames_data([], self.conversation_id)
        await self.avatar.opened(self.conversation_id)
        self._report(self.conversation_id, fault)

    def _end_after_failure(self) -> None:
        try:
            self.avatar.end()
        except PublisherError as error:
            logger.info("conversation=%s could not be ended: %s", self.conversation_id, error)

    async def _close(self) -> None:
        await close_early(self._items)


class SpeechPublisher:
    """`AdminService.Speak`: one source for text, others for files by suffix. Created by `serving_speech`.

    `by_target`: targets with their own source; `voices`: targets with their own voice.
    """

    def __init__(
        self,
        publisher: Publisher,
        tasks: asyncio.TaskGroup,
        *,
        text: Source,
        audio: Source,
        recording: Source,
        folder: Path | None,
        by_target: Mapping[str, Source] = MappingProxyType({}),
        voices: Mapping[str, str] = MappingProxyType({}),
        report: Report = _nobody,
    ) -> None:
        self._publisher = publisher
        self._voices = voices
        self._tasks = tasks
        self._text = text
        self._by_suffix: Mapping[str, Source] = dict.fromkeys(AUDIO_SUFFIXES, audio) | dict.fromkeys(RECORDING_SUFFIXES, recording)
        self._folder = folder
        self._by_target = by_target
        self._report = report
        self._running: set[asyncio.Task[None]] = set()
        self._places = Shares("performances", MAX_PERFORMANCES, MAX_PERFORMANCES_PER_IDENTITY)

    async def speak(
        self,
        target: str,
        speech: TextSpeech | NamedSpeech,
        on_playing: OnPlaying,
        *,
        expression: Expression = AS_MOTION_SAYS,
        owner: str = "",
    ) -> tuple[str, str]:
        """Begin to speak for `owner`; the rest is published in the background.

        Returns once the conversation is open: its id and its trace's id, empty while tracing is off. Raises `RequestError` if it cannot be
        opened on any device, or the source cannot perform the speech.
        """
        if not is_valid_id(target):
            text = f"no device or group of the name {target[:64]!r} is known here; ListDevices lists all"
            raise RequestError(Fault(Reason.DEVICE_UNKNOWN, text, "target"))
        with ExitStack() as place:
            place.enter_context(self._places.place(owner))
            try:
                source, chosen = await self._choose(target, speech)
                return await self._begin(await source.perform(chosen), target, on_playing, expression, place)
            except FaultError as error:
                raise RequestError(error.fault) from error
            except ConnectionLostError as error:
                raise RequestError(error.fault or Fault(Reason.DRAINING, str(error), retry_after_ms=1_000)) from error
            except PublisherError as error:
                raise RequestError(Fault(Reason.LIMIT_REACHED, str(error), retry_after_ms=1_000)) from error

    def stop(self) -> None:
        """Stop all sources; the publisher ends their conversations."""
        for task in self._running:
            task.cancel()

    async def _choose(self, target: str, speech: TextSpeech | NamedSpeech) -> tuple[Source, Speech]:
        """The source for this speech and target. A recording has its own motion, whatever the target's source is."""
        own = self._by_target.get(target)
        if isinstance(speech, TextSpeech) and speech.text:
            voice = speech.voice if speech.voice.name is not None else replace(speech.voice, name=self._voices.get(target))
            return own or self._text, replace(speech, voice=voice)
        if isinstance(speech, TextSpeech) or not speech.name:
            raise RequestError(Fault(Reason.SPEECH_MISSING, "pass a text, or a file of the speech folder", "speech"))
        if self._folder is None:
            raise RequestError(Fault(Reason.SPEECH_FILE_UNKNOWN, "this relay has no speech folder: it speaks text only", "file"))
        path = await asyncio.to_thread(find_speech_file, self._folder, speech.name)
        source = self._by_suffix.get(path.suffix.lower())
        if source is None:
            kinds = " ".join(sorted(self._by_suffix))
            raise RequestError(Fault(Reason.SPEECH_FILE_INVALID, f"files of this type are not supported; supported are {kinds}", "file"))
        return (own if own is not None and path.suffix.lower() in AUDIO_SUFFIXES else source), FileSpeech(path, speech.angle_unit)

    async def _begin(
        self, performance: Performance, target: str, on_playing: OnPlaying, expression: Expression, place: ExitStack
    ) -> tuple[str, str]:
        """As `speak`; once the performance runs, it holds `place` until it ends."""
        rendition = PublishedSpeech(self._publisher, performance, (target,), on_playing, expression=expression, report=self._report)
        conversation_id = await rendition.begin()
        task = self._tasks.create_task(self._run(rendition), name=f"performance {conversation_id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        held = place.pop_all()
        task.add_done_callback(lambda _: held.close())
        await rendition.avatar.opened(conversation_id)
        return conversation_id, trace_id_of(rendition.avatar.opening(conversation_id).trace_context)

    async def _run(self, rendition: PublishedSpeech) -> None:
        """Finish a performance. A task boundary: an unexpected error in one performance does not end others."""
        try:
            await rendition.finish()
        except Exception:
            logger.exception("performance broke off: conversation=%s", rendition.conversation_id)
            with suppress(PublisherError):
                rendition.avatar.interrupt()


@asynccontextmanager
async def serving_speech(
    relay: InProcessRelay,
    *,
    text: Source,
    audio: Source,
    recording: Source,
    folder: Path | None,
    by_target: Mapping[str, Source] = MappingProxyType({}),
    voices: Mapping[str, str] = MappingProxyType({}),
    report: Report = _nobody,
    trace: Callable[[str], TraceContext] | None = None,
) -> AsyncIterator[SpeechPublisher]:
    """A publisher of `Speak` requests on a relay in this process, with its own publisher; stops all sources on exit."""
    publisher_id = f"relay-speech-{os.urandom(6).hex()}"  # unguessable, so that no other publisher can replace it
    async with Publisher.in_process(relay, publisher_id=publisher_id, trace=trace) as publisher, asyncio.TaskGroup() as tasks:
        publisher.session.remembered = MAX_PERFORMANCES  # a performance asks about its own conversation only
        speech = SpeechPublisher(
            publisher, tasks, text=text, audio=audio, recording=recording, folder=folder, by_target=by_target, voices=voices, report=report
        )
        try:
            yield speech
        finally:
            speech.stop()


def find_speech_file(folder: Path, name: str) -> Path:
    """The path of a file in the speech folder. Raises `RequestError` for a path, a hidden file, or a target outside the folder."""
    if not name or name.startswith(".") or any(character in name for character in "/\\\0"):
        raise RequestError(Fault(Reason.SPEECH_FILE_INVALID, "name a file in the relay's speech folder, not a path", "file"))
    try:
        inside = folder.resolve(strict=True)
        path = (inside / name).resolve(strict=True)
        usable = path.is_file() and path.is_relative_to(inside)
    except (OSError, RuntimeError) as error:
        raise RequestError(Fault(Reason.SPEECH_FILE_UNKNOWN, f"the speech folder has no file {name[:64]!r}", "file")) from error
    if not usable:
        raise RequestError(Fault(Reason.SPEECH_FILE_INVALID, f"{name[:64]!r} is not a file of the speech folder", "file"))
    return path
