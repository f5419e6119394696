"""AvatarKit's verbs on the device itself: a player that is used without a relay.

Rules of the player:
1. The first audio opens a conversation and mints its id, and so does the first audio after an `end`, an interrupt or a
   failure. A new conversation interrupts the one that plays.
2. Frames carry the id that audio returned; those of any other id are refused, with False. Empty frames make the
   conversation audio only, for good.
3. After `end` frames are still taken. The conversation is over when it has no motion, when motion covers the sound to within
   a keyframe, when a message was marked as the last, or when no frames came for `MOTION_WAIT_US`.
4. The verbs wait until playback has room; their `_nowait` twins raise `BufferFullError`, and have then taken nothing.
5. Sound and motion are `bytes`; a `bytearray` or `memoryview` is copied at the call. An argument of a wrong type is a `TypeError` at the
   call, and nothing is taken then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec

from avatar_relay import avatarkit, weights
from avatar_relay.checks import (
    BytesLike,
    FieldError,
    as_bytes,
    as_payloads,
    check_bool,
    check_function,
    check_number,
    check_text,
    check_type,
)
from avatar_relay.ids import mint_conversation_id
from avatar_relay.limits import MAX_PAYLOAD_BYTES, MAX_PCM_PAYLOAD_US, STRICT_SYNC_WAIT_US
from avatar_relay.media import AudioFormat, ConversationOpen, Credit, Kind, MotionEncoding, MotionFormat, Pacing, Payload
from avatar_relay.messages import AudioOnly, ConversationEnd, ConversationError, Finished, Interrupt, Media, Pause, Resume, Volume
from avatar_relay.reasons import Fault
from edge_client.errors import BufferFullError
from edge_client.playback.engine import PlaybackEngine
from edge_client.playback.events import ConversationEvent, PlayerState

TICK_S = 0.01
MOTION_WAIT_US = STRICT_SYNC_WAIT_US
_STREAM_PAYLOAD_BYTES = 16 << 10
P = ParamSpec("P")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlayerCallbacks:
    """What a player tells; called from `tick`, on its thread. Plain functions; what they raise is logged, and stops nothing."""

    on_state: Callable[[PlayerState], None] = lambda state: None
    on_finished: Callable[[str, Finished], None] = lambda conversation_id, finished: None
    on_error: Callable[[str, Fault], None] = lambda conversation_id, fault: None

    def __post_init__(self) -> None:
        for name in ("on_state", "on_finished", "on_error"):
            check_function(getattr(self, name), name)


@dataclass(slots=True)
class _Current:
    conversation_id: str
    audio_seq: int = 0
    motion_seq: int = 0
    audio_bytes: int = 0
    keyframes: int = 0
    audio_only: bool = False
    audio_ended: bool = False
    motion_ended: bool = False
    last_media_us: int = 0


class Player:
    """AvatarKit's verbs over a `PlaybackEngine`. Belongs to one asyncio loop; `run` (or `tick`, every 10 ms) keeps it going."""

    def __init__(
        self,
        playback: PlaybackEngine,
        *,
        audio_format: AudioFormat,
        motion_format: MotionFormat | None = None,
        pacing: Pacing = Pacing.BURST,
        callbacks: PlayerCallbacks | None = None,
        clock_us: Callable[[], int] = lambda: time.monotonic_ns() // 1_000,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        check_type(audio_format, AudioFormat, "audio_format")
        if motion_format is not None:
            check_type(motion_format, MotionFormat, "motion_format")
        check_type(pacing, Pacing, "pacing")
        if callbacks is not None:
            check_type(callbacks, PlayerCallbacks, "callbacks")
        self._playback = check_type(playback, PlaybackEngine, "playback")
        self._audio_format = audio_format
        self._motion_format = motion_format
        self._pacing = pacing
        self._callbacks = PlayerCallbacks() if callbacks is None else callbacks
        self._clock_us = clock_us
        self._random_bytes = random_bytes
        credit = playback.buffer_credit()
        self._room = {Kind.AUDIO: credit.audio_bytes, Kind.MOTION: credit.motion_bytes}
        self._more_room = asyncio.Event()
        self._turn = asyncio.Lock()
        self._current: _Current | None = None
        self._latest_id: str | None = None
        self._volume = Volume()
        self._state = PlayerState.IDLE

    # --- media ------------------------------------------------------------------------------------------------------

    async def yield_audio_data(self, data: BytesLike, *, end: bool = False) -> str:
        """Play audio; returns the id of its conversation. `end` says that no more follows; data may then be empty.

        Waits for room. When it is cancelled, a part of the data may have been taken. Raises `ValueError` for no data at all.
        """
        check_bool(end, "end")
        sound = as_bytes(data, "data")
        async with self._turn:
            current = self._current_for(sound, end=end)
            for piece in self._pieces(sound):
                await self._wait_for_room(Kind.AUDIO, len(piece))
                self._send_audio(current, piece)
            self._end(current, end=end)
            return current.conversation_id

    def yield_audio_data_nowait(self, data: BytesLike, *, end: bool = False) -> str:
        """The same at once. Raises `BufferFullError` where there is no room for all of it."""
        check_bool(end, "end")
        sound = as_bytes(data, "data")
        self._check_room(Kind.AUDIO, len(sound))
        current = self._current_for(sound, end=end)
        for piece in self._pieces(sound):
            self._send_audio(current, piece)
        self._end(current, end=end)
        return current.conversation_id

    async def yield_frames_data(self, frames: Sequence[BytesLike], conversation_id: str) -> bool:
        """Show motion payloads; False where the conversation is not the latest. No frames: audio only from here on.

        Waits for room. Raises `ValueError` for a payload over 2 MiB, and where the player was made without a motion format.
        """
        payloads = self._checked(frames, conversation_id)
        async with self._turn:
            for frame in payloads:
                if frame and self._takes_frames(conversation_id) is not None:
                    await self._wait_for_room(Kind.MOTION, len(frame))
                    self._send_motion(conversation_id, frame)
            return self._after_frames(payloads, conversation_id)

    def yield_frames_data_nowait(self, frames: Sequence[BytesLike], conversation_id: str) -> bool:
        """The same at once. Raises `BufferFullError` where there is no room for all of it."""
        payloads = self._checked(frames, conversation_id)
        self._check_room(Kind.MOTION, sum(map(len, payloads)))
        for frame in payloads:
            if frame:
                self._send_motion(conversation_id, frame)
        return self._after_frames(payloads, conversation_id)

    # --- control ----------------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Fade out, and forget what plays."""
        self._handle_latest(Interrupt)
        self._current = None

    def pause(self) -> None:
        """Hold; keep everything."""
        self._handle_latest(Pause)

    def resume(self) -> None:
        """Go on after a pause."""
        self._handle_latest(Resume)

    def set_volume(self, gain: float, *, muted: bool = False) -> None:
        """Linear gain, 0 to 1. Raises `ValueError` beyond."""
        gain = check_number(gain, "gain")
        check_bool(muted, "muted")
        if not 0.0 <= gain <= 1.0:
            raise ValueError(f"the gain is {gain}; 0 to 1 is allowed")
        self._volume = Volume(gain, muted)
        self._playback.handle(self._volume, self._clock_us())

    @property
    def volume(self) -> float:
        """The gain that was set."""
        return self._volume.gain

    @property
    def state(self) -> PlayerState:
        """What the player does."""
        return self._playback.state

    def audio_time(self) -> float:
        """Seconds of the latest conversation that were heard; 0 before its first sound."""
        position = self._playback.audible(self._clock_us())
        return position.pts_us / 1e6 if position is not None and position.conversation_id == self._latest_id else 0.0

    # --- keeping it going -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep playing until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def tick(self) -> None:
        """Go on to now, and call back."""
        now_us = self._clock_us()
        self._end_when_complete(now_us)
        for output in self._playback.tick(now_us):
            match output:
                case Credit():
                    self._room[Kind.AUDIO] += output.audio_bytes
                    self._room[Kind.MOTION] += output.motion_bytes
                    self._more_room.set()
                case ConversationEvent(conversation_id, Finished() as finished):
                    self._forget(conversation_id)
                    _call(self._callbacks.on_finished, conversation_id, finished)
                case ConversationError(conversation_id, fault):
                    _call(self._callbacks.on_error, conversation_id, fault)
        state = self._playback.state
        if state is not self._state:
            self._state = state
            _call(self._callbacks.on_state, state)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _current_for(self, data: bytes, *, end: bool) -> _Current:
        current = self._current
        if current is not None and not current.audio_ended and (data or end):
            return current
        if not data:
            raise ValueError("there is no audio: a conversation begins with sound, and only its end may be empty")
        conversation_id = mint_conversation_id(self._random_bytes)
        opened = ConversationOpen(conversation_id, self._audio_format, self._motion_format, self._pacing)
        self._current = _Current(conversation_id)
        self._latest_id = conversation_id
        self._playback.handle(opened, self._clock_us())
        return self._current

    def _checked(self, frames: Sequence[BytesLike], conversation_id: str) -> list[bytes]:
        """Motion that may be handed over."""
        payloads = as_payloads(frames, "frames")
        check_text(conversation_id, "conversation_id")
        for index, payload in enumerate(payloads):
            if len(payload) > MAX_PAYLOAD_BYTES:
                raise FieldError(f"frames[{index}]", f"has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are allowed")
        if self._motion_format is None and any(payloads) and self._takes_frames(conversation_id) is not None:
            raise FieldError("frames", "hold motion, and the player was made without a motion_format")
        return payloads

    def _pieces(self, data: bytes) -> list[bytes]:
        traits = self._audio_format.codec.traits
        if traits.sample_bytes:
            size = traits.sample_bytes * self._audio_format.sample_rate_hz * MAX_PCM_PAYLOAD_US // 1_000_000
        else:
            size = _STREAM_PAYLOAD_BYTES if traits.packet_duration_us is None else max(1, len(data))
        return [data[start : start + size] for start in range(0, len(data), size)]

    def _send_audio(self, current: _Current, data: bytes) -> None:
        current.audio_seq += 1
        current.audio_bytes += len(data)
        self._send(current.conversation_id, Payload(Kind.AUDIO, current.audio_seq, data))

    def _send_motion(self, conversation_id: str, data: bytes) -> None:
        current = self._takes_frames(conversation_id)
        if current is None or self._motion_format is None:
            return
        rate = self._motion_format.keyframes_per_second
        count, last = _look_at(self._motion_format, data)
        current.motion_ended = current.motion_ended or last
        current.motion_seq += 1
        pts_us, duration_us = round(current.keyframes * 1e6 / rate), round(count * 1e6 / rate)
        current.keyframes += count
        current.last_media_us = self._clock_us()
        self._send(conversation_id, Payload(Kind.MOTION, current.motion_seq, data, pts_us, duration_us))

    def _send(self, conversation_id: str, payload: Payload) -> None:
        self._room[payload.kind] -= len(payload.data)
        self._playback.handle(Media(conversation_id, (payload,)), self._clock_us())

    def _takes_frames(self, conversation_id: str) -> _Current | None:
        current = self._current
        return current if current is not None and current.conversation_id == conversation_id and not current.audio_only else None

    def _after_frames(self, frames: Sequence[bytes], conversation_id: str) -> bool:
        current = self._current
        if current is None or current.conversation_id != conversation_id:
            return False
        if not any(frames) and not current.audio_only:
            current.audio_only = True
            self._playback.handle(AudioOnly(conversation_id), self._clock_us())
        self._end_when_complete(self._clock_us())
        return True

    def _end(self, current: _Current, *, end: bool) -> None:
        if end and self._current is current:
            current.audio_ended = True
            current.last_media_us = self._clock_us()
            self._end_when_complete(current.last_media_us)

    def _end_when_complete(self, now_us: int) -> None:
        current = self._current
        if current is None or not current.audio_ended:
            return
        if self._has_all_motion(current) or now_us - current.last_media_us >= MOTION_WAIT_US:
            self._playback.handle(ConversationEnd(current.conversation_id, current.audio_seq, current.motion_seq), now_us)
            self._current = None

    def _has_all_motion(self, current: _Current) -> bool:
        if self._motion_format is None or current.audio_only or current.motion_ended:
            return True
        sample_bytes = self._audio_format.codec.traits.sample_bytes
        if not sample_bytes:
            return False
        audio_s = current.audio_bytes / sample_bytes / self._audio_format.sample_rate_hz
        return (current.keyframes + 1) / self._motion_format.keyframes_per_second >= audio_s

    def _handle_latest(self, message: type[Interrupt] | type[Pause] | type[Resume]) -> None:
        if self._latest_id is not None:
            self._playback.handle(message(self._latest_id), self._clock_us())

    def _forget(self, conversation_id: str) -> None:
        if self._current is not None and self._current.conversation_id == conversation_id:
            self._current = None
        if self._latest_id == conversation_id:
            self._latest_id = None

    def _check_room(self, kind: Kind, count: int) -> None:
        if count > self._room[kind]:
            raise BufferFullError(f"{count} bytes of {kind.value}, and room for {self._room[kind]}")

    async def _wait_for_room(self, kind: Kind, count: int) -> None:
        while count > self._room[kind]:
            self._more_room.clear()
            await self._more_room.wait()


def _call(callback: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
    """Tell the owner; what that raises must not keep the player from going on."""
    try:
        callback(*arguments, **named)
    except Exception:
        logger.exception("a callback of the player failed")


def _look_at(format: MotionFormat, data: bytes) -> tuple[int, bool]:
    """Keyframes in a payload, and whether it is marked as the last; 0 in one that is damaged, which playback reports."""
    try:
        if format.encoding is MotionEncoding.AVATARKIT_V2:
            motion = avatarkit.read(data)
            return len(motion.keyframes), motion.end
        return weights.count_keyframes(data, len(format.blendshape_names)), False
    except ValueError:
        return 0, False
