"""Converts rows of visemes to poses, with coarticulation.

A viseme is a mouth; a row has the amount of each viseme at a keyframe. The pose at a position is computed from the keyframes around it:
1. The influence of each viseme depends on its weight, its own strength and its distance in time (dominance functions, after Cohen and
   Massaro 1993); the remainder of a row to 1 is a mouth at rest. The mouth is the mean weighted by influence.
2. Lips that touch, or touch the teeth, do so at their keyframe regardless of its neighbours; they close before and open after it in
   `CLOSING_S`.
3. Columns that are not visemes (blinks, brows, angles) are interpolated like all weights.

All of this is computed from the track when a picture is drawn, so that it does not depend on how rows were cut into payloads.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.columns import Columns
from avatar_relay.media import MotionFormat
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, to_weights
from avatar_relay.mouth.visemes import CLOSING_S, SILENCE, Viseme
from edge_client.motion.pose import BLENDSHAPES, POSE_SIZE, Pose, Poses
from edge_client.motion.track import MotionTrack, Sample
from edge_client.motion.weights import WeightsDecoder

SPREAD_US = 40_000
"""A viseme's influence fades to 1/e in this time before and after its keyframe."""
REACH_US = 120_000
"""Keyframes further away have an influence of less than a thousandth."""
FULLY_CLOSED = 0.7
"""Weight of a closing viseme from which the lips touch."""

_COLUMNS = np.array([ARKIT_INDEX[name] for name in BLENDSHAPE_NAMES])


class VisemeDecoder(WeightsDecoder):
    """Decodes rows with visemes among the columns: a row of the track is a pose, followed by the weights of the visemes."""

    def __init__(self, motion_format: MotionFormat, columns: Columns) -> None:
        super().__init__(motion_format, columns)
        self._viseme_columns = list(columns.visemes)
        self._visemes = tuple(columns.visemes.values())

    def decode(self, data: bytes) -> Poses:
        """See `MotionDecoder`."""
        rows = self._read(data)
        visemes = rows[:, self._viseme_columns] * self._factor
        if visemes.size and visemes.max() > 1:
            self._count_large(visemes)
        return np.hstack((self._poses(rows), np.clip(visemes, 0.0, 1.0)))

    def make_track(self, keyframes_per_second: float) -> MotionTrack:
        """See `MotionDecoder`."""
        return VisemeTrack(keyframes_per_second, self._visemes)


class VisemeTrack(MotionTrack):
    """A track whose keyframes are those of `VisemeDecoder`, and whose samples are poses. Not thread-safe."""

    def __init__(self, keyframes_per_second: float, visemes: Sequence[Viseme]) -> None:
        super().__init__(keyframes_per_second)
        self._mouths = to_weights(np.stack([viseme.mouth for viseme in visemes]))
        self._strengths = np.array([viseme.strength for viseme in visemes], np.float32)
        self._closing = [column for column, viseme in enumerate(visemes) if viseme.closes]

    def sample(self, pts_us: int) -> Sample | None:
        """See `MotionTrack`; the pose depends on all keyframes around the position."""
        found = super().sample(pts_us)
        if found is None:
            return None
        pose = found.pose[:POSE_SIZE].copy()
        pose[_COLUMNS] += self._mouth_at(found.pts_us)
        pose[BLENDSHAPES] = np.minimum(pose[BLENDSHAPES], 1.0)
        return Sample(pose, found.pts_us, found.covered)

    def prune(self, pts_us: int) -> None:
        """See `MotionTrack`: keyframes that still have influence are kept."""
        super().prune(pts_us - REACH_US)

    def _mouth_at(self, pts_us: int) -> Pose:
        """Weights of `BLENDSHAPE_NAMES`."""
        near = slice(bisect_left(self._times, pts_us - REACH_US), bisect_right(self._times, pts_us + REACH_US))
        rows = np.stack(self._poses[near] or self._poses[near.start - 1 : near.start])[:, POSE_SIZE:]
        distance_us = np.abs(np.array(self._times[near] or [pts_us], np.float32) - np.float32(pts_us))
        fading = np.exp(-((distance_us / SPREAD_US) ** 2))[:, None]
        rest = np.float32(SILENCE.strength * (fading[:, 0] * np.maximum(1 - rows.sum(axis=1), 0)).sum())
        rule = (fading * rows).sum(axis=0) * self._strengths
        mouth = rule @ self._mouths / max(float(rule.sum() + rest), 1e-9)
        apart = np.clip((distance_us - self.step_us / 2) / (CLOSING_S * 1e6), 0, 1)
        ramp = 1 - apart * apart * (3 - 2 * apart)
        for column in self._closing:
            closed = (ramp * np.minimum(rows[:, column] / FULLY_CLOSED, 1)).max()
            mouth = mouth * (1 - closed) + self._mouths[column] * closed
        return np.asarray(mouth, np.float32)
