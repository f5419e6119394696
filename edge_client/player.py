"""AvatarKit's methods on the device itself: a player for use without a relay.

Rules of the player:
1. The first audio opens a conversation and creates its id; so does the first audio after an `end`, an interrupt or a failure. A new
   conversation interrupts the current one.
2. Frames carry the id that audio returned; frames with any other id are refused by returning False. Empty frames make the conversation
   audio only, permanently.
3. After `end` frames are still accepted. The conversation is over when it has no motion, when motion covers the sound to within a keyframe,
   when a message was marked as the last, or when no frames arrived for `MOTION_GRACE_US` (the rules of
   `avatar_relay.publisher.published_conversation`, which counts and cuts here too).
4. The methods wait until playback has room; their `_nowait` variants raise `BufferFullError` and then have accepted nothing.
5. Sound and motion are `bytes`; a `bytearray` or `memoryview` is copied at the call. An argument of a wrong type raises `TypeError` at the
   call, and nothing is accepted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec

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
from avatar_relay.limits import MAX_PAYLOAD_BYTES
from avatar_relay.media import AudioFormat, ConversationOpen, Credit, Kind, MotionFormat, Pacing
from avatar_relay.messages import ConversationError, Finished, Interrupt, Media, Pause, Resume, Volume
from avatar_relay.publisher.errors import BufferFullError, InvalidMediaError
from avatar_relay.publisher.media_line import MotionMessage
from avatar_relay.publisher.published_conversation import Phase, PublishedConversation
from avatar_relay.reasons import Fault, Reason
from edge_client.playback.engine import PlaybackEngine
from edge_client.playback.events import ConversationEvent, PlayerState

TICK_S = 0.01
P = ParamSpec("P")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlayerCallbacks:
    """Callbacks of a player, called from `tick` and from the player's methods. Plain functions; exceptions are logged and stop nothing."""

    on_state: Callable[[PlayerState], None] = lambda state: None
    on_finished: Callable[[str, Finished], None] = lambda conversation_id, finished: None
    on_error: Callable[[str, Fault], None] = lambda conversation_id, fault: None

    def __post_init__(self) -> None:
        for name in ("on_state", "on_finished", "on_error"):
            check_function(getattr(self, name), name)


class Player:
    """AvatarKit's methods over a `PlaybackEngine`. Belongs to one asyncio loop; run `run`, or call `tick` every 10 ms, to drive it."""

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
        self._current: PublishedConversation | None = None
        self._latest_id: str | None = None
        self._volume = Volume()
        self.on_volume: Callable[[Volume], None] = lambda volume: None
        """Called with each volume that is set."""
        self._state = PlayerState.IDLE

    # --- media ------------------------------------------------------------------------------------------------------

    async def yield_audio_data(self, data: BytesLike, *, end: bool = False) -> str:
        """Play audio; returns the id of its conversation. `end` marks the last audio; data may then be empty.

        Waits for room. If cancelled, part of the data may have been accepted. Raises `ValueError` for no data at all, for bytes that cannot
        be a bare Opus packet, and for data whose first bytes show another format. A WAV header of the declared PCM is stripped.
        """
        check_bool(end, "end")
        sound = as_bytes(data, "data")
        async with self._turn:
            current, steps = self._begin(sound, end=end)
            for step in steps:
                await self._wait_for_room(current, Kind.AUDIO, len(step))
                self._push_audio(current, step)
            return self._finish_audio(current, end=end)

    def yield_audio_data_nowait(self, data: BytesLike, *, end: bool = False) -> str:
        """Play audio without waiting. Raises `BufferFullError` if there is no room for all of it."""
        check_bool(end, "end")
        sound = as_bytes(data, "data")
        self._check_room(Kind.AUDIO, len(sound))
        current, steps = self._begin(sound, end=end)
        for step in steps:
            self._push_audio(current, step)
        return self._finish_audio(current, end=end)

    async def yield_frames_data(self, frames: Sequence[BytesLike], conversation_id: str) -> bool:
        """Show motion payloads; False if the conversation is not the latest. No frames: audio only from here on.

        Waits for room. Raises `ValueError` for a payload over 2 MiB, and for motion if the player was created without a motion format.
        """
        payloads = self._checked(frames, conversation_id)
        async with self._turn:
            current = self._taking_frames(conversation_id)
            if current is None:
                return False
            for payload in filter(None, payloads):
                await self._wait_for_room(current, Kind.MOTION, len(payload))
                self._push_motion(current, payload)
            return self._finish_frames(current, payloads)

    def yield_frames_data_nowait(self, frames: Sequence[BytesLike], conversation_id: str) -> bool:
        """Show motion payloads without waiting. Raises `BufferFullError` if there is no room for all of them."""
        payloads = self._checked(frames, conversation_id)
        self._check_room(Kind.MOTION, sum(map(len, payloads)))
        current = self._taking_frames(conversation_id)
        if current is None:
            return False
        for payload in filter(None, payloads):
            self._push_motion(current, payload)
        return self._finish_frames(current, payloads)

    # --- control ----------------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Fade out and discard what is playing."""
        self._handle_latest(Interrupt)
        self._close_current()

    def pause(self) -> None:
        """Pause playback; keep everything."""
        self._handle_latest(Pause)

    def resume(self) -> None:
        """Resume after a pause."""
        self._handle_latest(Resume)

    def set_volume(self, gain: float, *, muted: bool = False) -> None:
        """Set the linear gain, 0 to 1. Raises `ValueError` if out of range."""
        gain = check_number(gain, "gain")
        check_bool(muted, "muted")
        if not 0.0 <= gain <= 1.0:
            raise ValueError(f"the gain is {gain}; 0 to 1 is allowed")
        self._volume = Volume(gain, muted)
        self._playback.handle(self._volume, self._clock_us())
        self.on_volume(self._volume)

    @property
    def volume(self) -> float:
        """The gain that was set."""
        return self._volume.gain

    @property
    def state(self) -> PlayerState:
        """The current state of the player."""
        return self._playback.state

    def audio_time(self) -> float:
        """Seconds of the latest conversation that were heard; 0 before its first sound."""
        position = self._playback.audible(self._clock_us())
        return position.pts_us / 1e6 if position is not None and position.conversation_id == self._latest_id else 0.0

    # --- driving it -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep playing until cancelled."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def tick(self) -> None:
        """Advance to the current time and run the callbacks."""
        now_us = self._clock_us()
        if self._current is not None:
            self._current.tick(now_us)
            self._send(self._current)
        for output in self._playback.tick(now_us):
            match output:
                case Credit():
                    self._room[Kind.AUDIO] += output.audio_bytes
                    self._room[Kind.MOTION] += output.motion_bytes
                    if self._current is not None:
                        self._current.grant(output)
                        self._send(self._current)
                    self._more_room.set()
                case ConversationEvent(conversation_id, Finished() as finished):
                    self._forget(conversation_id)
                    _call(self._callbacks.on_finished, conversation_id, finished)
                case ConversationEvent(conversation_id, body):
                    if self._current is not None and self._current.conversation_id == conversation_id:
                        self._current.heard("", body, now_us)
                case ConversationError(conversation_id, fault):
                    _call(self._callbacks.on_error, conversation_id, fault)
        state = self._playback.state
        if state is not self._state:
            self._state = state
            _call(self._callbacks.on_state, state)

    # --- internals --------------------------------------------------------------------------------------------------

    def _begin(self, sound: bytes, *, end: bool) -> tuple[PublishedConversation, list[bytes]]:
        """The conversation for `sound`, opened with its first step if none accepts sound; and the remaining steps."""
        current = self._current
        if current is not None and current.takes_audio and (sound or end):
            return current, current.audio_steps(sound)
        if not sound:
            raise ValueError("there is no audio: a conversation begins with sound, and only its end may be empty")
        conversation_id = mint_conversation_id(self._random_bytes)
        opening = ConversationOpen(conversation_id, self._audio_format, self._motion_format, self._pacing)
        current = PublishedConversation(opening, buffer_bytes=MAX_PAYLOAD_BYTES)
        first, *steps = current.audio_steps(sound)
        current.push_audio(first)
        current.grant(Credit(self._room[Kind.AUDIO], self._room[Kind.MOTION]))
        self._close_current()
        self._current, self._latest_id = current, conversation_id
        self._playback.handle(opening, self._clock_us())
        self._send(current)
        return current, steps

    def _checked(self, frames: Sequence[BytesLike], conversation_id: str) -> list[bytes]:
        """Check motion that is about to be accepted."""
        payloads = as_payloads(frames, "frames")
        check_text(conversation_id, "conversation_id")
        for index, payload in enumerate(payloads):
            if len(payload) > MAX_PAYLOAD_BYTES:
                raise FieldError(f"frames[{index}]", f"has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are allowed")
        if self._motion_format is None and any(payloads) and self._taking_frames(conversation_id) is not None:
            raise FieldError("frames", "hold motion, and the player was made without a motion_format")
        return payloads

    def _taking_frames(self, conversation_id: str) -> PublishedConversation | None:
        """The current conversation, if it has this id and still accepts motion."""
        current = self._current
        takes = current is not None and current.conversation_id == conversation_id and current.phase in (Phase.OPEN, Phase.AUDIO_ENDED)
        return current if takes else None

    def _push_audio(self, current: PublishedConversation, step: bytes) -> None:
        if current.takes_audio:
            current.push_audio(step)
            self._send(current)

    def _finish_audio(self, current: PublishedConversation, *, end: bool) -> str:
        if end and current.takes_audio:
            current.finish_audio()
            if current.carried_bytes:
                fault = Fault(Reason.AUDIO_IRREGULAR, "the audio ends with half a sample, which is ignored", "data")
                _call(self._callbacks.on_error, current.conversation_id, fault)
            current.end_audio(self._clock_us())
            self._send(current)
        return current.conversation_id

    def _push_motion(self, current: PublishedConversation, payload: bytes) -> None:
        if current.motion_refusal is not None:
            return
        try:
            message = current.inspect_motion(payload)
        except InvalidMediaError:
            message = MotionMessage(payload, 0, is_last=False)  # playback reports what is wrong with it
        current.push_motion(message, self._clock_us())
        self._send(current)

    def _finish_frames(self, current: PublishedConversation, payloads: Sequence[bytes]) -> bool:
        if current is not self._current:
            return False
        if not any(payloads):
            current.set_audio_only(self._clock_us())
            self._send(current)
        return True

    def _send(self, current: PublishedConversation) -> None:
        """Hand over as much as playback has room for. Nothing is kept for resending: it cannot be lost on the way."""
        while (message := current.next_message()) is not None:
            if isinstance(message, Media):
                for payload in message.payloads:
                    self._room[payload.kind] -= len(payload.data)
            self._playback.handle(message, self._clock_us())
        current.forget()

    def _close_current(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None
            self._more_room.set()

    def _handle_latest(self, message: type[Interrupt] | type[Pause] | type[Resume]) -> None:
        if self._latest_id is not None:
            self._playback.handle(message(self._latest_id), self._clock_us())

    def _forget(self, conversation_id: str) -> None:
        if self._current is not None and self._current.conversation_id == conversation_id:
            self._close_current()
        if self._latest_id == conversation_id:
            self._latest_id = None

    def _check_room(self, kind: Kind, count: int) -> None:
        if count > self._room[kind]:
            raise BufferFullError(f"{count} bytes of {kind.value}, and room for {self._room[kind]}")

    async def _wait_for_room(self, current: PublishedConversation, kind: Kind, count: int) -> None:
        """Wait until playback has received everything accepted so far and has room for `count` more bytes, or `current` is closed."""
        while current is self._current and (current.is_waiting or count > self._room[kind]):
            self._more_room.clear()
            await self._more_room.wait()


def _call(callback: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
    """Run a callback of the owner; its exceptions must not stop the player."""
    try:
        callback(*arguments, **named)
    except Exception:
        logger.exception("a callback of the player failed")
