"""Smooths the jump between two windows of AvatarKit's motion. Pure.

AvatarKit's Motion Server makes motion window by window, and coefficients jump at the border of two windows: in a real conversation by up
to 1.3, although 0.35 between two keyframes is usual. The part of that step that exceeds the motion's mean speed on both sides is spread
over `REACH` keyframes before and after the border: half of it is added before, growing towards the border, and half is subtracted
after it. Elsewhere, and if nothing jumps, motion is unchanged: no filter, no lag. Motion of other encodings is never
smoothed: a step in it is intended, and how it is cut into payloads has no meaning.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from edge_client.motion.pose import Pose, Poses
from edge_client.motion.track import MotionTrack, Sample

REACH = 4
"""Keyframes on each side: 160 ms at 25 a second."""
LONG_WINDOW = 8
"""Shorter payloads are not windows: a live source sends single keyframes, which are already continuous."""
JUMP_FACTOR = 2.0
"""A step counts as a jump if it exceeds the mean step around it by this factor."""
LEAST_JUMP = 0.04
"""Smallest jump that is smoothed, in weight or radians: smaller ones are invisible."""


def jump(before: Sequence[Pose], after: Sequence[Pose]) -> Pose | None:
    """Return the excess step between two runs of neighbouring keyframes, each `REACH` long; None if nothing jumps."""
    if len(before) < REACH or len(after) < REACH:
        return None
    steps = np.array([b - a for run in (before, after) for a, b in pairwise(run)])
    step = after[0] - before[-1]
    speed = (before[-1] - before[-2] + after[1] - after[0]) / 2
    excess = step - np.clip(speed, np.minimum(step, 0), np.maximum(step, 0))
    jumps = np.abs(excess) > np.maximum(LEAST_JUMP, JUMP_FACTOR * np.abs(steps).mean(axis=0))
    return np.asarray(np.where(jumps, excess, 0.0), np.float32) if jumps.any() else None


def spread(excess: Pose, from_border: float) -> Pose:
    """Return the correction of the pose `from_border` keyframes after the border's first keyframe (negative: before it).

    The keyframe before the border is at −1. Between −1 and 0 the two halves are joined by a straight line, as the keyframes are.
    """
    before, behind = np.clip(1 + (from_border + 1) / REACH, 0, 1), np.clip(1 - from_border / REACH, 0, 1)
    if from_border <= -1:
        part = 0.5 * before
    elif from_border >= 0:
        part = -0.5 * behind
    else:
        part = -0.5 - from_border
    return np.asarray(excess * np.float32(part), np.float32)


class WindowedTrack(MotionTrack):
    """A track that smooths the jumps between windows. Not thread-safe."""

    def __init__(self, keyframes_per_second: float) -> None:
        super().__init__(keyframes_per_second)
        self._jumps: dict[int, Pose] = {}

    def add(self, pts_us: int, poses: Poses) -> bool:
        """See `MotionTrack`; a payload of `LONG_WINDOW` or more is a window."""
        added = super().add(pts_us, poses)
        if added and len(poses) >= LONG_WINDOW:
            self._look_for_jump(pts_us)
            self._look_for_jump(pts_us + round(len(poses) * self.step_us))
        return added

    def sample(self, pts_us: int) -> Sample | None:
        """See `MotionTrack`."""
        found = super().sample(pts_us)
        if found is None or not self._jumps:
            return found
        pose = found.pose
        for border_us, excess in self._jumps.items():
            from_border = (found.pts_us - border_us) / self.step_us
            if -REACH - 1 < from_border < REACH:
                pose = pose + spread(excess, from_border)
        return Sample(pose, found.pts_us, found.covered)

    def prune(self, pts_us: int) -> None:
        """See `MotionTrack`."""
        super().prune(pts_us)
        past_us = pts_us - REACH * self.step_us
        for border_us in [border_us for border_us in self._jumps if border_us < past_us]:
            del self._jumps[border_us]

    def _look_for_jump(self, border_us: int) -> None:
        """Find a jump at a border with keyframes on both sides; does nothing if those before it have been pruned."""
        index = bisect_left(self._times, border_us - round(self.step_us / 2))
        first, last = index - REACH, index + REACH - 1
        if first < 0 or last >= len(self._times) or self._times[last] - self._times[first] > (2 * REACH - 0.5) * self.step_us:
            return
        excess = jump(self._poses[first:index], self._poses[index : last + 1])
        if excess is not None:
            self._jumps[self._times[index]] = excess
