"""The question that the face asks before each picture, its answer, and their encoding: one packet each way."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge_client.face.overlay import NOTHING, Overlay, Page
from edge_client.motion.pose import POSE_SIZE, Pose
from edge_client.playback.events import PlayerState, View

MAX_PACKET_BYTES = 16 << 10
NO_ANSWER_S = 0.020
"""How long a picture waits for its answer."""

_QUESTION = struct.Struct("<cqqqqqqqB")
_QUESTION_TAG = b"?"
_ANSWER = struct.Struct("<qBBqqqqdB")
_STATES = tuple(PlayerState)
_NONE = -(1 << 63)
_POSE_BYTES = POSE_SIZE * 4


@dataclass(frozen=True, slots=True)
class Question:
    """Asks what to show at `glass_time_us`. Times are CLOCK_MONOTONIC in µs, one clock for all processes."""

    number: int
    """Counts from 1."""
    start_time_us: int
    """When this picture was begun."""
    glass_time_us: int
    """When it is expected to be on the screen."""
    shown_number: int | None = None
    """Number of the question whose answer was shown before this; None if there was none, or it was not answered."""
    shown_time_us: int = 0
    """When showing that picture returned."""
    skipped: int = 0
    """Pictures skipped so far because others took too long."""
    unanswered: int = 0
    """Pictures drawn so far without an answer."""
    figures_wanted: bool = False
    """A person asked to show or hide the figures."""

    def pack(self) -> bytes:
        """Encode as a packet. It never begins with a brace, unlike packets of JSON."""
        shown = _NONE if self.shown_number is None else self.shown_number
        times = (self.number, self.start_time_us, self.glass_time_us, shown, self.shown_time_us)
        return _QUESTION.pack(_QUESTION_TAG, *times, self.skipped, self.unanswered, self.figures_wanted)

    @classmethod
    def unpack(cls, packet: bytes) -> Question:
        """Decode a packet of `pack`. Raises `struct.error`."""
        _, number, start_us, glass_us, shown, shown_us, skipped, unanswered, figures = _QUESTION.unpack(packet)
        return cls(number, start_us, glass_us, _number(shown), shown_us, skipped, unanswered, bool(figures))


@dataclass(frozen=True, slots=True)
class Answer:
    """What to show, and the PTS heard when the previous picture was on the screen."""

    number: int
    """Number of the question."""
    view: View
    overlay: Overlay = NOTHING
    heard_pts_us: int | None = None
    """The PTS heard at the question's `shown_time_us`; None unless the conversation of that picture was playing."""

    def pack(self) -> bytes:
        """Encode as a packet of less than `MAX_PACKET_BYTES`."""
        view = self.view
        name = (view.conversation_id or "").encode()
        flags = (view.motion is not None) | (view.conversation_id is not None) << 1
        positions = (_sent(view.audible_pts_us), _sent(view.shown_pts_us), view.buffered_us, _sent(self.heard_pts_us))
        head = _ANSWER.pack(self.number, _STATES.index(view.state), flags, *positions, view.motion_weight, len(name))
        pose = b"" if view.motion is None else view.motion.astype("<f4").tobytes()
        return head + name + pose + (b"" if self.overlay == NOTHING else _overlay_json(self.overlay))

    @classmethod
    def unpack(cls, packet: bytes) -> Answer:
        """Decode a packet of `pack`. Raises `struct.error`."""
        number, state, flags, audible, shown, buffered_us, heard, weight, name_bytes = _ANSWER.unpack_from(packet)
        at = _ANSWER.size + name_bytes
        name = packet[_ANSWER.size : at].decode() if flags & 2 else None
        motion: Pose | None = None
        if flags & 1:
            motion = np.frombuffer(packet, "<f4", POSE_SIZE, at).astype(np.float32)
            at += _POSE_BYTES
        view = View(_STATES[state], name, _number(audible), motion, weight, _number(shown), buffered_us)
        return cls(number, view, _overlay_of(packet[at:]), _number(heard))


class PictureSource(Protocol):
    """Answers the face's questions. Called on the thread that draws."""

    def ask(self, question: Question) -> Answer | None:
        """Return the answer; None if there is none in time."""
        ...

    def between_pictures(self) -> None:
        """Called after a picture is shown, when there is time for other work."""
        ...


def _sent(number: int | None) -> int:
    return _NONE if number is None else number


def _number(sent: int) -> int | None:
    return None if sent == _NONE else sent


def _overlay_json(overlay: Overlay) -> bytes:
    page = overlay.page and [overlay.page.title, overlay.page.text, overlay.page.qr]
    return json.dumps([page, overlay.sign, overlay.figures, overlay.is_dark]).encode()


def _overlay_of(packed: bytes) -> Overlay:
    if not packed:
        return NOTHING
    page, sign, figures, is_dark = json.loads(packed)
    return Overlay(page and Page(*page), sign, tuple(figures), is_dark)
