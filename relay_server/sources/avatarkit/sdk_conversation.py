"""One conversation with the Motion Server: sound goes to the listener and to the SDK, which returns the motion.

Rules:

1. Sound never waits for a session. The first sound is published at once; motion joins when it arrives.
2. After a transient failure there is a new request on a ready or new session, after the last received keyframe; at most `MAX_ATTEMPTS` in a
   row without any motion. After other failures the conversation is sound only, with the reason (`MotionLost`), and the sound continues to
   its end.
3. Motion is waited for until `PATIENCE_US` after the sound has been played, if its length is known here; then the rest of it is lost.
4. Stopping midway interrupts the request and returns the session, warm, to the pool.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.avatarkit.faults import Recovery, SdkError, SdkFailure, judge
from relay_server.sources.avatarkit.feed import Feed
from relay_server.sources.avatarkit.live import LiveSession
from relay_server.sources.avatarkit.performance_buffer import PerformanceBuffer
from relay_server.sources.avatarkit.pool import Pool
from relay_server.sources.avatarkit.requests import Arrival
from relay_server.sources.source import AudioChunk, Irregularity, Item, MotionLost, SourceError, close_early
from relay_server.sources.source_trace import KEYFRAMES, SESSION, SourceTrace

MAX_ATTEMPTS = 3
PATIENCE_US = 1_500_000
STEP_US = 100_000
"""Sound is passed on in pieces of at most this length, so that a long one does not delay motion."""
ENCODED_STEP_BYTES = 16 << 10

logger = logging.getLogger(__name__)


class Conversing:
    """The items of a performance. Work starts when the first item is read; `aclose` ends it early."""

    def __init__(
        self, chunks: AsyncIterator[bytes | Irregularity], audio_format: AudioFormat, pool: Pool, device: str, trace: SourceTrace
    ) -> None:
        self._chunks = chunks
        self._format = audio_format
        self._pool = pool
        self._device = device
        self._trace = trace
        self._feed = Feed(audio_format)
        self._out = PerformanceBuffer()
        self._moved = asyncio.Event()
        self._failure: SdkFailure | None = None
        self._lost = False
        self._attempts = 0
        self._last_fault: Fault | None = None
        """The fault of the last attempt, if no motion has arrived since."""
        self._task: asyncio.Task[None] | None = None

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"conversing {self._device}")
        return await self._out.get()

    async def aclose(self) -> None:
        """Stop at once, by rule 4."""
        if self._task is None:
            self._trace.close()
            await close_early(self._chunks)
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # --- callbacks of the session ----------------------------------------------------------------------------------

    def on_motion(self, arrival: Arrival) -> None:
        """See `live.Listener`."""
        if self._failure is not None or self._lost:
            return
        head = arrival.head
        if not self._feed.is_plausible(head.keyframes) or (head.end and self._feed.ends_wrong(head.keyframes)):
            self.on_failure(self._found("motionDisagrees"))
            return
        if not self._out.put_motion(arrival.data):
            self.on_failure(SdkFailure("motionOverflow"))
            return
        self._feed.on_motion(head.keyframes, head.end, self._pool.now_us())
        self._attempts, self._last_fault = 0, None
        self._moved.set()

    def on_failure(self, failure: SdkFailure) -> None:
        """See `live.Listener`."""
        if self._failure is None:
            self._failure = failure
            self._moved.set()

    # --- tasks -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Task boundary: any failure ends the items, with an error if the voice failed."""
        error: Exception | None = None
        began_us = self._pool.now_us()
        moving = asyncio.create_task(self._move())
        try:
            error = await self._speak()
            if error is not None:
                moving.cancel()
                await asyncio.gather(moving, return_exceptions=True)
            else:
                self._out.end_audio()
                await self._await_motion(moving, began_us)
        except Exception as bug:
            logger.exception("%s: a conversation on %s broke off", self._pool.name, self._device)
            error = SourceError(
                Fault(Reason.SOURCE_FAILED, f"{self._pool.name}: stopped because of an internal error: {type(bug).__name__}")
            )
        finally:
            moving.cancel()
            await asyncio.gather(moving, return_exceptions=True)
            self._trace.close(fault=error.fault.reason if isinstance(error, SourceError) else None)
            self._out.end(error)

    async def _await_motion(self, moving: asyncio.Task[None], began_us: int) -> None:
        """Wait for motion by rule 3. The length of encoded sound is unknown: there `Feed` alone decides."""
        now_us = self._pool.now_us()
        patience_us = max(began_us + self._feed.sound_us - now_us, 0) + PATIENCE_US
        try:
            async with asyncio.timeout(patience_us / 1e6 if self._feed.sound_us else None) as waiting:
                await moving
        except TimeoutError:
            if not waiting.expired():
                raise
            self._lose(self._last_fault or self._pool.note(self._found("motionStalled")))

    async def _speak(self) -> Exception | None:
        """Pass the voice's sound to the listener and into the feed; returns the voice's error."""
        pcm = self._format.codec is Codec.PCM_S16LE
        step = 2 * self._format.sample_rate_hz * STEP_US // 1_000_000 if pcm else ENCODED_STEP_BYTES
        try:
            async for data in self._chunks:
                if isinstance(data, Irregularity):
                    await self._out.put_audio(data)
                    continue
                for start in range(0, len(data), step):
                    await self._say(data[start : start + step])
        except SourceError as error:
            return error
        finally:
            await close_early(self._chunks)
        self._feed.finish()
        self._moved.set()
        return None

    async def _say(self, data: bytes) -> None:
        await self._out.put_audio(AudioChunk(data))
        while not self._feed.has_room and not self._lost:
            await self._wait(None)
        if not self._lost:
            self._feed.push(data)
            self._moved.set()

    async def _move(self) -> None:
        """Generate motion for the sound. An unexpected error must not leave the voice waiting; `_run` reports it."""
        try:
            await self._move_over_sessions()
        except Exception:
            self._lost = True
            self._moved.set()
            raise

    async def _move_over_sessions(self) -> None:
        """Use as many sessions as necessary (rule 2)."""
        while not self._lost:
            session = self._trace.begin("source.session")
            try:
                live = await self._pool.lease(self._device, self._format)
            except SdkError as error:
                self._trace.end(session, fault=self._after(error.failure).reason)
                continue
            except SourceError as error:
                self._trace.end(session, fault=error.fault.reason)
                self._lose(error.fault)
                return
            self._trace.end(session, {SESSION: live.number})
            request, came = self._trace.begin("source.request", {SESSION: live.number}), self._feed.keyframes
            try:
                failure = await self._use(live)
            finally:
                self._pool.give_back(live)
            fault = None if failure is None else self._after(failure)
            self._trace.end(request, {KEYFRAMES: self._feed.keyframes - came}, fault=None if fault is None else fault.reason)
            if fault is None:
                self._pool.succeeded()
                return

    async def _use(self, live: LiveSession) -> SdkFailure | None:
        """One request on one session; None if all motion arrived."""
        self._failure = None
        live.begin(self)
        while self._failure is None:
            now_us = self._pool.now_us()
            if self._feed.is_complete(now_us):
                live.finish()
                return self._found("motionDisagrees") if self._feed.disagrees else None
            if self._feed.is_overdue(now_us):
                return self._found("motionStalled")
            sending = self._feed.take(now_us)
            if sending is None:
                await self._wait(self._feed.deadline_us())
                continue
            try:
                await live.send(sending.data, end=sending.end)
            except SdkError as error:
                return self._failure or error.failure
        return self._failure

    def _found(self, code: str) -> SdkFailure:
        return SdkFailure(code, detail=f"{self._feed.keyframes} keyframes for {self._feed.sound_us / 1e6:.2f} s")

    def _after(self, failure: SdkFailure) -> Fault:
        """Decide what follows a failure: another attempt, or sound only. Returns the fault to report."""
        fault = self._last_fault = self._pool.note(failure)
        self._attempts += 1
        again = judge(failure).recovery in (Recovery.AT_ONCE, Recovery.BACK_OFF) and self._attempts < MAX_ATTEMPTS
        if again and self._feed.is_covered:
            self._lost = True  # only the end mark is missing
        elif not again or not self._feed.rewind():
            self._lose(fault)
        return fault

    def _lose(self, fault: Fault) -> None:
        self._lost = True
        self._out.lose_motion(MotionLost(fault))
        self._moved.set()

    async def _wait(self, deadline_us: int | None) -> None:
        wait_s = None if deadline_us is None else max(deadline_us - self._pool.now_us(), 1_000) / 1e6
        self._moved.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):  # not wait_for: that one may swallow a cancellation
                await self._moved.wait()
