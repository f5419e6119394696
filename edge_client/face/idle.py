"""Life between the words: blinks, saccades, breathing and small head motion, as a pure function of a seed and a time.

Rates and sizes are those of a person at rest: a blink every 2 to 6 s that shuts in about 80 ms and opens in about 160 ms; gaze
that rests 0.7 to 2.5 s and jumps within 40 ms, coming home to the camera half of the time so that it neither stares nor wanders;
about 14 breaths a minute; a head that drifts by about two degrees.
"""

from __future__ import annotations

import math
import random
import zlib
from bisect import bisect_right
from dataclasses import dataclass

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from edge_client.motion.pose import HEAD_ROTATION, LEFT_EYE_ROTATION, POSE_SIZE, RIGHT_EYE_ROTATION, Pose, neutral_pose

CYCLE_S = 600.0
"""The script of blinks and glances repeats after this long."""

_SHUT_S, _OPEN_S = 0.08, 0.16
_SACCADE_S = 0.04
_BREATHS_PER_S = 14 / 60
_HEAD_RAD = 0.018
_LID_FOLLOWS = 0.55  # an upper lid follows the eyeball down by this part

_MOUTH_PREFIXES = ("jaw", "mouth", "tongue", "cheekPuff")
MOUTH_INDEXES = tuple(index for index, name in enumerate(ARKIT_NAMES) if name.startswith(_MOUTH_PREFIXES))
"""The weights that speech owns."""
_MOUTH = set(MOUTH_INDEXES)
_OTHER = tuple(index for index in range(POSE_SIZE) if index not in _MOUTH)
_EYES = tuple(index for index in _OTHER if index < len(ARKIT_NAMES) and ARKIT_NAMES[index].startswith("eye"))
_BLINKS = (ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"])
_USED = 1e-3  # less than this in a whole group of values: the motion does not have that group


@dataclass(frozen=True, slots=True)
class _Glance:
    start_s: float
    yaw: float
    pitch: float


class IdleLife:
    """The same seed lives the same life; different seeds do not blink together. Immutable once made."""

    def __init__(self, seed: int) -> None:
        """Script `CYCLE_S` seconds of blinks and glances; any integer is a seed."""
        chance = random.Random(seed)
        self._blinks = _script_blinks(chance)
        self._glances = _script_glances(chance)
        self._glance_starts = [glance.start_s for glance in self._glances]
        self._phases = [chance.uniform(0, 2 * math.pi) for _ in range(7)]

    def pose(self, time_s: float) -> Pose:
        """The pose at a time in seconds (any origin, finite). The mouth stays at rest."""
        pose = neutral_pose()
        self._look(pose, time_s % CYCLE_S)
        blink = self._blink(time_s % CYCLE_S)
        for index in _BLINKS:
            pose[index] = max(float(pose[index]), blink)
        breath = math.sin(2 * math.pi * _BREATHS_PER_S * time_s + self._phases[0])
        pose[HEAD_ROTATION] = (
            0.6 * _HEAD_RAD * self._drift(time_s, 1) + 0.006 * breath,
            1.4 * _HEAD_RAD * self._drift(time_s, 3),
            0.7 * _HEAD_RAD * self._drift(time_s, 5),
        )
        pose[ARKIT_INDEX["browInnerUp"]] = max(0.0, 0.06 * self._drift(time_s * 0.6, 2))
        return pose

    def _drift(self, time_s: float, voice: int) -> float:
        """Slow wandering within ±1: two sines whose periods never meet."""
        slow = math.sin(2 * math.pi * time_s / (7.3 + voice) + self._phases[voice])
        slower = math.sin(2 * math.pi * time_s / (17.9 - voice) + self._phases[(voice + 1) % 7])
        return 0.5 * (slow + slower)

    def _blink(self, time_s: float) -> float:
        place = bisect_right(self._blinks, time_s) - 1
        if place < 0:
            return 0.0
        since = time_s - self._blinks[place]
        if since < _SHUT_S:
            return _ease(since / _SHUT_S)
        return 1.0 - _ease(min(1.0, (since - _SHUT_S) / _OPEN_S))

    def _look(self, pose: Pose, time_s: float) -> None:
        place = bisect_right(self._glance_starts, time_s) - 1
        now, before = self._glances[place], self._glances[place - 1]
        part = _ease(min(1.0, (time_s - now.start_s) / _SACCADE_S))
        yaw = before.yaw + (now.yaw - before.yaw) * part
        pitch = before.pitch + (now.pitch - before.pitch) * part
        pose[LEFT_EYE_ROTATION] = (pitch, yaw, 0.0)
        pose[RIGHT_EYE_ROTATION] = (pitch, yaw, 0.0)
        for index in _BLINKS:
            pose[index] = max(0.0, pitch * _LID_FOLLOWS)


class StillLife:
    """No life between the words: a face that rests."""

    def pose(self, time_s: float) -> Pose:
        """At rest at all times."""
        return neutral_pose()


def make_life(name: str, *, idle_life: bool) -> IdleLife | StillLife:
    """Life that is the same for the same name, or none."""
    return IdleLife(zlib.crc32(name.encode())) if idle_life else StillLife()


def combine(idle: Pose, speech: Pose) -> Pose:
    """A new pose: the mouth of `speech`; of brows and cheeks the stronger; gaze and head of `speech` where it has any, else of `idle`.

    A blink of either shuts the eyes, so that a speech motion without blinks does not stare.
    """
    both = idle.copy()
    both[list(MOUTH_INDEXES)] = speech[list(MOUTH_INDEXES)]
    for index in _OTHER:
        if index < len(ARKIT_NAMES) and index not in _EYES:
            both[index] = max(float(idle[index]), float(speech[index]))
    head = slice(HEAD_ROTATION.start, LEFT_EYE_ROTATION.start)
    eyeballs = slice(LEFT_EYE_ROTATION.start, RIGHT_EYE_ROTATION.stop)
    if abs(speech[head]).max() > _USED:
        both[head] = speech[head]
    looks = [index for index in _EYES if index not in _BLINKS]
    if max(abs(speech[eyeballs]).max(), abs(speech[looks]).max()) > _USED:
        both[eyeballs] = speech[eyeballs]
        both[looks] = speech[looks]
    for index in _BLINKS:
        both[index] = max(float(idle[index]), float(speech[index]))
    return both


def _script_blinks(chance: random.Random) -> list[float]:
    starts: list[float] = []
    time_s = chance.uniform(0.5, 3.0)
    while time_s < CYCLE_S - 1:
        starts.append(time_s)
        double = chance.random() < 0.12
        time_s += 0.35 if double else chance.uniform(2.0, 6.0)
    return starts


def _script_glances(chance: random.Random) -> list[_Glance]:
    glances: list[_Glance] = []
    time_s = 0.0
    while time_s < CYCLE_S - 1:
        home = chance.random() < 0.5 or not glances
        spread = 0.012 if home else 0.10
        glances.append(_Glance(time_s, chance.gauss(0, spread), chance.gauss(0.0, spread * 0.6)))
        time_s += chance.uniform(0.7, 2.5)
    return glances


def _ease(part: float) -> float:
    return part * part * (3 - 2 * part)
