"""Source `audio2face`: text, files of speech and a backend's own speech, with the face of an Audio2Face-3D service.

Rules:

1. Text and files are spoken by other sources, whose motion is not used.
2. Names and rate of the motion are the service's, and must be known before the performance starts: `perform` waits for the header and the
   first time codes, but only as long as a listener would.
3. A service that fails, at any point, costs the motion and never the sound.
4. Speech that is longer than a clip is sent to the service in several clips, one after the other, on one motion timeline.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path

import grpc

from avatar_relay.errors import ConfigError
from avatar_relay.media import MotionEncoding, MotionFormat, Pacing
from avatar_relay.tracing import Stage
from relay_server.sources.audio2face.call import MAX_ANSWER_BYTES
from relay_server.sources.audio2face.clip import Clip
from relay_server.sources.audio2face.faults import ServiceError, invalid_error
from relay_server.sources.audio2face.pace import SoundPace
from relay_server.sources.audio2face.settings import Audio2FaceSettings
from relay_server.sources.audio2face.sound import SAMPLE_BYTES, SpeechFeed
from relay_server.sources.interleave import AUDIO_CHUNK_S
from relay_server.sources.source import (
    AudioChunk,
    AudioSpeech,
    FileSpeech,
    Item,
    MotionLost,
    Performance,
    Source,
    SourceError,
    Speech,
    TextSpeech,
)
from relay_server.sources.source_trace import KEYFRAMES, SourceTrace, SourceTracing

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class Audio2FaceSource:
    """A client of one service, for many concurrent conversations. `close` it when it is no longer needed."""

    name = "audio2face"

    def __init__(self, settings: Audio2FaceSettings, *, text: Source, audio: Source, tracing: SourceTracing | None = None) -> None:
        """`text` speaks text, `audio` reads files; both yield PCM. Raises `ConfigError` if the certificates cannot be read."""
        self._settings = settings
        self._text = text
        self._audio = audio
        self._tracing = tracing or SourceTracing()
        self._authorities = _read_authorities(settings.tls_ca_file) if settings.tls_ca_file is not None else None
        self._channel: grpc.aio.Channel | None = None
        self._counters: Counter[str] = Counter()

    @property
    def counters(self) -> Mapping[str, int]:
        """Event counts by name: `calls`, `own_sound`, `unknown_messages`, `motion_lost.REASON` …."""
        return self._counters

    async def perform(self, speech: Speech) -> Performance:
        """Begin to speak, and wait for the service's header. Raises `SourceError` if there is nothing to speak."""
        match speech:
            case AudioSpeech(audio_format, chunks):
                feed = SpeechFeed(audio_format, chunks)
            case TextSpeech() | FileSpeech():
                spoken = await (self._text if isinstance(speech, TextSpeech) else self._audio).perform(speech)
                feed = SpeechFeed(spoken.audio_format, spoken.items)
        trace = self._tracing.begin(self.name)
        performing = Performing(self._connected(), self._settings, feed, self._counters, trace)
        try:
            motion_format = await performing.begin()
        except BaseException:
            await performing.aclose()
            raise
        return Performance(feed.audio_format, motion_format, Pacing.BURST, performing, trace.context, self._settings.mood)

    async def close(self) -> None:
        """Close the connection; running performances lose their motion."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def _connected(self) -> grpc.aio.Channel:
        """The channel shared by all conversations; it reconnects automatically."""
        if self._channel is None:
            settings = self._settings
            if settings.tls:
                credentials = grpc.ssl_channel_credentials(self._authorities)
                self._channel = grpc.aio.secure_channel(settings.target, credentials, options=_OPTIONS)
            else:
                self._channel = grpc.aio.insecure_channel(settings.target, options=_OPTIONS)
        return self._channel


class Performing:
    """The items of one performance, read once by one task. `begin` first, `aclose` in any case."""

    def __init__(
        self, channel: grpc.aio.Channel, settings: Audio2FaceSettings, feed: SpeechFeed, counters: Counter[str], trace: SourceTrace
    ) -> None:
        self._channel = channel
        self._settings = settings
        self._feed = feed
        self._counters = counters
        self._trace = trace
        self._request: Stage | None = None
        self._names: tuple[str, ...] = ()
        self._frames = 0
        self._rows = 0
        self._rate: float | None = None
        self._pace = SoundPace(asyncio.get_running_loop().time())
        self._clip = self._next_clip()
        self._items = self._run(None)

    async def begin(self) -> MotionFormat | None:
        """Wait for the header; None if there will be no motion. Safe to cancel."""
        try:
            self._names = await self._begin_clip()
        except ServiceError as error:
            self._items = self._run(error)
            return None
        self._rate = self._clip.rate
        self._pace.ask(asyncio.get_running_loop().time())
        return MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, self._rate, self._names)

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        if self._feed.irregularities:
            return self._feed.irregularities.popleft()
        try:
            return await anext(self._items)
        except BaseException as error:
            if isinstance(error, StopAsyncIteration) and self._feed.irregularities:
                return self._feed.irregularities.popleft()
            if not isinstance(error, asyncio.CancelledError):
                self._trace.close(fault=error.fault.reason if isinstance(error, SourceError) else None)
            raise

    async def aclose(self) -> None:
        """Stop the service's call and the speech, also if nothing was read."""
        await self._items.aclose()
        await self._clip.close()
        await self._feed.close()
        self._trace.close()

    async def _begin_clip(self) -> tuple[str, ...]:
        """The blendshape names, once the service accepts sound. Raises `ServiceError`."""
        session = self._trace.begin("source.session")
        try:
            header = await self._clip.begin()
        except ServiceError as error:
            self._trace.end(session, fault=error.fault.reason)
            raise
        self._trace.end(session)
        self._request = self._trace.begin("source.request")
        return header.blendshape_names

    def _next_clip(self) -> Clip:
        return Clip(
            self._channel,
            self._settings,
            self._feed,
            self._counters,
            start_frames=self._frames,
            rows_before=self._rows,
            rate=self._rate,
            pace=self._pace,
        )

    async def _run(self, failed: ServiceError | None) -> AsyncGenerator[Item, None]:
        lost = failed is not None
        if failed is not None:
            yield self._lose(failed)
        while True:
            async for item in self._clip.rest() if lost else self._clip.items():
                if isinstance(item, MotionLost):
                    lost = True
                    self._end_request(item.fault.reason)
                    self._counters[f"motion_lost.{item.fault.reason}"] += 1
                yield item
            self._end_request(None)
            if self._clip.sound.error is not None:
                raise self._clip.sound.error
            if not self._clip.is_full or await self._feed.is_over():
                return
            if lost:
                break
            failed = await self._go_on()
            if failed is not None:
                lost = True
                yield self._lose(failed)
        step = SAMPLE_BYTES * round(AUDIO_CHUNK_S * self._feed.rate_hz)
        while data := await self._feed.read(step):
            yield AudioChunk(data)

    async def _go_on(self) -> ServiceError | None:
        """Start the next clip; returns its error, if any."""
        self._frames += self._clip.sound.size_bytes // SAMPLE_BYTES
        self._rows += self._clip.rows
        await self._clip.close()
        self._clip = self._next_clip()
        try:
            names = await self._begin_clip()
        except ServiceError as error:
            return error
        return None if names == self._names else invalid_error("its blendshape names changed between two clips of one speech")

    def _end_request(self, fault: str | None) -> None:
        if self._request is not None:
            self._trace.end(self._request, {KEYFRAMES: self._clip.rows}, fault=fault)
            self._request = None

    def _lose(self, error: ServiceError) -> MotionLost:
        self._counters[f"motion_lost.{error.fault.reason}"] += 1
        return MotionLost(error.fault)


def _read_authorities(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"audio2face.tls_ca_file: {path} cannot be read: {error.strerror}") from error
