"""A backend's handle to an avatar: AvatarKit's verbs on one device, or on several at once.

Audio opens a conversation; motion names its id. Both are `bytes`; a `bytearray` or `memoryview` is copied at the call. An argument of a
wrong type raises `TypeError` at the call: then nothing is accepted, and no conversation is affected. All verbs belong to one event loop.
Cancelling a waiting verb keeps the data accepted so far and discards the rest; `interrupt` also drops the accepted data.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import dropwhile

from avatar_relay import checks
from avatar_relay.checks import BytesLike
from avatar_relay.media import AS_MOTION_SAYS, ConversationOpen, Expression, ExpressionPreset, Kind, OnPlaying
from avatar_relay.messages import DeviceVolume, Dropped, Finished, FromPublisher, Interrupt, Pause, PlayerEvent, Resume, Volume
from avatar_relay.publisher.avatar_context import AvatarContext, AvatarSettings, CallLock, drop_motion
from avatar_relay.publisher.conversation_record import Record, Told
from avatar_relay.publisher.end_hint import EndHint
from avatar_relay.publisher.errors import (
    BufferFullError,
    ConnectionLostError,
    ConversationFailedError,
    InvalidMediaError,
    UnknownConversationError,
)
from avatar_relay.publisher.events import AvatarEvent, EventListeners, EventStream, StateChanged
from avatar_relay.publisher.playback_tracker import ConversationFinished, PlaybackState, PlaybackTracker
from avatar_relay.publisher.published_conversation import Phase, PlacedMotion, PublishedConversation
from avatar_relay.publisher.publisher_session import PublisherSession
from avatar_relay.reasons import DropReason, Fault, Reason

logger = logging.getLogger(__name__)


class Avatar:
    """One avatar on one device, or the same conversations on several. Created by `Publisher.avatar`."""

    def __init__(self, context: AvatarContext, settings: AvatarSettings) -> None:
        self._context = context
        self._settings = settings
        self._records: dict[str, Record] = {}  # all conversations of this avatar that the session remembers
        self._unfinished: list[Record] = []
        """The records that were not over at the last call of `_live`."""
        self._speaking: Record | None = None
        self._moved = asyncio.Event()
        self._audio_turn = CallLock()
        self._motion_turn = CallLock()
        self._drop = partial(drop_motion, context.session)
        self._listeners = EventListeners()
        self._end_hint = EndHint()
        self._state = PlaybackState.IDLE
        self._position_us = 0
        self._expression = AS_MOTION_SAYS

    # --- media -----------------------------------------------------------------------------------------------------

    async def yield_audio_data(self, data: BytesLike, *, end: bool = False) -> str:
        """Hand over encoded audio; waits for room. Returns the conversation id, to be passed with the motion that belongs to it.

        Opens a conversation if none is open. PCM and Ogg Opus may be split anywhere; a bare Opus packet is one call. A WAV header of the
        declared PCM is stripped, also in each call; other containers and encodings are refused by their first bytes. `end` completes the
        audio; then `data` may be empty. Missing motion is awaited by rule 4 of `publisher.published_conversation`. If the conversation is
        interrupted meanwhile, its audio is dropped.
        Raises `InvalidMediaError` (nothing of `data` is accepted), `ConversationFailedError` if the conversation failed or was ended by
        others (once; the next call opens a new one), `ConnectionLostError`, `PublisherClosedError`.
        """
        sound, record = checks.as_sound(data, end), self._speaking
        if record is not None and record.stopped is None and not (end or self._audio_turn.calls):  # nearly all calls
            self._context.check()
            if record.conversation.offer_audio(sound):
                self._stir(record)
                return record.conversation.conversation_id
        async with self._audio_turn:
            record, steps = self._begin(sound)
            for step in steps:
                await self._room(record, Kind.AUDIO, len(step))
                if not record.conversation.takes_audio:
                    break
                record.conversation.push_audio(step)
                self._stir(record)
            return self._finish_audio(record, end=end)

    def yield_audio_data_nowait(self, data: BytesLike, *, end: bool = False) -> str:
        """`yield_audio_data` without waiting. Raises `BufferFullError` if there is no room for all of `data`."""
        sound = checks.as_sound(data, end)
        if self._audio_turn.calls:
            raise BufferFullError("another call still waits for room")
        current = self._current()
        if current is not None and not current.conversation.has_room(Kind.AUDIO, len(sound)):
            raise BufferFullError(f"no room for {len(sound)} bytes of sound: the device has not consumed the earlier media")
        record, steps = self._begin(sound)
        for step in steps:
            record.conversation.push_audio(step)
        self._stir(record)
        return self._finish_audio(record, end=end)

    async def yield_frames_data(
        self, frames: Sequence[BytesLike], conversation_id: str, *, at_us: int | Sequence[int] | None = None
    ) -> bool:
        """Hand over whole motion payloads, in order; waits for room. They are forwarded bit for bit.

        No frames, or an empty frame: from here on the conversation has audio only, permanently.
        Motion follows the motion before it, unless `at_us` sets its position, in µs from the first audio sample: the position of the first
        keyframe of all frames, or of each keyframe (rows of weights only; 0 to a day, rising). A device interpolates gaps of up to 0.2 s,
        and holds the last pose in longer ones.
        Returns False if the conversation is unknown here or known to be over: then (part of) the motion was dropped, counted and reported
        as an event. Later drops are also reported as events.
        Raises `InvalidMediaError` if a frame is not motion of the declared format; then nothing of `frames` is accepted.
        """
        payloads, positions = checks.as_payloads(frames, "frames"), None if at_us is None else checks.as_positions(at_us, "at_us")
        checks.check_text(conversation_id, "conversation_id")
        if len(payloads) == 1 and positions is None and not self._motion_turn.calls:  # nearly all calls
            record = self._takes_motion(conversation_id)
            if record is not None and record.conversation.offer_motion(payloads[0]):
                self._stir(record)
                return True
        async with self._motion_turn:
            if (record := self._takes_motion(conversation_id)) is None:
                return self._drop(None, conversation_id, payloads)
            messages = record.conversation.inspect_all(payloads, positions)
            for index, (message, _) in enumerate(messages, 1):
                await self._room(record, Kind.MOTION, len(message.data))
                if not self._push_motion(record, messages[index - 1 : index], messages[index:]):
                    return False
            return self._after_motion(record, payloads)

    def yield_frames_data_nowait(
        self, frames: Sequence[BytesLike], conversation_id: str, *, at_us: int | Sequence[int] | None = None
    ) -> bool:
        """`yield_frames_data` without waiting. Raises `BufferFullError` if there is no room for all frames."""
        payloads, positions = checks.as_payloads(frames, "frames"), checks.as_positions(at_us, "at_us")
        checks.check_text(conversation_id, "conversation_id")
        if self._motion_turn.calls:
            raise BufferFullError("another call still waits for room")
        if (record := self._takes_motion(conversation_id)) is None:
            return self._drop(None, conversation_id, payloads)
        messages = record.conversation.inspect_all(payloads, positions)
        size = sum(len(message.data) for message, _ in messages)
        if record.conversation.motion_refusal is None and not record.conversation.has_room(Kind.MOTION, size):
            raise BufferFullError(f"no room for {size} bytes of motion: the device has not consumed the earlier media")
        return self._push_motion(record, messages) and self._after_motion(record, payloads)

    def end(self) -> str | None:
        """End audio and motion of the latest conversation: for a backend whose motion is known to be complete.

        Returns its id, or None if there is nothing to end. Raises `InvalidMediaError` (NO_AUDIO) if it has no audio, and
        `ConversationFailedError` as the next call with audio would.
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
        """Interrupt and drop all current and queued conversations of this avatar; idle motion follows. No error if there are none."""
        for record in self._live():
            self._interrupt(record)
        self._speaking = None

    def pause(self) -> None:
        """Pause the current conversation; all data is kept. No error if there is none."""
        for record in self._live()[:1]:
            self._say(Pause(record.conversation_id))

    def resume(self) -> None:
        """Resume after a pause."""
        for record in self._live()[:1]:
            self._say(Resume(record.conversation_id))

    def set_volume(self, gain: float, *, muted: bool = False) -> None:
        """Set the volume of all devices: linear gain 0 to 1. Raises `InvalidMediaError` if `gain` is out of range.

        The members of a group are known after a conversation was opened on it.
        """
        gain = checks.check_number(gain, "gain")
        checks.check_bool(muted, "muted")
        if not 0.0 <= gain <= 1.0:
            raise InvalidMediaError(Fault(Reason.VOLUME_INVALID, f"a gain of {gain}; it must lie between 0 and 1", "gain"))
        known = next((record.playback.device_ids for record in reversed(self._records.values())), ())
        for device_id in known or self._settings.targets:
            self._say(DeviceVolume(device_id, Volume(gain, muted)))

    def set_expression(self, preset: ExpressionPreset | str, intensity: float = 1.0) -> None:
        """Set the mood of all conversations opened from now on: `neutral happy sad angry surprised thinking`, intensity 0 to 1.

        The current conversation keeps its own. Raises `TypeError` or `ValueError` for an invalid mood or intensity.
        """
        named = preset if isinstance(preset, ExpressionPreset) else checks.check_choice(preset, ExpressionPreset, "preset")
        self._expression = Expression(named, checks.check_number(intensity, "intensity"))

    # --- state ---------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> PlaybackState:
        """Idle, playing or paused, as last reported by the devices."""
        return self._state

    def audio_time(self) -> float:
        """Position in seconds within the current conversation, as last reported by a device; 0 at its start."""
        return self._position_us / 1_000_000

    def opening(self, conversation_id: str) -> ConversationOpen:
        """How a conversation was opened. Raises `UnknownConversationError` for an unknown id."""
        return self._known(conversation_id).conversation.opening

    def lacks_motion(self, conversation_id: str) -> bool:
        """Whether the end of a conversation's audio was sent before all of its motion had been handed over.

        Raises `UnknownConversationError` for an unknown id.
        """
        return self._known(conversation_id).conversation.lacks_motion

    async def opened(self, conversation_id: str) -> tuple[str, ...]:
        """Wait until a conversation is open, and return its devices. Safe to cancel.

        Raises `ConversationFailedError` if it could not be opened on any device, `UnknownConversationError` for an unknown id.
        """
        playback = self._known(conversation_id).playback
        while not playback.is_opened and playback.outcome is None:
            await self._wait()
        if isinstance(playback.outcome, Fault):
            raise ConversationFailedError(conversation_id, playback.outcome)
        return playback.device_ids

    async def finished(self, conversation_id: str) -> ConversationFinished:
        """Wait until every device has finished a conversation. Safe to cancel. Logs a hint if its end seems to have been forgotten.

        Raises `ConversationFailedError` if its outcome will never be known, `UnknownConversationError` for an unknown id.
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
        """Call `listener` with each event, in the event loop; it must not block. Returns a function that unsubscribes it.

        `listener` is a plain function, not a coroutine function; its exceptions are logged.
        """
        checks.check_function(listener, "listener")
        return self._listeners.add(listener)

    def events(self) -> EventStream:
        """All events from now on, for `async for`. `close` it, or use it with `with`."""
        stream = EventStream()
        stream.unsubscribe = self.subscribe(stream.put)
        return stream

    # --- private -------------------------------------------------------------------------------------------------------

    def _current(self) -> Record | None:
        """The conversation that accepts audio. Raises `ConversationFailedError` once if it failed."""
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
        """Return the conversation for `data` and the remaining steps; opens it with the first step if none is open."""
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
        """Make `record` the current conversation; those that it replaces are not sent any further."""
        for earlier in self._live():
            if self._settings.on_playing is OnPlaying.REPLACE:
                session.close(earlier)
        self._records = {name: known for name, known in self._records.items() if session.record(name) is known}
        self._records[record.conversation_id] = record
        self._unfinished.append(record)
        self._speaking = record

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

    def _push_motion(self, record: Record, messages: Sequence[PlacedMotion], later: Sequence[PlacedMotion] = ()) -> bool:
        """Accept `messages`; False if that is refused: then the rest of them is dropped, with the `later` ones."""
        for index, (message, at_us) in enumerate(messages):
            if record.conversation.motion_refusal is not None:
                return self._drop(record, record.conversation_id, [left.data for left, _ in (*messages[index:], *later)])
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
            return not left or self._drop(record, record.conversation_id, left)
        return True

    def _takes_motion(self, conversation_id: str) -> Record | None:
        return self._context.session.record(conversation_id) if conversation_id in self._records else None

    async def _room(self, record: Record, kind: Kind, size: int) -> None:
        """Wait until `size` bytes fit, or the conversation is closed."""
        while record.conversation.phase is not Phase.CLOSED and not record.conversation.has_room(kind, size):
            await self._wait()

    async def _wait(self) -> None:
        """Wait for the next change."""
        self._moved.clear()
        await self._moved.wait()

    def _interrupt(self, record: Record) -> None:
        """Works without a stream as well: the next stream begins with the interrupt."""
        with suppress(ConnectionLostError):
            self._say(Interrupt(record.conversation_id))
        self._context.session.close(record)

    def _stir(self, record: Record) -> None:
        """Notify the session that this conversation may have data to send."""
        self._context.session.outbox.add(record.conversation)
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
