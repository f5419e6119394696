"""The queue of messages for one device, and their order. Pure.

Rules
- Control messages are sent first, in FIFO order.
- Media is sent for one conversation at a time, in playing order: the next one starts when the `end` of the previous
  one has been sent. Otherwise a queued conversation could use up the credit of the one that plays.
- Within a conversation the earliest PTS is sent first, and audio before motion at the same PTS.
- On a narrow link audio is sent ahead of motion: `sound_ahead_us`.
- The device's credit limits the media of each kind; a kind without credit does not block the other.
- Queued media is joined into one message, up to the `room` given to `take`. A batch is cut only if credit runs out within it, or it
  alone exceeds the room: order within a message is not audible.
- `audio_only` follows all motion before it, `end` follows all media.

Bounds: media by the publishers' windows and the lag bound (`Session`), control by `MAX_CONTROL`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from avatar_relay.limits import MAX_JOINED_BYTES
from avatar_relay.media import Credit, Kind
from avatar_relay.messages import AudioOnly, ConversationEnd, ToDevice
from relay_server.core.payload_batch import PayloadBatch

MAX_CONTROL = 1_024
"""Limit on queued control messages; a device that reads too slowly to stay below it is disconnected."""


_new = tuple.__new__
"""Makes a named tuple; its own constructor is a Python function, called for each message."""


class MediaMessage(NamedTuple):
    """Media of one conversation, sent in one message."""

    conversation_id: str
    batches: Sequence[PayloadBatch]


Outgoing = ToDevice | MediaMessage


class JoinedMessages(NamedTuple):
    """Several messages sent as one, to a device that supports it."""

    messages: Sequence[Outgoing]


@dataclass(slots=True)
class Lane:
    """The queued media and marks of one conversation."""

    conversation_id: str
    waiting: dict[Kind, deque[PayloadBatch]] = field(default_factory=lambda: {Kind.AUDIO: deque(), Kind.MOTION: deque()})
    waiting_bytes: int = 0
    """Bytes of both kinds in `waiting`."""
    audio_only: bool = False
    end: ConversationEnd | None = None
    done: bool = False


class DeviceOutbox:
    """The queue for one device."""

    def __init__(self) -> None:
        self._control: deque[ToDevice] = deque()
        self._lanes: dict[str, Lane] = {}
        self._credit = dict.fromkeys(Kind, 0)
        self.sound_ahead_us = 0
        """Motion waits for audio due up to this much later, in µs."""
        self.overrun = False
        """Whether more than `MAX_CONTROL` control messages wait."""
        self.changed = False
        """Whether `take` may return a message: False once it has returned all, until something is put or granted."""

    @property
    def control_waits(self) -> bool:
        """Whether control messages are queued."""
        return bool(self._control)

    @property
    def credit(self) -> Credit:
        """The device's remaining credit, in bytes."""
        return Credit(self._credit[Kind.AUDIO], self._credit[Kind.MOTION])

    def grant(self, credit: Credit) -> None:
        """Add credit from the device."""
        self._credit[Kind.AUDIO] += credit.audio_bytes
        self._credit[Kind.MOTION] += credit.motion_bytes
        self.changed = self.changed or any([lane.waiting_bytes for lane in self._lanes.values()])

    def reset(self, credit: Credit) -> None:
        """Begin a new stream: drop queued control messages and replace the credit."""
        self._control.clear()
        self.overrun = False
        self._credit = {Kind.AUDIO: credit.audio_bytes, Kind.MOTION: credit.motion_bytes}
        self.changed = True

    def put(self, message: ToDevice) -> None:
        """Queue a control message."""
        self._control.append(message)
        self.overrun = len(self._control) > MAX_CONTROL
        self.changed = True

    def add_lane(self, conversation_id: str) -> None:
        """Add a conversation after all others."""
        self._lanes[conversation_id] = Lane(conversation_id)

    def move_lane(self, conversation_id: str, source: DeviceOutbox) -> None:
        """Move a conversation's queue here from another outbox, after all others."""
        self._lanes[conversation_id] = source._lanes.pop(conversation_id)
        self.changed = True

    def remove_lane(self, conversation_id: str) -> None:
        """Discard a conversation's queue."""
        self._lanes.pop(conversation_id, None)
        self.changed = True

    def put_media(self, conversation_id: str, batch: PayloadBatch) -> int:
        """Queue media; returns the bytes now queued for the conversation."""
        lane = self._lanes[conversation_id]
        lane.waiting[batch.kind].append(batch)
        waiting = lane.waiting_bytes = lane.waiting_bytes + batch.size_bytes
        self.changed = True
        return waiting

    def put_audio_only(self, conversation_id: str) -> None:
        """Queue `audio_only`, which follows all queued motion."""
        self._lanes[conversation_id].audio_only = True
        self.changed = True

    def put_end(self, end: ConversationEnd) -> None:
        """Queue `end`, which follows all queued media."""
        self._lanes[end.conversation_id].end = end
        self.changed = True

    def rewind(self, conversation_id: str, batches: Iterable[PayloadBatch], *, audio_only: bool, end: ConversationEnd | None) -> None:
        """Queue media that was sent before, ahead of the queued media, and set the marks again."""
        lane = self._lanes[conversation_id]
        for batch in reversed(tuple(batches)):
            lane.waiting[batch.kind].appendleft(batch)
            lane.waiting_bytes += batch.size_bytes
        lane.audio_only, lane.end, lane.done = audio_only, end, False
        self.changed = True

    def waiting(self, conversation_id: str) -> int:
        """Bytes queued for a conversation."""
        return self._lanes[conversation_id].waiting_bytes

    def waiting_by_kind(self) -> Credit:
        """Bytes queued for all conversations."""
        audio, motion = (
            sum([batch.size_bytes for lane in self._lanes.values() for batch in lane.waiting[kind]]) for kind in (Kind.AUDIO, Kind.MOTION)
        )
        return Credit(audio, motion)

    def take(self, room: int = MAX_JOINED_BYTES) -> Outgoing | None:
        """The next message to send; None if nothing may be sent now. Media is limited to `room` bytes, or one payload; 0: no media."""
        message: Outgoing | None
        if self._control:
            message = self._control.popleft()
            self.overrun = len(self._control) > MAX_CONTROL
            return message
        for lane in self._lanes.values():
            if not lane.done:
                break
        else:
            self.changed = False
            return None
        message = None
        if room:
            audio = lane.waiting[Kind.AUDIO]
            if len(audio) == 1 and room >= (size := audio[0].size_bytes) == lane.waiting_bytes and size <= self._credit[Kind.AUDIO]:
                self._credit[Kind.AUDIO] -= size  # usual in live traffic: there is nothing to choose or to cut
                lane.waiting_bytes = 0
                message = _new(MediaMessage, (lane.conversation_id, (audio.popleft(),)))
            elif batches := self._join(lane, room):
                message = _new(MediaMessage, (lane.conversation_id, batches))
            elif lane.audio_only and not lane.waiting[Kind.MOTION]:
                lane.audio_only = False
                message = AudioOnly(lane.conversation_id)
            elif lane.end is not None and not lane.waiting_bytes:
                lane.done = True
                message = lane.end
        self.changed = lane.waiting_bytes > 0 or lane.end is not None or lane.audio_only
        return message

    def drop_motion(self, drop: Callable[[str, deque[PayloadBatch]], list[PayloadBatch]]) -> tuple[str, list[PayloadBatch]]:
        """Call `drop` to remove motion from the current conversation; returns its id and the removed batches."""
        for lane in self._lanes.values():
            if not lane.done:
                dropped = drop(lane.conversation_id, lane.waiting[Kind.MOTION])
                lane.waiting_bytes -= sum([batch.size_bytes for batch in dropped])
                return lane.conversation_id, dropped
        return "", []

    def _join(self, lane: Lane, room: int) -> list[PayloadBatch]:
        joined: list[PayloadBatch] = []
        audio, motion = lane.waiting[Kind.AUDIO], lane.waiting[Kind.MOTION]
        while audio or motion:
            sound = audio[0] if audio and audio[0].sizes[0] <= self._credit[Kind.AUDIO] else None
            moves = motion[0] if motion and motion[0].sizes[0] <= self._credit[Kind.MOTION] else None
            if sound is None or (moves is not None and moves.due_us[0] + self.sound_ahead_us < sound.due_us[0]):
                queue, batch = motion, moves
            else:
                queue, batch = audio, sound
            if batch is None or (joined and batch.size_bytes > room):
                break
            most = min(max(room, batch.sizes[0]), self._credit[batch.kind])
            if batch.size_bytes <= most:
                queue.popleft()
            else:
                batch, queue[0] = batch.cut(batch.fitting(most))
            lane.waiting_bytes -= batch.size_bytes
            self._credit[batch.kind] -= batch.size_bytes
            room -= batch.size_bytes
            joined.append(batch)
        return joined
