"""One clip of speech with its face: the service's keyframes on our grid, and its sound, or ours, in step with them.

Rules:
1. The sound is the service's own where it comes in the format that we sent; where it lags or is missing, ours goes on
   at the same sample. What is heard is as long as what was spoken.
2. When motion is lost, what came before stays, `MotionLost` says so, and our sound goes on to the clip's end.
3. A clip that others follow has exactly the rows of its time: beyond it they are cut, up to it the last one is held.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import numpy as np

from avatar_relay.reasons import Reason
from relay_server.sources.audio2face.call import ServiceCall
from relay_server.sources.audio2face.faults import RETRY_AFTER_MS, ServiceError, invalid_error
from relay_server.sources.audio2face.keyframes import KeyframeError, KeyframeLine, Rows
from relay_server.sources.audio2face.settings import Audio2FaceSettings
from relay_server.sources.audio2face.sound import SAMPLE_BYTES, ClipSound, SpeechFeed
from relay_server.sources.audio2face.wire import Animation, Header
from relay_server.sources.interleave import AUDIO_CHUNK_S, Interleaver
from relay_server.sources.source import AudioChunk, Item, MotionLost

TRIES = 2
"""Calls for one clip, where the service is away before its first answer."""
MAX_SOUND_LAG_S = 0.5
"""The service's sound may be so far behind its keyframes; then ours takes over."""
MAX_SHORT_S = 0.5
"""Motion that ends so long before the sound broke off."""


class Clip:
    """`begin` once, then read `items` once; `close` in any case."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        settings: Audio2FaceSettings,
        feed: SpeechFeed,
        counters: Counter[str],
        *,
        start_frames: int,
        rows_before: int,
    ) -> None:
        """The clip begins `start_frames` into the conversation, whose motion has `rows_before` by then."""
        self._channel = channel
        self._settings = settings
        self._counters = counters
        self._start_s = start_frames / feed.rate_hz
        frames = round(settings.clip_s * feed.rate_hz)
        self._row_limit = round((start_frames + frames) / feed.rate_hz * settings.keyframes_per_second) - rows_before
        self.sound = ClipSound(feed.rate_hz, SAMPLE_BYTES * frames)
        self._filling = asyncio.create_task(self.sound.fill(feed))
        self._call: ServiceCall | None = None
        self._out = Interleaver(feed.rate_hz, settings.keyframes_per_second)
        self._line = KeyframeLine(settings.keyframes_per_second, 0)
        self._theirs = False
        self._carried = b""
        self._place = 0
        """Bytes of sound that went to `_out`."""

    async def begin(self) -> Header:
        """Call the service and wait for its header. Raises `ServiceError`. Safe to cancel."""
        emotions = self._settings.emotions_of_clip(self._start_s)
        for left in reversed(range(TRIES)):
            self._counters["calls"] += 1
            self._call = ServiceCall(self._channel, self._settings, self.sound, emotions, self._counters)
            try:
                header = await self._call.header()
                break
            except ServiceError as error:
                await self._call.close()
                if not left or error.fault.reason is not Reason.SOURCE_UNAVAILABLE:
                    raise
                await asyncio.sleep(RETRY_AFTER_MS / 1_000)
        self._line = KeyframeLine(self._settings.keyframes_per_second, len(header.blendshape_names))
        self._theirs = header.pcm_rate_hz == self.sound.rate_hz
        if not self._theirs:
            self._counters["own_sound"] += 1
        return header

    async def items(self) -> AsyncIterator[Item]:
        """All of the clip. Where the speech itself broke off, `sound.error` tells afterwards."""
        assert self._call is not None
        lost: ServiceError | None = None
        try:
            while (animation := await self._call.animation()) is not None:
                self._take(animation)
                for item in self._out.take():
                    yield item
            self._end()
        except ServiceError as error:
            lost = error
        self._counters["keyframes_filled"] += self._line.filled
        self._counters["keyframes_passed_over"] += self._line.passed_over
        for item in self._out.take(ended=True):
            yield item
        if lost is not None:
            yield MotionLost(lost.fault)
            async for chunk in self.rest():
                yield chunk

    async def rest(self) -> AsyncIterator[AudioChunk]:
        """The sound that is left, without motion; the service is told to stop."""
        if self._call is not None:
            await self._call.close()
        step = SAMPLE_BYTES * round(AUDIO_CHUNK_S * self.sound.rate_hz)
        while await self.sound.beyond(self._place):
            data = self.sound.part(self._place, self._place + step)
            self._place += len(data)
            yield AudioChunk(data)

    @property
    def rows(self) -> int:
        """Keyframes so far."""
        return min(self._line.rows, self._row_limit)

    @property
    def is_full(self) -> bool:
        """Whether more speech may follow in another clip."""
        return self.sound.error is None and self.sound.size_bytes >= self.sound.limit_bytes

    async def close(self) -> None:
        """Stop the service and the speech. May be called again."""
        self._filling.cancel()
        await asyncio.gather(self._filling, return_exceptions=True)
        if self._call is not None:
            await self._call.close()

    def _take(self, animation: Animation) -> None:
        try:
            for keyframe in animation.keyframes:
                self._push_rows(self._line.push(keyframe.time_s, keyframe.weights, self.sound.seconds))
        except KeyframeError as error:
            raise invalid_error(str(error)) from error
        covered = SAMPLE_BYTES * round(self._line.rows / self._settings.keyframes_per_second * self.sound.rate_hz)
        if self._theirs:
            self._push_theirs(animation.audio)
            if covered - self._place <= SAMPLE_BYTES * MAX_SOUND_LAG_S * self.sound.rate_hz:
                return
            self._theirs = False
            self._counters["own_sound"] += 1
        self._push_ours(covered)

    def _push_rows(self, rows: Rows) -> None:
        before = self._line.rows - len(rows)
        self._out.push_motion(rows[: max(0, self._row_limit - before)])

    def _push_theirs(self, audio: bytes) -> None:
        """Whole samples, and not more than we said."""
        data = self._carried + audio
        whole = len(data) // SAMPLE_BYTES * SAMPLE_BYTES
        self._carried = data[whole:]
        self._push_sound(data[: min(whole, self.sound.size_bytes - self._place)])

    def _push_ours(self, end: int) -> None:
        self._push_sound(self.sound.part(self._place, end))

    def _push_sound(self, data: bytes) -> None:
        self._place += len(data)
        self._out.push_audio(np.frombuffer(data, "<i2").astype(np.int16))

    def _end(self) -> None:
        """The service is through. Raises `ServiceError` where it should not be."""
        covered_s = self._line.rows / self._settings.keyframes_per_second
        if not self._line.rows or not self.sound.complete or self.sound.seconds - covered_s > MAX_SHORT_S:
            raise invalid_error(f"its motion ends at {covered_s:.3f} s, in speech of {self.sound.seconds:.3f} s")
        self._push_ours(self.sound.size_bytes)
        if self.is_full:
            self._out.push_motion(self._line.hold(self._row_limit))
