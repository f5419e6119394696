"""One call of `ProcessAudioStream`: sends a clip's sound as it becomes available, and keeps the answers for their reader.

Rules:

1. Sound is sent as fast as it is generated, and answers are received as fast as they arrive, whatever the device does: a service drops
   clients that are slower than real time. The answers kept are bounded by the clip (`_answer_limit_bytes`).
2. The answers are one header, then animation, then a status; events in between are counted. Any other order is a fault.
3. A service that has received sound and sends nothing for `timeout_s` has failed. While the call waits for its own sound, the service may
   be silent too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Coroutine
from typing import Any

import grpc

from avatar_relay.limits import MAX_BLENDSHAPE_NAMES, MAX_KEYFRAMES_PER_SECOND
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.audio2face import wire
from relay_server.sources.audio2face.faults import ServiceError, invalid_error, rpc_error, silent_error, status_error
from relay_server.sources.audio2face.schema import METHOD
from relay_server.sources.audio2face.settings import Audio2FaceSettings, Emotion
from relay_server.sources.audio2face.sound import SAMPLE_BYTES, ClipSound

CHUNK_S = 0.5
"""Longest piece of sound in one message, in s; available sound is sent at once."""
MAX_ANSWER_BYTES = 4 << 20
"""Maximum size of one message from the service."""
_SLACK_S = 2.0
"""How much longer than the clip its answers may be, in s."""

logger = logging.getLogger(__name__)


class ServiceCall:
    """The call for one clip. Await `header` first, then `animation` until it returns None; `close` in any case."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        settings: Audio2FaceSettings,
        sound: ClipSound,
        emotions: tuple[Emotion, ...],
        counters: Counter[str],
    ) -> None:
        """`counters` counts irregular events. Needs a running event loop: the call begins at once."""
        self._settings = settings
        self._sound = sound
        self._emotions = emotions
        self._counters = counters
        self._answers: deque[wire.Animation] = deque()
        self._kept_bytes = 0
        self._header: wire.Header | None = None
        self._status: wire.ServiceStatus | None = None
        self._error: ServiceError | None = None
        self._over = False
        self._waits_for_sound = False
        self._moved = asyncio.Event()
        method: Any = channel.stream_stream(METHOD)
        self._call = method(metadata=settings.metadata or None)
        self._ending: tuple[grpc.StatusCode, str] | None = None
        self._call.add_done_callback(self._on_done)
        self._tasks = (asyncio.create_task(self._send()), asyncio.create_task(self._receive()))

    async def header(self) -> wire.Header:
        """Wait for the header. Raises `ServiceError`. Safe to cancel."""
        while self._header is None:
            await self._more()
        return self._header

    async def first_time_codes(self, count: int) -> list[float]:
        """The time codes of the first `count` keyframes; fewer if the service ends earlier. Call it before `animation`. Safe to cancel."""
        while True:
            times = [keyframe.time_s for answer in self._answers for keyframe in answer.keyframes]
            if len(times) >= count or self._over:
                return times[:count]
            await self._more()

    async def animation(self) -> wire.Animation | None:
        """The next keyframes; None after the last. Raises `ServiceError` after all received keyframes. Safe to cancel."""
        while not self._answers:
            if self._over and self._error is None:
                return None
            await self._more()
        return self._answers.popleft()

    async def close(self) -> None:
        """Cancel the call. Idempotent."""
        self._call.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _more(self) -> None:
        if self._over:
            raise self._error or invalid_error("it ended before its header")
        self._moved.clear()
        await self._moved.wait()

    # --- sending ---------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        try:
            await self._write(wire.write_header(self._sound.rate_hz, self._settings.strengths, has_emotions=bool(self._emotions)))
            step = SAMPLE_BYTES * round(CHUNK_S * self._sound.rate_hz)
            place, emotions = 0, self._emotions
            while await self._sound_beyond(place):
                pcm = self._sound.part(place, place + step)
                await self._write(wire.write_audio(pcm, emotions))
                place, emotions = place + len(pcm), ()
            await self._write(wire.write_end())
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            logger.debug("the service took no more sound; its answers say why")
        except Exception:
            logger.exception("sending speech to Audio2Face-3D failed")
            self._error = ServiceError(Fault(Reason.SOURCE_FAILED, "sending speech to Audio2Face-3D failed"))
            self._call.cancel()

    async def _write(self, data: bytes) -> None:
        await self._call.write(data)

    async def _sound_beyond(self, place: int) -> bool:
        self._waits_for_sound = True
        try:
            return await self._sound.beyond(place)
        finally:
            self._waits_for_sound = False

    # --- receiving -------------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        try:
            while (data := await self._read()) is not grpc.aio.EOF:
                self._take(wire.read_answer(data))
                self._moved.set()
            if self._status is None:
                self._counters["ended_without_status"] += 1
        except wire.ServiceWireError as error:
            self._error = invalid_error(str(error))
        except ServiceError as error:
            self._error = error
        except grpc.aio.AioRpcError as error:
            code, details = self._ending or (error.code(), error.details())
            self._error = rpc_error(code, details, self._settings)
        except Exception:
            logger.exception("reading the answers of Audio2Face-3D failed")
            self._error = ServiceError(Fault(Reason.SOURCE_FAILED, "reading the answers of Audio2Face-3D failed"))
        finally:
            self._over = True
            self._moved.set()

    def _on_done(self, call: Any) -> None:
        """Keep the status as received: a later failed write would replace it by INTERNAL (grpc/grpc#36066)."""
        self._ending = self._ending or (_at_once(call.code()), _at_once(call.details()))

    async def _read(self) -> Any:
        reading = asyncio.ensure_future(self._call.read())
        try:
            while True:
                done, _ = await asyncio.wait({reading}, timeout=self._settings.timeout_s)
                if done:
                    return reading.result()
                if not self._waits_for_sound:
                    raise silent_error(self._settings.timeout_s)
        finally:
            reading.cancel()

    def _take(self, answer: wire.Answer) -> None:
        match answer:
            case wire.Header():
                self._begin(answer)
            case wire.Animation():
                if self._header is None:
                    raise invalid_error("animation came before the header")
                if self._status is not None:
                    raise invalid_error("animation came after the last status")
                self._keep(answer)
            case wire.ServiceStatus():
                self._judge(answer)
            case wire.Processed():
                self._counters["processed"] += 1
            case wire.Unknown():
                self._counters["unknown_messages"] += 1
                logger.info("Audio2Face-3D said unknown to this version; it is passed over")

    def _begin(self, header: wire.Header) -> None:
        names = header.blendshape_names
        if self._header is not None:
            raise invalid_error("a second header came")
        if not names or len(names) > MAX_BLENDSHAPE_NAMES or len(set(names)) != len(names):
            raise invalid_error(f"its header needs 1 to {MAX_BLENDSHAPE_NAMES} different blendshape names, and has {len(names)}")
        self._header = header

    def _keep(self, animation: wire.Animation) -> None:
        self._kept_bytes += len(animation.audio) + sum(keyframe.weights.nbytes for keyframe in animation.keyframes)
        if self._kept_bytes > self._answer_limit_bytes():
            raise invalid_error(f"more than {self._answer_limit_bytes()} bytes of answers for a clip")
        self._answers.append(animation)

    def _answer_limit_bytes(self) -> int:
        """Maximum bytes of answers: for the sound, and for one row at each keyframe."""
        seconds = self._sound.limit_bytes / SAMPLE_BYTES / self._sound.rate_hz + _SLACK_S
        names = MAX_BLENDSHAPE_NAMES if self._header is None else len(self._header.blendshape_names)
        motion_bytes_per_s = 4 * names * (self._settings.keyframes_per_second or MAX_KEYFRAMES_PER_SECOND)
        return round(seconds * (SAMPLE_BYTES * self._sound.rate_hz + motion_bytes_per_s))

    def _judge(self, status: wire.ServiceStatus) -> None:
        match status.code:
            case wire.StatusCode.SUCCESS:
                self._status = status
            case wire.StatusCode.ERROR:
                raise status_error(status.message, self._settings)
            case wire.StatusCode.INFO | wire.StatusCode.WARNING:
                self._counters["warnings"] += 1
                logger.info("Audio2Face-3D says: %s", self._settings.without_secrets(status.message))
            case _:
                self._counters["unknown_messages"] += 1
                logger.info("Audio2Face-3D has a status %s that this version does not know", status.code)


def _at_once(known: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that does not suspend."""
    try:
        known.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it waits")
