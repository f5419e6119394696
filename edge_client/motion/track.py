"""The keyframes of one conversation on its media line, and the pose at any point of it.

Rules of the track:
1. Keyframe n of a payload is at the payload's PTS + n / rate. Payloads may come in any order; a keyframe that is there
   already is replaced.
2. Between two neighbours the pose is interpolated in a straight line. Where keyframes are missing the last pose is
   held until one interval before the next one.
3. Where two windows meet, a jump between them is spread over the keyframes around (`borders`).
4. A keyframe holds for one interval; behind that, and before the first, the track does not cover the position. The pose
   behind the end is the last one, held.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from edge_client.motion.borders import LONG_WINDOW, REACH, jump, spread
from edge_client.motion.pose import Pose, Poses

MAX_KEYFRAMES = 30_000
"""20 minutes at 25 a second: a bound in memory (8 MB), whatever the size of a keyframe on the wire."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A pose, and the position that it truly shows: less than what was asked while a pose is held."""

    pose: Pose
    pts_us: int
    covered: bool


class MotionTrack:
    """Keyframes of one conversation; at most `MAX_KEYFRAMES`. Not thread-safe."""

    def __init__(self, keyframes_per_second: float) -> None:
        self.step_us = 1e6 / keyframes_per_second
        """One interval."""
        self._times: list[int] = []
        self._poses: list[Pose] = []
        self.length_us = 0
        """Where the last keyframe's interval ends; 0 where there was none. Pruning does not change it."""
        self._jumps: dict[int, Pose] = {}

    def __len__(self) -> int:
        """How many keyframes are held."""
        return len(self._times)

    def add(self, pts_us: int, poses: Poses) -> bool:
        """Put a payload's keyframes on the line; False, and nothing changed, where they would pass the bound."""
        if len(self._times) + len(poses) > MAX_KEYFRAMES:
            return False
        for index, pose in enumerate(poses):
            self._put(pts_us + round(index * self.step_us), pose)
        if len(poses):
            end_us = pts_us + round(len(poses) * self.step_us)
            self.length_us = max(self.length_us, end_us)
        if len(poses) >= LONG_WINDOW:
            self._look_for_jump(pts_us)
            self._look_for_jump(end_us)
        return True

    def sample(self, pts_us: int) -> Sample | None:
        """The pose at a position; None before the first keyframe, and in an empty track."""
        found = self._found(pts_us)
        if found is None or not self._jumps:
            return found
        pose = found.pose
        for border_us, excess in self._jumps.items():
            from_border = (found.pts_us - border_us) / self.step_us
            if -REACH - 1 < from_border < REACH:
                pose = pose + spread(excess, from_border)
        return Sample(pose, found.pts_us, found.covered)

    def covered_to(self, pts_us: int) -> int:
        """How far the track covers the line without a hole from `pts_us` on; `pts_us` itself where it does not cover it."""
        index = bisect_right(self._times, pts_us) - 1
        if index < 0 or pts_us >= self._times[index] + self.step_us * 1.5:
            return pts_us
        while index + 1 < len(self._times) and self._times[index + 1] - self._times[index] <= 1.5 * self.step_us:
            index += 1
        return max(pts_us, self._times[index] + round(self.step_us))

    def prune(self, pts_us: int) -> None:
        """Forget the keyframes before `pts_us`, but keep the one that is shown there."""
        passed = bisect_right(self._times, pts_us) - 1
        if passed > 0:
            del self._times[:passed]
            del self._poses[:passed]
        past_us = pts_us - REACH * self.step_us
        for border_us in [border_us for border_us in self._jumps if border_us < past_us]:
            del self._jumps[border_us]

    def _found(self, pts_us: int) -> Sample | None:
        after = bisect_right(self._times, pts_us)
        if after == 0:
            return None
        at_us, pose = self._times[after - 1], self._poses[after - 1]
        if after == len(self._times):
            covered = pts_us < at_us + self.step_us
            return Sample(pose, pts_us if covered else at_us, covered)
        return self._between(pts_us, after)

    def _look_for_jump(self, border_us: int) -> None:
        """At a border whose keyframes are there on both sides; those before it may have been pruned, then nothing is done."""
        index = bisect_left(self._times, border_us - round(self.step_us / 2))
        first, last = index - REACH, index + REACH - 1
        if first < 0 or last >= len(self._times) or self._times[last] - self._times[first] > (2 * REACH - 0.5) * self.step_us:
            return
        excess = jump(self._poses[first:index], self._poses[index : last + 1])
        if excess is not None:
            self._jumps[self._times[index]] = excess

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
        if right_us - left_us > 1.5 * self.step_us:
            begin_us = right_us - self.step_us
            if pts_us < begin_us:
                covered = pts_us < left_us + self.step_us
                return Sample(left, pts_us if covered else left_us, covered)
            left_us = round(begin_us)
        share = np.float32((pts_us - left_us) / (right_us - left_us))
        return Sample(left + (right - left) * share, pts_us, True)
