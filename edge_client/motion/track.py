"""The keyframes of one conversation on its media line, and the pose at any position.

Rules of the track:
1. Keyframe n of a payload is at the payload's PTS + n / rate. Payloads may arrive in any order; an existing keyframe
   is replaced. A payload whose PTS is on the grid of the rate stays on it, so that rounded PTS change nothing: the same
   keyframes give the same poses however they are cut into payloads.
2. Between two neighbours the pose is interpolated linearly, also across a gap of up to `MAX_GAP_US`. In a longer gap the
   last pose is held until one interval before the next one.
3. A keyframe holds for one interval; after that, and before the first, the track does not cover the position. The pose
   after the end is the last one, held.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from avatar_relay.arkit import ARKIT_NAMES
from edge_client.motion.pose import HEAD_ROTATION, NECK_ROTATION, Pose, Poses

MAX_KEYFRAMES = 30_000
"""20 minutes at 25 a second: a bound on memory (8 MB), whatever the size of a keyframe on the wire."""
MAX_GAP_US = 200_000
"""Longest gap between keyframes that is interpolated."""
_HEAD = slice(HEAD_ROTATION.start, NECK_ROTATION.stop)
_BROWS = [index for index, name in enumerate(ARKIT_NAMES) if name.startswith("brow")]
_MOVES = 1e-3
_ROUNDING_US = 2
"""A PTS this close to the grid counts as on it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A pose, and its actual position: less than the one requested while a pose is held."""

    pose: Pose
    pts_us: int
    covered: bool


class MotionTrack:
    """Keyframes of one conversation; at most `MAX_KEYFRAMES`. Not thread-safe."""

    def __init__(self, keyframes_per_second: float) -> None:
        self.step_us = 1e6 / keyframes_per_second
        """Interval between keyframes."""
        self._times: list[int] = []
        self._poses: list[Pose] = []
        self.length_us = 0
        """Where the last keyframe's interval ends; 0 if there was none. Pruning does not change it."""
        self.moves_head = False
        """Whether any keyframe so far turns head or neck."""
        self.moves_brows = False
        self._longest_us = max(1.5 * self.step_us, MAX_GAP_US)

    def __len__(self) -> int:
        """Number of keyframes held."""
        return len(self._times)

    def add(self, pts_us: int, poses: Poses) -> bool:
        """Add a payload's keyframes; False, without a change, if they would exceed the bound."""
        if len(self._times) + len(poses) > MAX_KEYFRAMES:
            return False
        if len(poses):
            self.moves_head = self.moves_head or bool(np.abs(poses[:, _HEAD]).max() > _MOVES)
            self.moves_brows = self.moves_brows or bool(np.abs(poses[:, _BROWS]).max() > _MOVES)
            *times_us, end_us = self._places(pts_us, len(poses))
            for time_us, pose in zip(times_us, poses, strict=True):
                self._put(time_us, pose.copy())  # a view would keep the whole payload alive, however few of its keyframes remain
            self.length_us = max(self.length_us, end_us)
        return True

    def sample(self, pts_us: int) -> Sample | None:
        """Return the pose at a position; None before the first keyframe, and in an empty track."""
        after = bisect_right(self._times, pts_us)
        if after == 0:
            return None
        at_us, pose = self._times[after - 1], self._poses[after - 1]
        if after == len(self._times):
            covered = pts_us < at_us + self.step_us
            return Sample(pose, pts_us if covered else at_us, covered)
        return self._between(pts_us, after)

    def covered_to(self, pts_us: int) -> int:
        """How far the track covers the line without a gap from `pts_us` on; `pts_us` itself if it is not covered."""
        index = bisect_right(self._times, pts_us) - 1
        if index < 0 or not self._reaches(index, pts_us):
            return pts_us
        while index + 1 < len(self._times) and self._times[index + 1] - self._times[index] <= self._longest_us:
            index += 1
        return max(pts_us, self._times[index] + round(self.step_us))

    def prune(self, pts_us: int) -> None:
        """Discard the keyframes before `pts_us`, except the one shown there."""
        passed = bisect_right(self._times, pts_us) - 1
        if passed > 0:
            del self._times[:passed]
            del self._poses[:passed]

    def _places(self, pts_us: int, count: int) -> list[int]:
        """Positions of `count` keyframes, and the end of the last one's interval."""
        first = round(pts_us / self.step_us)
        if abs(pts_us - first * self.step_us) <= _ROUNDING_US:
            return [round(index * self.step_us) for index in range(first, first + count + 1)]
        return [pts_us + round(index * self.step_us) for index in range(count + 1)]

    def _reaches(self, index: int, pts_us: int) -> bool:
        """Whether a keyframe, or the gap after it, covers a later position."""
        if index + 1 < len(self._times) and self._times[index + 1] - self._times[index] <= self._longest_us:
            return True
        return pts_us < self._times[index] + self.step_us * 1.5

    def _put(self, pts_us: int, pose: Pose) -> None:
        if not self._times or pts_us > self._times[-1]:
            self._times.append(pts_us)
            self._poses.append(pose)
            return
        index = bisect_left(self._times, pts_us)
        if self._times[index] == pts_us:
            self._poses[index] = pose
        else:
            self._times.insert(index, pts_us)
            self._poses.insert(index, pose)

    def _between(self, pts_us: int, after: int) -> Sample:
        left_us, right_us = self._times[after - 1], self._times[after]
        left, right = self._poses[after - 1], self._poses[after]
        if right_us - left_us > self._longest_us:
            begin_us = right_us - self.step_us
            if pts_us < begin_us:
                covered = pts_us < left_us + self.step_us
                return Sample(left, pts_us if covered else left_us, covered)
            left_us = round(begin_us)
        share = np.float32((pts_us - left_us) / (right_us - left_us))
        return Sample(left + (right - left) * share, pts_us, True)
