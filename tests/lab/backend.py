"""The backend of the demo: passes speech to a source, publishes the source's payloads to the relay, and receives the device's events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from avatar_relay.media import AudioFormat, Codec, OnPlaying, TraceContext
from avatar_relay.messages import PlayerEvent, Started
from avatar_relay.publisher import AvatarEvent, Publisher
from avatar_relay.tracing import CONVERSATION_ID, Stage, Telemetry, context_of, parent_from, trace_id_of
from relay_server.sources.source import AudioChunk, Item, Performance, Source, SourceError, Speech
from relay_server.sources.speech_publishing import PublishedSpeech
from tests.lab.data import PROJECT_ROOT

CLIP = PROJECT_ROOT / "relay_server" / "sources" / "assets" / "demo.wav"
PATIENCE_S = 30.0
"""Maximum seconds between the end of a conversation's sound and its `finished`."""


@dataclass(frozen=True, slots=True)
class Script:
    """The speech, its source, and a description for people."""

    source: Source
    speech: Speech
    title: str


@dataclass(frozen=True, slots=True)
class Published:
    """The backend's result of a conversation. `first_audio_ms` is None if no sound was played."""

    conversation_id: str
    trace_id: str
    speech: str
    audio_seconds: float
    first_audio_ms: float | None
    position_ms: float
    interrupted: bool
    reason: str


class Counted:
    """A performance that counts the sound it yields, and keeps the error that ended it."""

    def __init__(self, performance: Performance) -> None:
        self._format = performance.audio_format
        self._items = performance.items
        self.audio_bytes = 0
        self.error: SourceError | None = None
        self.performance = replace(performance, items=self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        try:
            item = await anext(self._items)
        except SourceError as error:
            self.error = error
            raise
        if isinstance(item, AudioChunk):
            self.audio_bytes += len(item.data)
        return item

    async def aclose(self) -> None:
        """Close the source."""
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await close()

    @property
    def audio_seconds(self) -> float:
        """Seconds of sound yielded so far."""
        return pcm_seconds(self._format, self.audio_bytes)


def pcm_seconds(audio_format: AudioFormat, size: int) -> float:
    """Duration of `size` bytes; all sources of the demo yield PCM."""
    assert audio_format.codec is Codec.PCM_S16LE, audio_format.codec
    return size / 2 / audio_format.sample_rate_hz


class Conversation:
    """One conversation from the backend's side: its trace, its start, and the time at which its first sample was heard."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._stage: Stage | None = None
        self._opened_s = 0.0
        self.started = asyncio.Event()
        self.first_audio_ms: float | None = None
        self.context = TraceContext()

    def trace(self, conversation_id: str) -> TraceContext:
        """Start the trace. Called by the publisher when the conversation opens."""
        self._opened_s = time.monotonic()
        attributes = {CONVERSATION_ID: conversation_id}
        self._stage = Stage(self._telemetry.tracer, "backend speak", parent_from(TraceContext()), unix_us(), attributes=attributes)
        self.context = context_of(self._stage.span)
        return self.context

    def listen(self, event: AvatarEvent) -> None:
        """Handle an event. Called by the publisher."""
        if isinstance(event, PlayerEvent) and isinstance(event.body, Started) and self.first_audio_ms is None:
            self.first_audio_ms = round((time.monotonic() - self._opened_s) * 1000, 1)
            self.started.set()

    def end(self, fault: str | None = None) -> None:
        """End the root span of the trace."""
        if self._stage is not None:
            self._stage.end(unix_us(), fault=fault)


def unix_us() -> int:
    """Wall-clock time in µs."""
    return time.time_ns() // 1000


async def speak(
    address: str, device_id: str, script: Script, *, seconds: float | None, telemetry: Telemetry, say: Callable[[str], None]
) -> Published:
    """Publish a conversation to a device, and wait until it has finished.

    Raises `SourceError`, `PublisherError`, or `TimeoutError` if `finished` does not arrive.
    """
    conversation = Conversation(telemetry)
    counted = Counted(await script.source.perform(script.speech))
    async with Publisher.connect(address, publisher_id="demo-backend", trace=conversation.trace) as publisher:
        rendition = PublishedSpeech(publisher, counted.performance, (device_id,), OnPlaying.REPLACE)
        rendition.avatar.subscribe(conversation.listen)
        say(f"speaking {script.title}")
        conversation_id = await rendition.begin()
        publishing = asyncio.create_task(rendition.finish())
        stopper = asyncio.create_task(_interrupt_after(seconds, conversation, rendition, publishing, say))
        try:
            await asyncio.wait([publishing])
            say(f"{counted.audio_seconds:.1f} s of sound are on their way, with their motion")
            async with asyncio.timeout(counted.audio_seconds + PATIENCE_S):
                finished = await rendition.avatar.finished(conversation_id)
        finally:
            publishing.cancel()
            stopper.cancel()
            await asyncio.gather(publishing, stopper, return_exceptions=True)
    if counted.error is not None:
        raise counted.error
    conversation.end()
    return Published(
        conversation_id=conversation_id,
        trace_id=trace_id_of(conversation.context),
        speech=script.title,
        audio_seconds=counted.audio_seconds,
        first_audio_ms=conversation.first_audio_ms,
        position_ms=finished.position_us / 1000,
        interrupted=finished.interrupted,
        reason=finished.reason,
    )


async def _interrupt_after(
    seconds: float | None,
    conversation: Conversation,
    rendition: PublishedSpeech,
    publishing: asyncio.Task[None],
    say: Callable[[str], None],
) -> None:
    """Interrupt after `seconds` were played, and stop publishing: sound after an interrupt would open another conversation."""
    if seconds is not None:
        await conversation.started.wait()
        await asyncio.sleep(seconds)
        say(f"interrupting after {seconds:g} s")
        publishing.cancel()
        rendition.avatar.interrupt()
