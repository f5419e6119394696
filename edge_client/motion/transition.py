"""Moves the face from one driver to another without a jump: idle to speech, speech to idle, a held pose to live motion.

When the driver changes, a linear blend starts from the last pose shown to the new driver's poses. Lengths are
AvatarKit's: 8 keyframes in, 20 out, at 25 a second.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from edge_client.motion.pose import Pose, neutral_pose

IN_US = 320_000
OUT_US = 800_000
CATCH_UP_US = 120_000
"""From a held pose, or from sound alone, to motion that has arrived."""


class Driver(enum.Enum):
    """What moves the face."""

    IDLE = "idle"
    MOTION = "motion"
    SOUND = "sound"
    """Sound alone moves the mouth."""
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Blend:
    """What to show: `pose` is already faded towards neutral; `weight` (0 to 1) is the share that motion drives."""

    pose: Pose
    weight: float


class Transition:
    """Blends drivers over time. Not thread-safe."""

    def __init__(self) -> None:
        self._driver = Driver.IDLE
        self._from = Blend(neutral_pose(), 0.0)
        self._last = self._from
        self._start_us = 0
        self._length_us = 0

    def step(self, driver: Driver, pose: Pose | None, now_us: int) -> Blend:
        """Return what to show at `now_us`. `pose` is the driver's; not needed for HELD and IDLE.

        Times may go back by the duration of a picture: before the start of a blend the result is its start.
        """
        if driver is not self._driver:
            self._begin(driver, now_us)
        target = self._target(driver, pose)
        left = min(self._start_us + self._length_us - now_us, self._length_us)
        if left > 0:
            share = np.float32(1 - left / self._length_us)
            start = self._from
            weight = start.weight + (target.weight - start.weight) * float(share)
            target = Blend(start.pose + (target.pose - start.pose) * share, weight)
        self._last = target
        return target

    def _target(self, driver: Driver, pose: Pose | None) -> Blend:
        match driver:
            case Driver.MOTION | Driver.SOUND if pose is not None:
                return Blend(pose, 1.0)
            case Driver.IDLE:
                return Blend(neutral_pose(), 0.0)
            case _:
                return self._last

    def _begin(self, driver: Driver, now_us: int) -> None:
        before, self._driver = self._driver, driver
        self._from, self._start_us = self._last, now_us
        match driver:
            case Driver.IDLE:
                self._length_us = OUT_US
            case Driver.HELD:
                self._length_us = 0
            case Driver.MOTION:
                self._length_us = IN_US if before is Driver.IDLE else CATCH_UP_US
            case Driver.SOUND:
                self._length_us = IN_US
