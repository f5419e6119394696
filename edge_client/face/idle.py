"""Idle motion: blinks, saccades, breathing and small head motion, as a pure function of a seed and a time.

Rates and sizes are from published studies of people:
- 17 to 26 blinks a minute, at rest and in conversation (Bentivoglio et al. 1997), that shut in about 80 ms and open in about 160 ms.
- Gaze that meets the other's for about three seconds (Binetti et al. 2016), then turns away for about one (Lee, Badler and Badler 2002,
  in conversation). While it meets, it moves between the other's eyes and mouth, resting 0.4 to 1.6 s on each.
- A turn away has that study's sizes, exponential with a mean near 7°, and directions, of which level and straight ones are commonest.
- A saccade of A degrees takes 25 ms + 2.4 ms × A (the same study). With large ones the lids often blink (Evinger et al. 1994).
- About 14 breaths a minute; a head that drifts by about two degrees.
"""

from __future__ import annotations

import math
import random
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from edge_client.motion.pose import HEAD_ROTATION, LEFT_EYE_ROTATION, NECK_ROTATION, POSE_SIZE, RIGHT_EYE_ROTATION, Pose, neutral_pose

CYCLE_S = 600.0
"""The script of blinks and glances repeats after this time."""

_SHUT_S, _OPEN_S = 0.08, 0.16
_SACCADE_S, _SACCADE_S_PER_RAD = 0.025, 0.0024 * 57.3
_MEET_S, _AWAY_S = 3.1, 0.93
"""Mean times for which gaze meets the other's, and is turned away."""
_MEET_LEAST_S, _MEET_MOST_S, _AWAY_LEAST_S, _AWAY_MOST_S = 1.0, 6.5, 0.35, 2.4
_FIXATION_S = (0.40, 1.60)
"""Range of the time for which one point of the other's face is looked at."""
_OTHER = ((-0.032, 0.0), (0.032, 0.0), (0.0, 0.050))
"""The other's eyes and mouth at a distance of one metre, as yaw and pitch; the mouth is looked at less."""
_OTHER_CHANCES = (0.42, 0.42, 0.16)
_AWAY_RAD, _AWAY_LEAST_RAD, _AWAY_MOST_RAD = 0.12, 0.105, 0.38
_DIRECTION_CHANCES = (15.54, 6.46, 17.69, 7.44, 16.80, 7.89, 20.38, 7.79)
"""Weights of turns by 0°, 45°, 90° …, counter-clockwise from the face's left."""
_BLINKS_WITH, _BLINK_CHANCE = 0.17, 0.6
"""Size of a turn, in radians, above which a blink comes with it, and the probability of that."""
_BREATHS_PER_S = 14 / 60
_HEAD_RAD = 0.018
_LID_FOLLOWS = 0.55  # fraction by which an upper lid follows the eyeball down

_MOUTH_PREFIXES = ("jaw", "mouth", "tongue", "cheekPuff")
MOUTH_INDEXES = tuple(index for index, name in enumerate(ARKIT_NAMES) if name.startswith(_MOUTH_PREFIXES))
"""The weights controlled by speech."""
_MOUTH = set(MOUTH_INDEXES)
_NOT_MOUTH = tuple(index for index in range(POSE_SIZE) if index not in _MOUTH)
_EYES = tuple(index for index in _NOT_MOUTH if index < len(ARKIT_NAMES) and ARKIT_NAMES[index].startswith("eye"))
_BLINKS = (ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"])
_USED = 1e-3  # below this in a whole group of values, the motion does not use that group


@dataclass(frozen=True, slots=True)
class _Glance:
    start_s: float
    yaw: float
    pitch: float
    turn_s: float
    """Duration of the turn to it."""


class IdleLife:
    """Idle motion determined by a seed; different seeds do not blink together. Immutable once made."""

    def __init__(self, seed: int) -> None:
        """Script `CYCLE_S` seconds of blinks and glances; any integer is a seed."""
        chance = random.Random(seed)
        self._glances = _script_glances(chance)
        self._blinks = _script_blinks(chance, self._glances)
        self._glance_starts = [glance.start_s for glance in self._glances]
        self._phases = [chance.uniform(0, 2 * math.pi) for _ in range(7)]

    def pose(self, time_s: float) -> Pose:
        """Return the pose at a time in seconds (any origin, finite). The mouth stays at rest."""
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
        """Slow wandering within ±1: two sines with incommensurable periods."""
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
        part = _ease(min(1.0, (time_s - now.start_s) / now.turn_s))
        yaw = before.yaw + (now.yaw - before.yaw) * part
        pitch = before.pitch + (now.pitch - before.pitch) * part
        pose[LEFT_EYE_ROTATION] = (pitch, yaw, 0.0)
        pose[RIGHT_EYE_ROTATION] = (pitch, yaw, 0.0)
        for index in _BLINKS:
            pose[index] = max(0.0, pitch * _LID_FOLLOWS)


class StillLife:
    """No idle motion: a face at rest."""

    def pose(self, time_s: float) -> Pose:
        """Return the pose at rest, at all times."""
        return neutral_pose()


def make_life(name: str, *, idle_life: bool) -> IdleLife | StillLife:
    """Make idle motion seeded by the name, or none."""
    return IdleLife(zlib.crc32(name.encode())) if idle_life else StillLife()


def combine(idle: Pose, speech: Pose) -> Pose:
    """Return a new pose that combines idle motion and speech.

    Mouth and neck are those of `speech`, brows and cheeks the stronger ones, gaze and head those of `speech` if it has any, else of `idle`.
    A blink of either shuts the eyes, so that the face does not stare during motion without blinks.
    """
    both = idle.copy()
    both[list(MOUTH_INDEXES)] = speech[list(MOUTH_INDEXES)]
    for index in _NOT_MOUTH:
        if index < len(ARKIT_NAMES) and index not in _EYES:
            both[index] = max(float(idle[index]), float(speech[index]))
    both[NECK_ROTATION] = speech[NECK_ROTATION]
    eyeballs = slice(LEFT_EYE_ROTATION.start, RIGHT_EYE_ROTATION.stop)
    if abs(speech[HEAD_ROTATION]).max() > _USED:
        both[HEAD_ROTATION] = speech[HEAD_ROTATION]
    looks = [index for index in _EYES if index not in _BLINKS]
    if max(abs(speech[eyeballs]).max(), abs(speech[looks]).max()) > _USED:
        both[eyeballs] = speech[eyeballs]
        both[looks] = speech[looks]
    for index in _BLINKS:
        both[index] = max(float(idle[index]), float(speech[index]))
    return both


def _script_blinks(chance: random.Random, glances: list[_Glance]) -> list[float]:
    """Times of blinks: random ones, and some with large turns of the eyes; never two within the duration of one."""
    starts: list[float] = []
    time_s = chance.uniform(0.5, 3.0)
    while time_s < CYCLE_S - 1:
        starts.append(time_s)
        double = chance.random() < 0.12
        time_s += 0.35 if double else chance.uniform(2.0, 6.0)
    turns = pairwise(glances)
    large = [now.start_s for before, now in turns if math.hypot(now.yaw - before.yaw, now.pitch - before.pitch) > _BLINKS_WITH]
    starts += [start_s for start_s in large if chance.random() < _BLINK_CHANCE]
    apart: list[float] = []
    for start_s in sorted(starts):
        if not apart or start_s - apart[-1] >= 0.35:
            apart.append(start_s)
    return apart


def _script_glances(chance: random.Random) -> list[_Glance]:
    """Alternate between gaze that meets the other's, moving between points of the face, and gaze turned away; begin with the former."""
    glances: list[_Glance] = []
    time_s = 0.0
    while time_s < CYCLE_S - 1:
        until_s = time_s + min(max(chance.expovariate(1 / _MEET_S), _MEET_LEAST_S), _MEET_MOST_S)
        while time_s < until_s:
            yaw, pitch = chance.choices(_OTHER, _OTHER_CHANCES)[0] if glances else (0.0, 0.0)
            glances.append(_glance(glances, time_s, chance.gauss(yaw, 0.008), chance.gauss(pitch, 0.008)))
            time_s += chance.uniform(*_FIXATION_S)
        far = min(max(chance.expovariate(1 / _AWAY_RAD), _AWAY_LEAST_RAD), _AWAY_MOST_RAD)
        way = chance.choices(range(8), _DIRECTION_CHANCES)[0] * math.pi / 4 + chance.gauss(0, 0.2)
        glances.append(_glance(glances, time_s, far * math.cos(way), -0.75 * far * math.sin(way)))
        time_s += min(max(chance.expovariate(1 / _AWAY_S), _AWAY_LEAST_S), _AWAY_MOST_S)
    return [_glance(glances[-1:], 0.0, glances[0].yaw, glances[0].pitch), *glances[1:]]  # the script is a loop


def _glance(before: list[_Glance], start_s: float, yaw: float, pitch: float) -> _Glance:
    far = math.hypot(yaw - before[-1].yaw, pitch - before[-1].pitch) if before else 0.0
    return _Glance(start_s, yaw, pitch, _SACCADE_S + _SACCADE_S_PER_RAD * far)


def _ease(part: float) -> float:
    return part * part * (3 - 2 * part)
