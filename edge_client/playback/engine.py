"""The playback engine: takes wire messages and time; returns sound for the sink, poses for the face and events for the relay.

Threads. `handle`, `tick`, `summary` and the rest of the feeding side may be called from any thread and exclude each other. `pull` is called
from the sink's thread and `view` from the renderer's; the data they read is guarded by one lock, which is held only for copies, never
during decoding.

Order of a tick: query the sink, report what was heard, decode, release, report stalls, discard what has passed.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import assert_never

from avatar_relay.errors import SoundError
from avatar_relay.media import ConversationOpen, Credit, Cursor, Kind
from avatar_relay.messages import (
    AudioOnly,
    ConversationEnd,
    Finished,
    Interrupt,
    Media,
    Pause,
    Paused,
    Resume,
    Resumed,
    Started,
    Volume,
)
from avatar_relay.reasons import DropReason, Fault, FinishReason, Reason
from edge_client.audio.sink import AudioSink, Pcm
from edge_client.audio.timeline import Position
from edge_client.errors import EdgeError
from edge_client.observer import NULL, PlaybackObserver
from edge_client.playback.decoding import Decoding
from edge_client.playback.events import ConversationSummary, Output, PlaybackConfig, PlaybackSummary, PlayerState, View
from edge_client.playback.face_view import FaceView
from edge_client.playback.intake import Intake
from edge_client.playback.ledgers import CreditLedger, DropLedger
from edge_client.playback.live_conversations import ConversationState, Holdable, LiveConversation, LiveConversations
from edge_client.playback.playing import DecoderFactories, Playing, make_audio, make_audio_mouth, make_beats, make_motion
from edge_client.playback.playout import Playout
from edge_client.playback.release import Release
from edge_client.playback.reports import Reports
from edge_client.playback.stalls import Stalls

MAX_LIVE_CONVERSATIONS = 64
"""The current conversation, and those queued behind it."""
_REMEMBERED_SUMMARIES = 256

Message = ConversationOpen | Media | AudioOnly | ConversationEnd | Interrupt | Pause | Resume | Volume
"""Messages the engine accepts."""


class PlaybackEngine:
    """Plays conversations by the rules in `conversation`, `release`, `audio.stream` and `motion.track`."""

    def __init__(
        self, *, sink: AudioSink, decoders: DecoderFactories, config: PlaybackConfig | None = None, observer: PlaybackObserver = NULL
    ) -> None:
        config = PlaybackConfig() if config is None else config
        self._config = config
        self._decoders = decoders
        self._observer = observer
        self._entry = threading.RLock()
        self._lock = threading.Lock()
        self._playout = Playout(sink, self._lock, output_offset_us=config.output_offset_us)
        self._release = Release(config, sink.rate_hz)
        self._face = FaceView(self._playout.queue.timeline, self._playout.clock)
        self._conversations = LiveConversations()
        self._playing: dict[str, Playing] = {}
        self._credit = CreditLedger(Credit(config.audio_buffer_bytes, config.motion_buffer_bytes))
        self._drops = DropLedger()
        self._intake = Intake(self._credit, self._drops, observer, self._lock)
        self._reports = Reports(self._credit, self._drops, observer)
        self._stalls = Stalls(self._playout, self._reports, observer)
        self._decoding = Decoding(config, self._playout, self._reports, self._credit, self._drops, observer)
        self._audio_us = 0
        self._summaries: deque[ConversationSummary] = deque(maxlen=_REMEMBERED_SUMMARIES)
        self._state = PlayerState.IDLE
        self._head_id: str | None = None

    # --- called by threads other than the feeding one ---------------------------------------------------------------

    def pull(self, frames: int) -> Pcm:
        """At most `frames` frames that are due (`AudioFeed`)."""
        return self._playout.pull(frames)

    def view(self, now_us: int) -> View:
        """What is heard and what the face shows at `now_us`, the predicted display time of the picture."""
        anchor = self._playout.sink.anchor()
        with self._lock:
            self._playout.clock.on_anchor(anchor)
            view = self._face.at(now_us, self._playing, head_id=self._head_id, state=self._state)
            return replace(view, buffered_us=self._playout.queue.queued_frames * 1_000_000 // self._playout.rate_hz)

    def analyse_sound(self) -> None:
        """Analyse sound for the mouth: 1 to 3 ms of work. Call it after each picture, on the thread that calls `view`."""
        with self._lock:
            mouths = [playing.audio_mouth for playing in self._playing.values() if playing.audio_mouth is not None]
        any(mouth.analyse() for mouth in mouths)  # the head's first; the next one's only if the head has nothing left

    def audible(self, now_us: int) -> Position | None:
        """What is heard at `now_us`; None if it is not part of a live conversation. For measurements: `now_us` is past, not predicted."""
        anchor = self._playout.sink.anchor()
        with self._lock:
            self._playout.clock.on_anchor(anchor)
            return self._face.heard(now_us, self._playing)

    @property
    def state(self) -> PlayerState:
        """The current state of the player."""
        with self._lock:
            return self._state

    # --- the feeding side -------------------------------------------------------------------------------------------

    def buffer_credit(self) -> Credit:
        """The bytes that may be sent from here on: the grant of a `Hello`. Discards payloads that are partly received."""
        with self._entry:
            for playing in self._playing.values():
                self._intake.reset(playing)
            return self._credit.first_grant()

    def cursors(self) -> tuple[Cursor, ...]:
        """What is held of each live conversation: the cursors of a `Hello`."""
        with self._entry:
            return tuple(playing.cursor for playing in self._playing.values())

    def handle(self, message: Message, now_us: int) -> None:
        """Accept a message of the relay; its effects are returned by `tick`."""
        with self._entry:
            if not isinstance(message, Media):  # media messages are frequent and do not change what is heard now
                self._playout.listen(now_us)
                self._tell_heard(now_us)
            match message:
                case ConversationOpen():
                    self._open(message, now_us)
                case Media():
                    self._media(message, now_us)
                case AudioOnly() | ConversationEnd() | Pause() | Resume():
                    self._route(message, now_us)
                case Interrupt():
                    self._interrupt(message.conversation_id, now_us)
                case Volume():
                    self._playout.sink.set_volume(message.gain, muted=message.muted)
                case _:
                    assert_never(message)
            self._settle()

    def tick(self, now_us: int) -> list[Output]:
        """Advance to `now_us`; call it soon after `handle`, and every 20 ms. Returns what to send, in order."""
        with self._entry:
            self._playout.listen(now_us)
            self._tell_heard(now_us)
            self._expire(now_us)
            self._decoding.step(self._in_order(), now_us)
            self._tell_heard(now_us)
            self._feed(now_us)
            self._stalls.tell(self._head(), now_us)
            self._pass_by()
            self._settle()
            return self._reports.take(now_us)

    def summary(self) -> PlaybackSummary:
        """Counters since the start."""
        with self._entry:
            counters = self._playout.sink.counters()
            open_ones = tuple(playing.summary() for playing in self._playing.values())
            open_us = sum(playing.audio.length_us for playing in self._playing.values())
            return PlaybackSummary(
                audio_seconds_received=(self._audio_us + open_us) / 1e6,
                audio_seconds_played=self._playout.played_frames() / self._playout.rate_hz,
                underruns=counters.underruns,
                silence_seconds=counters.silence_frames / self._playout.rate_hz,
                filled_gaps=self._release.filled_gaps,
                filled_seconds=self._release.filled_frames / self._playout.rate_hz,
                payloads_received=self._intake.payloads,
                late_payloads=self._drops.late_payloads,
                dropped_payloads=self._drops.payloads,
                keyframes_received=self._intake.keyframes,
                conversations=(*self._summaries, *open_ones)[-_REMEMBERED_SUMMARIES:],
            )

    # --- messages ---------------------------------------------------------------------------------------------------

    def _open(self, message: ConversationOpen, now_us: int) -> None:
        opening = self._conversations.open(message)
        if opening is None:
            if self._conversations.standing(message.conversation_id) is ConversationState.CLOSED:
                self._reports.fault(message.conversation_id, Fault(Reason.CONVERSATION_CLOSED, "it is over; open a new id", "open"))
            return
        self._cut(opening.replaced, FinishReason.REPLACED, now_us)
        self._observer.opened(message, now_us)
        playing = self._make(opening.conversation, now_us)
        if playing is None:
            self._conversations.close(message.conversation_id)
            self._finish_unplayed(message.conversation_id, Finished(0, False, FinishReason.FAILED.value), now_us)
            self._intake.drop_held(opening.held, DropReason.CONVERSATION_CLOSED)
            return
        with self._lock:
            self._playing[playing.conversation_id] = playing
        for held in opening.held:
            self._apply(playing, held, now_us)

    def _make(self, conversation: LiveConversation, now_us: int) -> Playing | None:
        if len(self._playing) >= MAX_LIVE_CONVERSATIONS:
            fault = Fault(Reason.LIMIT_REACHED, f"{MAX_LIVE_CONVERSATIONS} conversations are already queued", "open.on_playing")
            self._reports.fault(conversation.conversation_id, fault)
            return None
        try:
            audio = make_audio(conversation, self._decoders, self._playout.rate_hz, max_bytes=self._config.audio_buffer_bytes)
        except (EdgeError, SoundError) as error:
            fault = Fault(Reason.AUDIO_FORMAT_UNSUPPORTED, str(error), "open.audio_format")
            self._reports.fault(conversation.conversation_id, fault)
            return None
        motion = make_motion(conversation, self._decoders)
        if isinstance(motion, Fault):
            self._reports.fault(conversation.conversation_id, motion)
            motion = None
        rate_hz = self._playout.rate_hz
        mouth, beats = make_audio_mouth(conversation, self._config.mouth_source, rate_hz), make_beats(conversation, self._config, rate_hz)
        return Playing(conversation, audio, motion, now_us, mouth, beats)

    def _media(self, media: Media, now_us: int) -> None:
        within = self._intake.enter(media)
        playing = self._playing.get(media.conversation_id)
        if not within and playing is not None:
            self._reports.fault_of(playing, Fault(Reason.CREDIT_EXCEEDED, "more bytes arrived than were granted", "media"))
        if within or not self._intake.shed(media):
            self._route(media, now_us)

    def _route(self, message: Holdable, now_us: int) -> None:
        playing = self._playing.get(message.conversation_id)
        if playing is not None:
            self._apply(playing, message, now_us)
            return
        if self._conversations.standing(message.conversation_id) is ConversationState.NEVER_SEEN:
            if self._conversations.hold(message, now_us):
                return
            reason = DropReason.CONVERSATION_UNKNOWN
        else:
            reason = DropReason.CONVERSATION_CLOSED
        if isinstance(message, Media):
            self._intake.drop(message, reason)

    def _apply(self, playing: Playing, message: Holdable, now_us: int) -> None:
        match message:
            case Media():
                for payload in message.payloads:
                    self._reports.fault_of(playing, self._intake.take(playing, payload, now_us))
                self._reports.cursor(playing)
            case AudioOnly():
                playing.conversation.audio_only = True
            case ConversationEnd():
                self._end(playing, message, now_us)
            case Pause():
                self._pause(playing, paused=True)
            case Resume():
                self._pause(playing, paused=False)
            case _:
                assert_never(message)

    def _end(self, playing: Playing, message: ConversationEnd, now_us: int) -> None:
        if playing.conversation.end is not None:
            return
        playing.conversation.end = message
        self._reports.fault_of(playing, self._intake.end(playing, message))
        playing.audio.end(message.last_audio_seq)

    def _pause(self, playing: Playing, *, paused: bool) -> None:
        if playing.conversation.paused is not paused:
            playing.conversation.paused = paused
            self._reports.event(playing.conversation_id, Paused(playing.heard_pts_us) if paused else Resumed(playing.heard_pts_us))

    def _interrupt(self, conversation_id: str, now_us: int) -> None:
        match self._conversations.standing(conversation_id):
            case ConversationState.LIVE:
                self._cut((conversation_id,), FinishReason.INTERRUPTED, now_us)
            case ConversationState.NEVER_SEEN:
                self._intake.drop_held(self._conversations.forget(conversation_id), DropReason.CONVERSATION_CLOSED)
                self._conversations.close(conversation_id)  # its `open` was lost with a stream, and the relay waits for its end
                self._finish_unplayed(conversation_id, Finished(0, True, FinishReason.INTERRUPTED.value), now_us)
            case ConversationState.CLOSED:
                pass

    def _cut(self, conversation_ids: tuple[str, ...], reason: FinishReason, now_us: int) -> None:
        if not conversation_ids:
            return
        positions = self._playout.cut(frozenset(conversation_ids))
        for conversation_id in conversation_ids:
            playing = self._playing[conversation_id]
            position_us = max(playing.heard_pts_us, positions.get(conversation_id, 0))
            self._finish(playing, Finished(position_us, True, reason.value), now_us)

    # --- the steps of a tick ----------------------------------------------------------------------------------------

    def _tell_heard(self, now_us: int) -> None:
        position = self._playout.position()
        while (playing := self._head()) is not None:
            span = self._playout.span(playing.conversation_id)
            if span is not None and not playing.started and self._playout.heard > span[0]:
                playing.started = True
                playing.first_heard_us = self._playout.time_of(span[0], now_us)
                self._reports.event(playing.conversation_id, Started())
                self._observer.first_sample_heard(playing.conversation_id, playing.first_heard_us)
            if position is not None and position.conversation_id == playing.conversation_id:
                playing.heard_pts_us = max(playing.heard_pts_us, position.pts_us)
            if not self._is_over(playing, span):
                return
            reason = FinishReason.FAILED if playing.audio.failed or not playing.released_frames else FinishReason.COMPLETED
            self._finish(playing, Finished(playing.audio.length_us, False, reason.value), now_us)

    def _is_over(self, playing: Playing, span: tuple[int, int] | None) -> bool:
        if not playing.drained or self._playout.holds(playing.conversation_id):
            return False
        if not playing.released_frames and not playing.audio.failed:
            self._reports.fault_of(playing, Fault(Reason.NO_AUDIO, "it ended without any sound", "end"))
        return span is None or self._playout.heard >= span[1] - 0.5

    def _expire(self, now_us: int) -> None:
        for _, messages in self._conversations.expire(now_us):
            self._intake.drop_held(messages, DropReason.CONVERSATION_UNKNOWN)

    def _feed(self, now_us: int) -> None:
        """Release sound of the head and, without a gap, of the conversation after one that is fully released."""
        for index, playing in enumerate(self._in_order()):
            if index and playing.conversation.paused:
                break
            released = self._release.step(playing, self._playout.ahead, now_us)
            if released.late_payloads or released.late_bytes:
                self._drops.add(playing.conversation_id, Kind.AUDIO, DropReason.LATE, released.late_payloads, released.late_bytes)
            playing.release(released.chunks, self._playout.rate_hz)
            if released.chunks:
                self._playout.release(released.chunks)
            if released.primed_now:
                self._observer.buffered(playing.conversation_id, now_us)
                self._stalls.over(playing)
            if not playing.drained:
                break
        self._playout.expect(self._is_sound_due())

    def _is_sound_due(self) -> bool:
        """Whether silence would be a fault: a conversation is heard, has more sound to come, and does not wait for motion."""
        return any(
            (playing.primed or playing.stalled_since_us is not None) and not playing.drained and playing.waits_since_us is None
            for playing in self._in_order()
        )

    def _pass_by(self) -> None:
        for playing in self._playing.values():
            if playing.motion is not None and playing.started:
                with self._lock:
                    freed = playing.motion.pass_by(playing.heard_pts_us)
                self._credit.free(Kind.MOTION, freed)
        self._playout.forget_heard()

    # --- the end of a conversation, and reports ---------------------------------------------------------------------

    def _finish(self, playing: Playing, body: Finished, now_us: int) -> None:
        conversation_id = playing.conversation_id
        if not self._conversations.close(conversation_id):
            return
        self._intake.reset(playing)
        self._credit.free(Kind.AUDIO, playing.audio.held_bytes)
        playing.audio.close()
        with self._lock:
            del self._playing[conversation_id]
            freed = playing.motion.close() if playing.motion is not None else 0
        self._credit.free(Kind.MOTION, freed)
        self._reports.cursor(playing)
        self._audio_us += playing.audio.length_us
        self._summaries.append(replace(playing.summary(), finished=body))
        self._reports.finished(conversation_id, body, now_us)

    def _finish_unplayed(self, conversation_id: str, body: Finished, now_us: int) -> None:
        self._summaries.append(ConversationSummary(conversation_id, now_us, finished=body))
        self._reports.finished(conversation_id, body, now_us)

    # --- state ------------------------------------------------------------------------------------------------------

    def _in_order(self) -> list[Playing]:
        return [self._playing[conversation.conversation_id] for conversation in self._conversations.live]

    def _head(self) -> Playing | None:
        live = self._conversations.live
        return self._playing[live[0].conversation_id] if live else None

    def _settle(self) -> None:
        """Bring sink and state in line with the head of the queue."""
        head = self._head()
        self._playout.set_paused(head is not None and head.conversation.paused)
        if head is None:
            self._playout.expect(False)
        with self._lock:
            self._head_id = head.conversation_id if head is not None else None
            self._state = head.state if head is not None else PlayerState.IDLE
