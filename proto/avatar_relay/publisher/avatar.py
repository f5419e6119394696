"""An avatar as a backend drives it: AvatarKit's verbs on one device, or on several at once.

Sound opens a conversation; motion carries its id. Both are `bytes`; a `bytearray` or `memoryview` is copied at the call. An argument of
a wrong type is a `TypeError` at the call: nothing is taken then, and no conversation is disturbed. All verbs belong to one event loop.
Cancelling a verb that waits keeps what it had taken by then and leaves the rest; `interrupt` is the way to take that back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import dropwhile, takewhile

from avatar_relay import checks
from avatar_relay.checks import BytesLike
from avatar_relay.media import AS_MOTION_SAYS, ConversationOpen, Expression, ExpressionPreset, Kind, OnPlaying
from avatar_relay.messages import DeviceVolume, Dropped, Finished, FromPublisher, Interrupt, Pause, PlayerEvent, Resume, Volume
from avatar_relay.publisher.avatar_context import AvatarContext, AvatarSettings
from avatar_relay.publisher.end_hint import EndHint
from avatar_relay.publisher.errors import (
    BufferFullError,
    ConnectionLostError,
    ConversationFailedError,
    InvalidMediaError,
    UnknownConversationError,
)
from avatar_relay.publisher.events import AvatarEvent, EventListeners, EventStream, StateChanged
from avatar_relay.publisher.media_line import MotionMessage
from avatar_relay.publisher.playback_tracker import ConversationFinished, PlaybackState, PlaybackTracker
from avatar_relay.publisher.published_conversation import Phase, PublishedConversation
from avatar_relay.publisher.publisher_session import PublisherSession, Record, Told
from avatar_relay.reasons import DropReason, Fault, Reason

logger = logging.getLogger(__name__)


class Avatar:
    """One talking face, or several that say the same. Made by `Publisher.avatar`."""

    def __init__(self, context: AvatarContext, settings: AvatarSettings) -> None:
        self._context = context
        self._settings = settings
        self._records: dict[str, Record] = {}  # all that the session remembers of this avatar
        self._unfinished: list[Record] = []
        """Those of them that were not over when `_live` looked last."""
        self._speaking: Record | None = None
        self._moved = asyncio.Event()
        self._audio_turn = asyncio.Lock()
        self._motion_turn = asyncio.Lock()
        self._listeners = EventListeners()
        self._end_hint = EndHint()
        self._state = PlaybackState.IDLE
        self._position_us = 0
        self._expression = AS_MOTION_SAYS

    # --- media -----------------------------------------------------------------------------------------------------

    async def yield_audio_data(self, data: BytesLike, *, end: bool = False) -> str:
        """Hand over encoded sound; waits for room. Returns the id of its conversation, for the motion that belongs to it.

        Opens a conversation if none is open. PCM and Ogg Opus may be cut anywhere; a bare Opus packet is one call. A WAV of the declared
        PCM is stripped, also one in each call; other containers and encodings are refused by their first bytes. With `end` the sound is
        complete; then `data` may be empty. Motion that is still missing is waited for by rule 4 of `publisher.published_conversation`.
        Sound of a conversation that is interrupted meanwhile is dropped.
        Raises `InvalidMediaError` (nothing of `data` taken), `ConversationFailedError` if the conversation was ended by
        others or failed (once; the next call opens a new one), `ConnectionLostError`, `PublisherClosedError`.
        """
        sound = checks.as_sound(data, end)
        async with self._audio_turn:
            record, steps = self._begin(sound)
            for step in steps:
                await self._room(record, Kind.AUDIO, len(step))
                if not record.conversation.takes_audio:
                    break
                self._push_audio(record, step)
            return self._finish_audio(record, end=end)

    def yield_audio_data_nowait(self, data: BytesLike, *, end: bool = False) -> str:
        """The same without waiting. Raises `BufferFullError` if there is no room for all of it."""
        sound = checks.as_sound(data, end)
        if self._audio_turn.locked():
            raise BufferFullError("another call still waits for room")
        current = self._current()
        if current is not None and not current.conversation.has_room(Kind.AUDIO, len(sound)):
            raise BufferFullError(f"no room for {len(sound)} bytes of sound: the device has not consumed the earlier media")
        record, steps = self._begin(sound)
        for step in steps:
            self._push_audio(record, step)
        return self._finish_audio(record, end=end)

    async def yield_frames_data(
        self, frames: Sequence[BytesLike], conversation_id: str, *, at_us: int | Sequence[int] | None = None
    ) -> bool:
        """Hand over motion payloads, each whole and in order; waits for room. They travel bit for bit as they are.

        No frames, or an empty one: the conversation has sound only from here on, for good.
        Motion lies behind the motion before it, unless `at_us` says where, in µs from the first sample of the sound: the position of the
        first keyframe of all frames, or of each keyframe (rows of weights only; 0 to a day, rising). A device interpolates gaps of up to
        0.2 s, and holds the last pose in longer ones.
        Returns False if the conversation is known here to be over, or never was: then (part of) the motion was
        dropped, counted and told as an event. What is dropped further on comes as an event, too.
        Raises `InvalidMediaError` on what is not motion of the declared format; nothing of `frames` is taken then.
        """
        payloads, positions = checks.as_payloads(frames, "frames"), checks.as_positions(at_us, "at_us")
        checks.check_text(conversation_id, "conversation_id")
        async with self._motion_turn:
            record = self._context.session.record(conversation_id)
            if record is None or conversation_id not in self._records:
                return self._refuse(None, conversation_id, payloads)
            messages = record.conversation.inspect_all(list(takewhile(bool, payloads)), positions)
            for index, (message, position_us) in enumerate(messages):
                await self._room(record, Kind.MOTION, len(message.data))
                if not self._push_motion(record, message, position_us):
                    return self._refuse(record, conversation_id, [left.data for left, _ in messages[index:]])
            return self._after_motion(record, payloads)

    def yield_frames_data_nowait(
        self, frames: Sequence[BytesLike], conversation_id: str, *, at_us: int | Sequence[int] | None = None
    ) -> bool:
        """The same without waiting. Raises `BufferFullError` if there is no room for all of them."""
        payloads, positions = checks.as_payloads(frames, "frames"), checks.as_positions(at_us, "at_us")
        checks.check_text(conversation_id, "conversation_id")
        if self._motion_turn.locked():
            raise BufferFullError("another call still waits for room")
        record = self._context.session.record(conversation_id)
        if record is None or conversation_id not in self._records:
            return self._refuse(None, conversation_id, payloads)
        messages = record.conversation.inspect_all(list(takewhile(bool, payloads)), positions)
        size = sum(len(message.data) for message, _ in messages)
        if record.conversation.motion_refusal is None and not record.conversation.has_room(Kind.MOTION, size):
            raise BufferFullError(f"no room for {size} bytes of motion: the device has not consumed the earlier media")
        for index, (message, position_us) in enumerate(messages):
            if not self._push_motion(record, message, position_us):
                return self._refuse(record, conversation_id, [left.data for left, _ in messages[index:]])
        return self._after_motion(record, payloads)

    def end(self) -> str | None:
        """No more of either kind for the latest conversation: for a backend that knows that its motion is complete.

        Returns its id, None if nothing is left to end. Raises `InvalidMediaError` (NO_AUDIO) if it has no sound, and
        `ConversationFailedError` as the next sound would.
        """
        record = self._current()
        if record is not None:
            return self._finish_audio(record, end=True, everything=True)
        waiting = [record for record in self._live() if record.conversation.phase is Phase.AUDIO_ENDED]
        if not waiting:
            return None
        waiting[-1].conversation.end_all(self._context.now_us())
        self._stir(waiting[-1])
        return waiting[-1].conversation_id

    # --- control ---------------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Cut short all that this avatar says or was to say, and drop it; idle follows. Nothing to do is no error."""
        for record in self._live():
            self._interrupt(record)
        self._speaking = None

    def pause(self) -> None:
        """Hold what is being said, and keep everything. Nothing to do is no error."""
        for record in self._live()[:1]:
            self._say(Pause(record.conversation_id))

    def resume(self) -> None:
        """Go on after a pause."""
        for record in self._live()[:1]:
            self._say(Resume(record.conversation_id))

    def set_volume(self, gain: float, *, muted: bool = False) -> None:
        """Set the loudness of all devices: linear gain 0 to 1. Raises `InvalidMediaError` on another one.

        The members of a group are known once a conversation was opened on it.
        """
        gain = checks.check_number(gain, "gain")
        checks.check_bool(muted, "muted")
        if not 0.0 <= gain <= 1.0:
            raise InvalidMediaError(Fault(Reason.VOLUME_INVALID, f"a gain of {gain}; it must lie between 0 and 1", "gain"))
        known = next((record.playback.device_ids for record in reversed(self._records.values())), ())
        for device_id in known or self._settings.targets:
            self._say(DeviceVolume(device_id, Volume(gain, muted)))

    def set_expression(self, preset: ExpressionPreset | str, intensity: float = 1.0) -> None:
        """The mood of all conversations that are opened from now on: `neutral happy sad angry surprised thinking`, 0 to 1.

        What is being said keeps its own. Raises `TypeError` and `ValueError` for what is no mood, or no intensity.
        """
        named = preset if isinstance(preset, ExpressionPreset) else checks.check_choice(preset, ExpressionPreset, "preset")
        self._expression = Expression(named, checks.check_number(intensity, "intensity"))

    # --- what is known ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> PlaybackState:
        """Idle, playing or paused, as the devices told last."""
        return self._state

    def audio_time(self) -> float:
        """Position in seconds within the current conversation, as a device reported it last; 0 at its start."""
        return self._position_us / 1_000_000

    def opening(self, conversation_id: str) -> ConversationOpen:
        """How a conversation was opened. Raises `UnknownConversationError` for an unknown id."""
        return self._known(conversation_id).conversation.opening

    def lacks_motion(self, conversation_id: str) -> bool:
        """Whether the end of a conversation's sound was sent before all of its motion had been handed over.

        Raises `UnknownConversationError` for an unknown id.
        """
        return self._known(conversation_id).conversation.lacks_motion

    async def opened(self, conversation_id: str) -> tuple[str, ...]:
        """Wait until a conversation is open, and tell on which devices. Safe to cancel.

        Raises `ConversationFailedError` if it could not be opened anywhere, `UnknownConversationError` for an unknown id.
        """
        playback = self._known(conversation_id).playback
        while not playback.is_opened and playback.outcome is None:
            await self._wait()
        if isinstance(playback.outcome, Fault):
            raise ConversationFailedError(conversation_id, playback.outcome)
        return playback.device_ids

    async def finished(self, conversation_id: str) -> ConversationFinished:
        """Wait until every device is done with a conversation. Safe to cancel. Gives a hint in the log where its end was not said.

        Raises `ConversationFailedError` if that will not be heard of any more, `UnknownConversationError` for an unknown id.
        """
        record = self._known(conversation_id)
        with self._end_hint.watching(record.conversation):
            while (outcome := record.playback.outcome) is None:
                await self._wait()
        if isinstance(outcome, Fault):
            raise ConversationFailedError(conversation_id, outcome)
        return outcome

    def _known(self, conversation_id: str) -> Record:
        record = self._records.get(checks.check_text(conversation_id, "conversation_id"))
        if record is None:
            text = f"{conversation_id} is not a conversation of this avatar, or was over long ago"
            raise UnknownConversationError(Fault(Reason.CONVERSATION_UNKNOWN, text, "conversation_id"))
        return record

    def subscribe(self, listener: Callable[[AvatarEvent], None]) -> Callable[[], None]:
        """Call `listener` with each event, in the event loop; it must not block. Returns what unsubscribes it.

        A plain function, not a coroutine function; what it raises is logged.
        """
        checks.check_function(listener, "listener")
        return self._listeners.add(listener)

    def events(self) -> EventStream:
        """All events from now on, to be read with `async for`; `close` it, or use it as `with`."""
        stream = EventStream()
        stream.unsubscribe = self.subscribe(stream.put)
        return stream

    # --- within ----------------------------------------------------------------------------------------------------

    def _current(self) -> Record | None:
        """The conversation that takes sound. Raises `ConversationFailedError` once if it failed."""
        record = self._speaking
        if record is None:
            return None
        self._raise_if_stopped(record)
        if not record.conversation.takes_audio:
            self._speaking = None
        return self._speaking

    def _raise_if_stopped(self, record: Record) -> None:
        if record.stopped is not None:
            self._speaking = None
            raise ConversationFailedError(record.conversation_id, record.stopped)

    def _begin(self, data: bytes) -> tuple[Record, list[bytes]]:
        """The conversation for `data`, opened with its first step if none is open; and the steps that are left."""
        record = self._current()
        self._context.check()
        if record is not None:
            return record, record.conversation.audio_steps(data)
        if not data:
            raise InvalidMediaError(Fault(Reason.NO_AUDIO, "a conversation begins with sound: there is none in this call", "data"))
        conversation_id = self._context.mint_id()
        settings = self._settings
        opening = settings.opening(conversation_id, self._context.trace(conversation_id), self._expression)
        conversation = PublishedConversation(opening, buffer_bytes=self._context.buffer_bytes)
        first, *steps = conversation.audio_steps(data)
        conversation.push_audio(first)
        record = Record(conversation, PlaybackTracker(conversation_id), self._moved.set, self._told)
        session = self._context.session
        session.open(record, settings.targets, self._context.now_us())
        self._take_over(session, record)
        self._context.wake()
        return record, steps

    def _take_over(self, session: PublisherSession, record: Record) -> None:
        """Make `record` the one that speaks; what it replaces is not sent any further."""
        for earlier in self._live():
            if self._settings.on_playing is OnPlaying.REPLACE:
                session.close(earlier)
        self._records = {name: known for name, known in self._records.items() if session.record(name) is known}
        self._records[record.conversation_id] = record
        self._unfinished.append(record)
        self._speaking = record

    def _push_audio(self, record: Record, step: bytes) -> None:
        record.conversation.push_audio(step)
        self._stir(record)

    def _finish_audio(self, record: Record, *, end: bool, everything: bool = False) -> str:
        conversation = record.conversation
        self._raise_if_stopped(record)
        if not end or not conversation.takes_audio:
            return record.conversation_id
        self._speaking = None
        conversation.finish_audio()
        if not conversation.has_audio:
            self._interrupt(record)
            raise InvalidMediaError(Fault(Reason.NO_AUDIO, "a conversation ended without one whole sample of sound", "end"))
        if conversation.carried_bytes:
            self._context.session.tell_dropped(record, Dropped(Kind.AUDIO, 1, conversation.carried_bytes, DropReason.UNDECODABLE))
        (conversation.end_all if everything else conversation.end_audio)(self._context.now_us())
        self._stir(record)
        return record.conversation_id

    def _push_motion(self, record: Record, message: MotionMessage, at_us: int | None) -> bool:
        if record.conversation.motion_refusal is not None:
            return False
        record.conversation.push_motion(message, self._context.now_us(), at_us)
        self._stir(record)
        return True

    def _after_motion(self, record: Record, frames: Sequence[bytes]) -> bool:
        if not frames or not all(frames):
            if record.conversation.phase in (Phase.ENDED, Phase.CLOSED):
                return False
            record.conversation.set_audio_only(self._context.now_us())
            self._stir(record)
            left = [frame for frame in dropwhile(bool, frames) if frame]
            return not left or self._refuse(record, record.conversation_id, left)
        return True

    def _refuse(self, record: Record | None, conversation_id: str, frames: Sequence[bytes]) -> bool:
        """Motion that is stale here: count it, tell it."""
        reason = DropReason.CONVERSATION_UNKNOWN if record is None else record.conversation.motion_refusal
        payloads, size = sum(1 for frame in frames if frame), sum(map(len, frames))
        logger.info("motion dropped: conversation=%s payloads=%d bytes=%d reason=%s", conversation_id, payloads, size, reason)
        if record is not None and reason is not None and payloads:
            self._context.session.tell_dropped(record, Dropped(Kind.MOTION, payloads, size, reason))
        return False

    async def _room(self, record: Record, kind: Kind, size: int) -> None:
        """Wait until `size` bytes may be taken, or nothing more ever."""
        while record.conversation.phase is not Phase.CLOSED and not record.conversation.has_room(kind, size):
            await self._wait()

    async def _wait(self) -> None:
        """Until something changed."""
        self._moved.clear()
        await self._moved.wait()

    def _interrupt(self, record: Record) -> None:
        """Also while there is no stream: the next one begins with it."""
        with suppress(ConnectionLostError):
            self._say(Interrupt(record.conversation_id))
        self._context.session.close(record)

    def _stir(self, record: Record) -> None:
        """There may be something to send of it."""
        self._context.session.stir(record)
        self._context.wake()

    def _say(self, message: FromPublisher) -> None:
        self._context.check()
        self._context.session.say(message)
        self._context.wake()

    def _live(self) -> list[Record]:
        """Conversations that play or will play, in order."""
        self._unfinished = [record for record in self._unfinished if not record.is_over]
        return [record for record in self._unfinished if record.conversation.phase is not Phase.CLOSED]

    def _told(self, event: Told) -> None:
        record = self._records.get(event.conversation_id)
        self._listeners.tell(event)
        if record is not None:
            self._position_us = record.playback.position_us
            is_last = isinstance(event, PlayerEvent) and isinstance(event.body, Finished) and bool(event.device_id)
            if is_last and isinstance(record.playback.outcome, ConversationFinished):
                self._listeners.tell(record.playback.outcome)
        playing = [record.playback.state for record in self._unfinished if record.playback.state is not PlaybackState.IDLE]
        state = playing[0] if playing else PlaybackState.IDLE
        if state is not self._state:
            self._state = state
            self._listeners.tell(StateChanged(state))
