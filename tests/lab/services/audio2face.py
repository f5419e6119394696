"""A fake of NVIDIA's Audio2Face-3D service: speaks its protocol over real gRPC, and fails in a named way on request.

The motion follows the sound: the jaw opens with its level, and all other weights are noise that differs from row to row, so
that a lost, duplicated or misplaced row is detected. Limits are the defaults of a real service.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_NAMES
from relay_server.sources.audio2face.schema import METHOD, AnimationStream, AudioStream

NAMES: tuple[str, ...] = (*(name[0].upper() + name[1:] for name in ARKIT_NAMES), "HeadRoll", "TongueTipUp")
"""Blendshape names as a service spells them, with two that no ARKit face has."""
NAMES_52 = NAMES[:52]
_TONGUE = [
    "TipUp",
    "TipDown",
    "TipLeft",
    "TipRight",
    "RollUp",
    "RollDown",
    "RollLeft",
    "RollRight",
    "Up",
    "Down",
    "Left",
    "Right",
    "In",
    "Stretch",
    "Wide",
    "Narrow",
]
NAMES_68: tuple[str, ...] = (*NAMES_52, *(f"Tongue{part}" for part in _TONGUE))
"""The names with the 16 tongue shapes that a service adds on request."""
KEYFRAMES_PER_SECOND = 30.0
MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHUNK_S, MAX_CLIP_S = 16_000, 144_000, 10.0, 300.0
TROUBLE_AT = 30
"""Number of keyframes before a failure midway."""
JUMP_S = 0.4
SUCCESS, INFO, WARNING, ERROR = range(4)


class Trouble(enum.Enum):
    """Failures and peculiarities of a service."""

    NONE = enum.auto()
    ANIMATION_FIRST = enum.auto()
    ERROR_FIRST = enum.auto()
    ERROR_MIDWAY = enum.auto()
    SECOND_HEADER = enum.auto()
    NO_NAMES = enum.auto()
    NAMES_TWICE = enum.auto()
    NAN_WEIGHT = enum.auto()
    NARROW_ROW = enum.auto()
    TIME_GOES_BACK = enum.auto()
    LONG_GAP = enum.auto()
    NEVER_ENDS = enum.auto()
    """Keyframes beyond the sound, without end."""
    OVERSIZED_MESSAGE = enum.auto()
    GARBAGE = enum.auto()
    ENDS_EARLY = enum.auto()
    CANCELS_MIDWAY = enum.auto()
    NEVER_ANSWERS = enum.auto()
    STALLS_MIDWAY = enum.auto()
    UNAUTHENTICATED = enum.auto()
    ALWAYS_AWAY = enum.auto()
    AFTER_STATUS = enum.auto()
    # peculiarities that a correct client tolerates
    JUMPS = enum.auto()
    """Time codes jump forward once."""
    AWAY_ONCE = enum.auto()
    NO_SOUND = enum.auto()
    OTHER_RATE = enum.auto()
    SHORT_GAPS = enum.auto()
    UNKNOWN_WORDS = enum.auto()
    NO_STATUS = enum.auto()


@dataclass(eq=False)
class Heard:
    """One call, from the service's side."""

    metadata: dict[str, str]
    rate_hz: int = 0
    header: Any = None
    audio: bytearray = field(default_factory=bytearray)
    chunk_bytes: list[int] = field(default_factory=list)
    emotions: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    ended: bool = False
    times: list[float] = field(default_factory=list)
    rows: list[NDArray[np.float32]] = field(default_factory=list)
    """Keyframes sent."""
    began_s: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the call has ended, for any reason."""
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when all responses were read."""


@dataclass(frozen=True)
class Style:
    """How a service responds. NIM 1.3 has one rate; 2.0 has `blendshape_streaming_fps`, and `burst_mode` on or off."""

    names: tuple[str, ...] = NAMES
    rate: float = KEYFRAMES_PER_SECOND
    paced: bool = False
    """Respond in real time from the first response on, not as fast as possible."""
    joined: int = 1
    """Keyframes per message."""
    rounded: bool = False
    """Round time codes to whole milliseconds."""


class Audio2FaceService:
    """The service; `calls` records the received calls."""

    def __init__(self, trouble: Trouble = Trouble.NONE, *, says: str = "", style: Style = Style()) -> None:
        """`says` is the text of its error statuses."""
        self.trouble = trouble
        self.says = says
        self.style = style
        self.names = style.names
        self.calls: list[Heard] = []
        self._noise = np.random.default_rng(20)

    def handler(self) -> Any:
        """Handler for `add_generic_rpc_handlers`. Responses are bytes, so that invalid ones can be sent."""
        _, service, method = METHOD.split("/")
        rpc: Any = grpc.stream_stream_rpc_method_handler(self._process, request_deserializer=AudioStream.FromString)
        return grpc.method_handlers_generic_handler(service, {method: rpc})

    async def _process(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[bytes]:
        heard = Heard(dict(context.invocation_metadata()))
        self.calls.append(heard)
        try:
            async for message in self._answers(requests, heard, context):
                yield message if isinstance(message, bytes) else message.SerializeToString()
            heard.finished.set()
        finally:
            heard.over.set()

    async def _answers(self, requests: AsyncIterator[Any], heard: Heard, context: Any) -> AsyncIterator[Any]:
        await self._refuse(context)
        if self.trouble is Trouble.NEVER_ANSWERS:
            await asyncio.Event().wait()
        async for request in requests:
            if error := self._hear(request, heard):
                yield status(ERROR, error)
                return
            if heard.ended:
                break
            async for message in self._begin_or_go_on(request, heard, context):
                yield message
            if self.trouble is Trouble.ENDS_EARLY and len(heard.rows) > TROUBLE_AT:
                return
        async for message in self._finish(heard):
            yield message

    async def _refuse(self, context: Any) -> None:
        if self.trouble is Trouble.UNAUTHENTICATED:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"no such key {self.says}")
        if self.trouble is Trouble.ALWAYS_AWAY or (self.trouble is Trouble.AWAY_ONCE and len(self.calls) == 1):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "starting")

    def _hear(self, request: Any, heard: Heard) -> str:
        """Process a request; returns its error, or an empty string."""
        match request.WhichOneof("stream_part"):
            case "audio_stream_header" if heard.header is None:
                heard.header = request.audio_stream_header
                audio = heard.header.audio_header
                heard.rate_hz = audio.samples_per_second
                if (audio.audio_format, audio.channel_count, audio.bits_per_sample) != (0, 1, 16):
                    return "only mono PCM of 16 bits"
                return "" if MIN_RATE_HZ <= heard.rate_hz <= MAX_RATE_HZ else f"sample rate {heard.rate_hz}"
            case "audio_with_emotion" if heard.header is not None:
                part = request.audio_with_emotion
                heard.audio += part.audio_buffer
                heard.chunk_bytes.append(len(part.audio_buffer))
                heard.emotions += [(emotion.time_code, dict(emotion.emotion)) for emotion in part.emotions]
                if len(part.audio_buffer) > 2 * heard.rate_hz * MAX_CHUNK_S:
                    return "audio buffer too long"
                return "audio clip too long" if len(heard.audio) > 2 * heard.rate_hz * MAX_CLIP_S else ""
            case "end_of_audio" if heard.audio:
                heard.ended = True
                return ""
            case part:
                return f"{part} at this place"

    async def _begin_or_go_on(self, request: Any, heard: Heard, context: Any) -> AsyncIterator[Any]:
        if request.WhichOneof("stream_part") == "audio_stream_header":
            for message in self._opening(heard):
                yield message
            return
        while (len(heard.rows) + self.style.joined) * heard.rate_hz / self.style.rate <= len(heard.audio) // 2:
            if len(heard.rows) == TROUBLE_AT:
                async for message in self._trouble_midway(heard, context):
                    yield message
            yield await self._keyframes(heard, self.style.joined)

    def _opening(self, heard: Heard) -> list[Any]:
        match self.trouble:
            case Trouble.ERROR_FIRST:
                return [status(ERROR, self.says)]
            case Trouble.ANIMATION_FIRST:
                return [AnimationStream(animation_data={})]
            case Trouble.NO_NAMES:
                return [header(heard.rate_hz, ())]
            case Trouble.NAMES_TWICE:
                return [header(heard.rate_hz, ("JawOpen", "JawOpen"))]
            case Trouble.SECOND_HEADER:
                return [header(heard.rate_hz), header(heard.rate_hz)]
            case Trouble.OTHER_RATE:
                return [header(11_025)]
            case Trouble.UNKNOWN_WORDS:
                event = AnimationStream(event={"event_type": 77})
                return [status(INFO, "warming up"), header(heard.rate_hz), event, AnimationStream(), status(12, "?"), b"\xba\x06\x01x"]
            case _:
                return [header(heard.rate_hz, self.names)]

    async def _trouble_midway(self, heard: Heard, context: Any) -> AsyncIterator[Any]:
        time_s = len(heard.rows) / self.style.rate
        match self.trouble:
            case Trouble.ERROR_MIDWAY:
                yield status(ERROR, self.says)
            case Trouble.NAN_WEIGHT:
                yield animation(time_s, np.full(len(NAMES), np.nan, np.float32))
            case Trouble.NARROW_ROW:
                yield animation(time_s, np.zeros(3, np.float32))
            case Trouble.TIME_GOES_BACK:
                yield animation(0.1, np.zeros(len(NAMES), np.float32))
            case Trouble.LONG_GAP:
                yield animation(time_s + 2.0, np.zeros(len(NAMES), np.float32))
            case Trouble.NEVER_ENDS:
                for index in range(100_000):
                    yield animation(time_s + index / self.style.rate, np.zeros(len(NAMES), np.float32))
            case Trouble.OVERSIZED_MESSAGE:
                yield animation(time_s, np.zeros(len(NAMES), np.float32), bytes(5 << 20))
            case Trouble.GARBAGE:
                yield b"\xff\xff\xff"
            case Trouble.CANCELS_MIDWAY:
                await context.abort(grpc.StatusCode.CANCELLED, "moved elsewhere")
            case Trouble.STALLS_MIDWAY:
                await asyncio.Event().wait()
            case Trouble.AFTER_STATUS:
                yield status(SUCCESS, "")

    async def _keyframes(self, heard: Heard, count: int) -> Any:
        """Return the next keyframes with their sound once they are due."""
        loop = asyncio.get_running_loop()
        if not heard.rows:
            heard.began_s = loop.time()
        if self.style.paced:
            await asyncio.sleep(max(heard.began_s + len(heard.rows) / self.style.rate - loop.time(), 0))
        messages = [self._keyframe(heard) for _ in range(count)]
        for message in messages[1:]:
            frames = message.animation_data.skel_animation.blend_shape_weights
            messages[0].animation_data.skel_animation.blend_shape_weights.extend(frames)
            messages[0].animation_data.audio.audio_buffer += message.animation_data.audio.audio_buffer
        return messages[0]

    def _keyframe(self, heard: Heard) -> Any:
        """The next keyframe, with its sound."""
        index = len(heard.rows)
        start, end = (round((index + step) * heard.rate_hz / self.style.rate) * 2 for step in (0, 1))
        pcm = bytes(heard.audio[start:end])
        weights = self._noise.random(len(self.names)).astype(np.float32)
        samples = np.frombuffer(pcm, "<i2").astype(np.float64)
        weights[self.names.index("JawOpen")] = min(1.0, float(np.sqrt((samples**2).mean())) / 8_000) if samples.size else 0.0
        heard.rows.append(weights)
        heard.times.append(self._time_code(index))
        if self.trouble is Trouble.SHORT_GAPS and index % 10 in (4, 5):
            return animation(None, weights, pcm)
        return animation(heard.times[-1], weights, b"" if self.trouble is Trouble.NO_SOUND else pcm)

    def _time_code(self, index: int) -> float:
        time_s = index / self.style.rate
        if self.trouble is Trouble.JUMPS and index >= TROUBLE_AT:
            time_s += JUMP_S
        return round(time_s, 3) if self.style.rounded else time_s

    async def _finish(self, heard: Heard) -> AsyncIterator[Any]:
        while len(heard.rows) * heard.rate_hz / self.style.rate < len(heard.audio) // 2 - 1:
            yield await self._keyframes(heard, 1)
        yield AnimationStream(event={"event_type": 0})
        if self.trouble is not Trouble.NO_STATUS:
            yield status(SUCCESS, "all keyframes were sent")


def header(rate_hz: int, names: tuple[str, ...] = NAMES) -> Any:
    """The first response."""
    audio = {"channel_count": 1, "samples_per_second": rate_hz, "bits_per_sample": 16}
    said = {"audio_header": audio, "skel_animation_header": {"blend_shapes": names}, "start_time_code_since_epoch": 1.7e9}
    return AnimationStream(animation_data_stream_header=said)


def animation(time_s: float | None, weights: NDArray[np.float32], pcm: bytes = b"") -> Any:
    """One keyframe with its sound; sound alone if `time_s` is None."""
    message = AnimationStream()
    message.animation_data.SetInParent()
    if time_s is not None:
        message.animation_data.skel_animation.blend_shape_weights.add(time_code=time_s, values=weights)
    if pcm:
        message.animation_data.audio.time_code = time_s or 0.0
        message.animation_data.audio.audio_buffer = pcm
    return message


def status(code: int, text: str) -> Any:
    """An in-band status message."""
    return AnimationStream(status={"code": code, "message": text})


@asynccontextmanager
async def serving(service: Audio2FaceService, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[str]:
    """Serve on a free local port; yields HOST:PORT."""
    server = grpc.aio.server(options=[("grpc.max_send_message_length", 16 << 20)])
    server.add_generic_rpc_handlers((service.handler(),))
    port = server.add_secure_port("localhost:0", credentials) if credentials else server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"localhost:{port}" if credentials else f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
