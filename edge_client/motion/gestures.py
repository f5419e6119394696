"""Small nods and brow beats on stressed syllables, for speech whose motion has none. Pure: times are arguments.

Rules
1. A beat is a peak of loudness: the loudest within `REACH_S` on both sides by `FALL_DB`, near the loudest of the last seconds, at
   least `APART_S` after the previous beat, and louder than the sound before it by `RISE_DB`. Steady tones and noise have none.
2. Each beat is a nod; the brows rise with the first beat of a phrase and with the strongest. The stress determines how far.
3. Gestures depend only on the media line: the same sound produces the same gestures, whenever they are queried. A gesture peaks
   with the beat if the sound is known far enough ahead; for `LIVE` it is not, and the gesture begins when the beat is known.
4. Nods are not added to motion that moves the head, nor brow beats to motion that moves the brows: from the moment this is known.
5. Even if data is late or ends early, a gesture moves no faster than `NOD_RAD_PER_S` and `BROW_PER_S`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.motion.pose import NECK_ROTATION, Pose

FRAME_S = 0.02
REACH_S = 0.12
APART_S = 0.55
PHRASE_S = 0.25
"""Quiet of this length ends a phrase."""
RISE_DB, FALL_DB = 9.0, 3.0
KEPT_BEATS = 128

NOD_RAD, BROW = 0.042, 0.32
"""The largest nod, in radians, and the largest brow weight."""
NOD_RAD_PER_S, BROW_PER_S = 0.5, 4.0
RISE_S, FALL_S = 0.18, 0.34
"""Times from rest to the peak of a gesture, and back."""

_REACH = round(REACH_S / FRAME_S)
_BEFORE = round(0.3 / FRAME_S)
_LOUDEST_FALLS_DB = 4.0 * FRAME_S  # decay per frame of the remembered loudest level
_NEAR_LOUDEST_DB = 8.0
_QUIET_DB = 24.0  # below the loudest level
_SILENT_DB = -50.0
_STRONG = 0.75
_FULL_RISE_DB = 24.0
_BROW_SHAPES = tuple(ARKIT_INDEX[name] for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"))
_BROW_PARTS = np.array((1.0, 0.7, 0.7), np.float32)


@dataclass(frozen=True, slots=True)
class Beat:
    """A stressed syllable."""

    pts_us: float
    """PTS of its peak."""
    stress: float
    """0 to 1."""
    opens: bool
    """Whether it is the first of its phrase."""


@dataclass(frozen=True, slots=True)
class Gesture:
    """How far the head nods, in radians, and the brows are raised, 0 to 1."""

    nod_rad: float = 0.0
    brow: float = 0.0


AT_REST = Gesture()


class Beats:
    """Finds beats in the sound of one conversation. `hear` belongs to one thread, `at` may be called from another."""

    def __init__(self, rate_hz: int, *, live: bool = False) -> None:
        """`live`: rule 3."""
        self._rate_hz = rate_hz
        self._frame = round(FRAME_S * rate_hz)
        self._full_power = 32_768.0**2 * self._frame
        self._late_us = (RISE_S + REACH_S) * 1e6 if live else 0.0
        self._found: tuple[Beat, ...] = ()
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)
        self._begin(0.0)
        self._next_us = -math.inf

    def hear(self, pts_us: float, pcm: NDArray[np.int16]) -> None:
        """Analyse sound of the media line, starting at `pts_us`; if the line jumps, the search restarts."""
        if abs(pts_us - self._next_us) > FRAME_S * 1e6:
            self._begin(pts_us)
        self._next_us = pts_us + len(pcm) * 1e6 / self._rate_hz
        sound = np.concatenate([self._rest, pcm]) if len(self._rest) else pcm
        whole = len(sound) // self._frame * self._frame
        self._rest = sound[whole:].copy()
        squares = np.square(sound[:whole].reshape(-1, self._frame), dtype=np.float32)
        for power in np.add.reduce(squares, axis=1).tolist():
            self._take(10 * math.log10(power / self._full_power + 1e-10))

    def at(self, pts_us: float) -> Gesture:
        """Return the gesture at a position."""
        nod = brow = 0.0
        for beat in self._found:
            shape = _rise_and_fall((pts_us - beat.pts_us - self._late_us) / 1e6)
            nod = max(nod, shape * (0.4 + 0.6 * beat.stress))
            if beat.opens or beat.stress > _STRONG:
                brow = max(brow, shape * (0.5 + 0.5 * beat.stress))
        return Gesture(NOD_RAD * nod, BROW * brow)

    def _begin(self, pts_us: float) -> None:
        self._start_us, self._heard = pts_us, 0
        self._rest = np.zeros(0, np.int16)
        self._levels: deque[float] = deque(maxlen=_BEFORE + 2 * _REACH + 1)
        self._loudest_db = _SILENT_DB
        self._quiet = round(PHRASE_S / FRAME_S)  # consecutive frames
        self._opens = True

    def _take(self, level_db: float) -> None:
        """Add a frame, and check whether the one `_REACH` before it is a peak."""
        self._heard += 1
        self._levels.append(level_db)
        self._loudest_db = max(level_db, self._loudest_db - _LOUDEST_FALLS_DB, _SILENT_DB)
        self._quiet = self._quiet + 1 if level_db < self._loudest_db - _QUIET_DB or level_db <= _SILENT_DB else 0
        if self._quiet * FRAME_S >= PHRASE_S:
            self._opens = True
        if len(self._levels) <= 2 * _REACH:
            return
        levels = list(self._levels)
        near, before = levels[-2 * _REACH - 1 :], levels[: -_REACH - 1]
        peak_db = near[_REACH]
        pts_us = self._start_us + (self._heard - _REACH - 0.5) * FRAME_S * 1e6
        rise_db = peak_db - min(before[-_BEFORE:])
        fall_db = peak_db - max(min(near[:_REACH]), min(near[_REACH + 1 :]))
        is_peak = peak_db >= max(near) and fall_db > FALL_DB and rise_db > RISE_DB
        if not is_peak or peak_db < max(_SILENT_DB + 10, self._loudest_db - _NEAR_LOUDEST_DB):
            return
        if self._found and 0 <= pts_us - self._found[-1].pts_us < APART_S * 1e6:
            return
        stress = min(1.0, max(0.0, (rise_db - RISE_DB) / (_FULL_RISE_DB - RISE_DB)))
        self._found = (*self._found, Beat(pts_us, stress, self._opens))[-KEPT_BEATS:]
        self._opens = False


class GestureFade:
    """Limits gestures to the speed of rule 5. Not thread-safe."""

    def __init__(self) -> None:
        self._shown = AT_REST
        self._last_us: int | None = None

    def step(self, wanted: Gesture, now_us: int) -> Gesture:
        """Return the gesture at `now_us`; a time before that of the last call counts as that time."""
        passed_s = 0.0 if self._last_us is None else max(0, now_us - self._last_us) / 1e6
        self._last_us = now_us if self._last_us is None else max(now_us, self._last_us)
        self._shown = Gesture(
            _towards(self._shown.nod_rad, wanted.nod_rad, NOD_RAD_PER_S * passed_s),
            _towards(self._shown.brow, wanted.brow, BROW_PER_S * passed_s),
        )
        return self._shown


def with_gesture(pose: Pose, gesture: Gesture) -> Pose:
    """Return the pose with a gesture added; `pose` is not changed. The neck nods, so the head's own motion continues."""
    if gesture == AT_REST:
        return pose
    mixed = pose.copy()
    mixed[NECK_ROTATION.start] += np.float32(gesture.nod_rad)
    shapes = list(_BROW_SHAPES)
    mixed[shapes] += np.float32(gesture.brow) * _BROW_PARTS * (1 - np.clip(pose[shapes], 0, 1))
    return mixed


def _rise_and_fall(after_s: float) -> float:
    """Smooth curve of a gesture, 0 to 1, with its peak at 0."""
    part = 1 + after_s / RISE_S if after_s < 0 else 1 - after_s / FALL_S
    return 0.5 - 0.5 * math.cos(math.pi * part) if part > 0 else 0.0


def _towards(value: float, wanted: float, most: float) -> float:
    return value + min(most, max(-most, wanted - value))
