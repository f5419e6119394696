"""One clip of speech with its face: the service's keyframes on an even grid, in step with the service's sound, or our own.

Rules:

1. The sound is the service's if it has the format that we sent; if it lags or is missing, our own continues at the same sample. The sound
   played is as long as the speech.
2. If motion is lost, earlier motion stays, `MotionLost` reports it, and our own sound continues to the clip's end.
3. Sound waits for its motion only as long as `SoundPace` allows; then our own sound is sent without motion.
4. A clip that is followed by another has exactly the rows of its duration: further rows are cut, missing ones repeat the last row.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import numpy as np

from avatar_relay.reasons import Fault, Reason
from relay_server.sources.audio2face.call import ServiceCall
from relay_server.sources.audio2face.faults import RETRY_AFTER_MS, ServiceError, invalid_error, silent_error
from relay_server.sources.audio2face.keyframe_rate import TIME_CODES, disagree, rate_of
from relay_server.sources.audio2face.keyframes import KeyframeError, KeyframeLine, Rows
from relay_server.sources.audio2face.pace import LAST_WAIT_S, PREROLL_S, SoundPace
from relay_server.sources.audio2face.settings import Audio2FaceSettings
from relay_server.sources.audio2face.sound import SAMPLE_BYTES, ClipSound, SpeechFeed
from relay_server.sources.audio2face.wire import Animation, Header
from relay_server.sources.interleave import AUDIO_CHUNK_S, Interleaver
from relay_server.sources.source import AudioChunk, AudioEnded, Irregularity, Item, MotionLost

DEFAULT_RATE = 30.0
"""Keyframes per second of a service whose time codes show no rate."""
HEADER_WAIT_S = 2.0
RATE_WAIT_S = 0.5
"""Limits for a service that has received sound: time to its header, and to enough time codes while the sound waits."""
MIN_STEP_S, MAX_STEP_S = 0.005, 0.1
TRIES = 2
"""Calls for one clip if the service is unavailable before its first answer."""
MAX_SOUND_LAG_S = 0.5
"""How far the service's sound may be behind its keyframes; beyond that our own sound is used."""
MAX_SHORT_S = 0.5
"""Motion that ends more than this before the sound is incomplete."""


class Clip:
    """One clip. Call `begin` once, then read `items` once; `close` in any case."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        settings: Audio2FaceSettings,
        feed: SpeechFeed,
        counters: Counter[str],
        *,
        start_frames: int,
        rows_before: int,
        rate: float | None,
        pace: SoundPace,
    ) -> None:
        """The clip begins `start_frames` into the conversation, after `rows_before` rows. `rate`: keyframes per second, if known."""
        self._channel = channel
        self._settings = settings
        self._counters = counters
        self._start_s = start_frames / feed.rate_hz
        frames = round(settings.clip_s * feed.rate_hz)
        self._end_s = (start_frames + frames) / feed.rate_hz
        self._rows_before = rows_before
        self._pace = pace
        self.rate = rate or DEFAULT_RATE
        """Keyframes per second; final after `begin`."""
        self._knows_rate = rate is not None
        self._times: list[float] = []
        """The first time codes, in s."""
        self._said_end = False
        self.sound = ClipSound(feed.rate_hz, SAMPLE_BYTES * frames)
        self._filling = asyncio.create_task(self.sound.fill(feed))
        self._call: ServiceCall | None = None
        self._out = Interleaver(feed.rate_hz, self.rate)
        self._line = KeyframeLine(self.rate, 0)
        self._theirs = False
        self._carried = b""
        self._loop = asyncio.get_running_loop()
        self._place = 0
        """Bytes of sound passed to `_out`."""

    async def begin(self) -> Header:
        """Call the service, and wait for its header and its rate. Raises `ServiceError`. Safe to cancel."""
        header = await self._header()
        if not self._knows_rate:
            await self._see_rate()
        self._line = KeyframeLine(self.rate, len(header.blendshape_names))
        self._out = Interleaver(self.sound.rate_hz, self.rate)
        self._theirs = header.pcm_rate_hz == self.sound.rate_hz
        if not self._theirs:
            self._counters["own_sound"] += 1
        return header

    async def _see_rate(self) -> None:
        """Determine the rate: the configured one, else that of the time codes, else `DEFAULT_RATE`."""
        assert self._call is not None
        try:
            async with asyncio.timeout(RATE_WAIT_S):
                times = await self._call.first_time_codes(TIME_CODES)
        except (TimeoutError, ServiceError):  # `items` raises the latter again, after the earlier answers
            times = []
        self.rate = self._settings.keyframes_per_second or rate_of(times) or DEFAULT_RATE

    async def _header(self) -> Header:
        emotions = self._settings.emotions_of_clip(self._start_s)
        for left in reversed(range(TRIES)):
            self._counters["calls"] += 1
            self._call = ServiceCall(self._channel, self._settings, self.sound, emotions, self._counters)
            try:
                return await self._header_of(self._call)
            except TimeoutError:
                raise silent_error(HEADER_WAIT_S) from None
            except ServiceError as error:
                await self._call.close()
                if not left or error.fault.reason is not Reason.SOURCE_UNAVAILABLE:
                    raise
                await asyncio.sleep(RETRY_AFTER_MS / 1_000)
        raise AssertionError("the last try returns or raises")

    async def _header_of(self, call: ServiceCall) -> Header:
        """The header of a call. Raises `TimeoutError` if it does not arrive within `HEADER_WAIT_S` of the first sound."""

        async def arm(limit: asyncio.Timeout) -> None:
            if await self.sound.beyond(0):
                limit.reschedule(self._loop.time() + HEADER_WAIT_S)

        async with asyncio.timeout(None) as limit:
            arming = asyncio.create_task(arm(limit))
            try:
                return await call.header()
            finally:
                arming.cancel()

    async def items(self) -> AsyncIterator[Item]:
        """The items of the clip. If the speech itself failed, `sound.error` is set afterwards."""
        assert self._call is not None
        lost: ServiceError | None = None
        try:
            while True:
                try:
                    async with asyncio.timeout_at(self._wake_at_s()):
                        animation = await self._call.animation()
                except TimeoutError:
                    self._push_due()
                else:
                    if animation is None:
                        break
                    self._take(animation)
                for item in self._ready():
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

    def _ready(self) -> list[Item]:
        """The items that can be published now."""
        now_s = self._loop.time()
        due_frames = self._due_frames(now_s)
        ahead_s = self._covered_s - self._out_s
        preroll_s = min(PREROLL_S, self.sound.seconds - self._out_s) if self.sound.complete else PREROLL_S
        if not self._pace.has_begun and due_frames <= self._out.frames_out and ahead_s < preroll_s:
            return []
        begins_s = self._start_s + self._out_s
        items: list[Item] = [*self._out.take(due_frames=due_frames)]
        if self._start_s + self._out_s > begins_s:
            self._pace.released(begins_s, now_s)
        if len(self._times) == TIME_CODES and (doubt := self._doubt()) is not None:
            items.append(doubt)
        if self._is_all_out and not self._said_end and not self.is_full and self.sound.error is None:
            self._said_end = True
            items.append(AudioEnded())
        return items

    def _doubt(self) -> Irregularity | None:
        """An `Irregularity` if the time codes show another rate than the announced one; else None."""
        seen = rate_of(self._times)
        self._times.append(0.0)  # once
        if seen is None or not disagree(self.rate, seen):
            return None
        self._counters["rate_disagrees"] += 1
        text = f"the time codes of Audio2Face-3D show {seen:g} keyframes per second, not {self.rate:g}; motion is placed by time code"
        return Irregularity(Fault(Reason.MOTION_RATE_MISMATCH, text, "audio2face.keyframes_per_second"))

    def _wake_at_s(self) -> float:
        """Loop time of the next action without an answer. Raises `ServiceError` if the service was waited for too long."""
        now_s = self._loop.time()
        due_s = self._pace.due_at_s(self._start_s + self._out_s)
        if self._is_all_out:
            give_up_s = self._pace.gives_up_at_s(self._start_s + self.sound.seconds)
            if now_s >= give_up_s:
                raise silent_error(LAST_WAIT_S)
            return give_up_s
        if self._out.frames_out * SAMPLE_BYTES >= self.sound.size_bytes and (now_s > due_s or not self._pace.has_begun):
            self._pace.ask(now_s)
        return min(max(due_s, now_s + MIN_STEP_S), now_s + MAX_STEP_S)

    @property
    def _is_all_out(self) -> bool:
        return self.sound.complete and self._out.frames_out * SAMPLE_BYTES >= self.sound.size_bytes

    @property
    def _out_s(self) -> float:
        """Sound that was published, in s."""
        return self._out.frames_out / self.sound.rate_hz

    def _due_frames(self, now_s: float) -> int:
        """Frames of this clip's sound that must be published by now."""
        return round((self._pace.due_to_s(now_s) - self._start_s) * self.sound.rate_hz)

    def _push_due(self) -> None:
        """Continue with our own sound if the service's is late."""
        due_frames = self._due_frames(self._loop.time())
        end = min(SAMPLE_BYTES * (due_frames + round(AUDIO_CHUNK_S * self.sound.rate_hz)), self.sound.size_bytes)
        if due_frames <= self._out.frames_out or self._place >= end:
            return
        if self._theirs:
            self._theirs = False
            self._counters["own_sound"] += 1
        self._push_ours(end)

    async def rest(self) -> AsyncIterator[AudioChunk]:
        """The remaining sound, without motion; cancels the service's call."""
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
    def _row_limit(self) -> int:
        """Rows of a clip that is followed by another."""
        return round(self._end_s * self.rate) - self._rows_before

    @property
    def _covered_s(self) -> float:
        return self._line.rows / self.rate

    @property
    def is_full(self) -> bool:
        """Whether the clip is full, so that more speech may follow in another one."""
        return self.sound.error is None and self.sound.size_bytes >= self.sound.limit_bytes

    async def close(self) -> None:
        """Cancel the call and stop reading the speech. Idempotent."""
        self._filling.cancel()
        await asyncio.gather(self._filling, return_exceptions=True)
        if self._call is not None:
            await self._call.close()

    def _take(self, animation: Animation) -> None:
        try:
            for keyframe in animation.keyframes:
                if len(self._times) < TIME_CODES:
                    self._times.append(keyframe.time_s)
                self._push_rows(self._line.push(keyframe.time_s, keyframe.weights, self.sound.seconds))
        except KeyframeError as error:
            raise invalid_error(str(error)) from error
        covered = SAMPLE_BYTES * round(self._covered_s * self.sound.rate_hz)
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
        """Use the service's sound: whole samples, and not more than was sent to it."""
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
        """Handle the end of the service's answers. Raises `ServiceError` if it is premature."""
        if not self._line.rows or not self.sound.complete or self.sound.seconds - self._covered_s > MAX_SHORT_S:
            raise invalid_error(f"its motion ends at {self._covered_s:.3f} s, in speech of {self.sound.seconds:.3f} s")
        self._push_ours(self.sound.size_bytes)
        if self.is_full:
            self._out.push_motion(self._line.hold(self._row_limit))
