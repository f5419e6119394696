"""Inputs of the skin's shaders besides the mesh: a picture of pores, and creases and mouth opening from a pose's weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX
from edge_client.motion.pose import Pose

SIZE = 256


def pores_picture() -> NDArray[np.uint8]:
    """Slopes of soft bumps, RGB with the slopes across and upwards in the first two, (SIZE, SIZE, 3); it repeats both ways. Pure."""
    chance = np.random.default_rng(11).normal(0, 1, (SIZE, SIZE))
    waves = np.fft.fftfreq(SIZE)
    far = np.hypot(waves[:, None], waves[None, :])
    band = np.exp(-(((far - 0.10) / 0.055) ** 2)) + 0.5 * np.exp(-(((far - 0.03) / 0.02) ** 2))
    height = np.fft.ifft2(np.fft.fft2(chance) * band).real
    slopes = np.stack([np.roll(height, -1, 1) - np.roll(height, 1, 1), np.roll(height, -1, 0) - np.roll(height, 1, 0)], axis=2)
    slopes = np.clip(0.5 + slopes / (6 * slopes.std()), 0, 1)
    whole = np.concatenate([slopes, np.full((SIZE, SIZE, 1), 0.5)], axis=2)
    return np.asarray(np.rint(whole * 255), np.uint8)


def creases(pose: Pose) -> NDArray[np.float32]:
    """Depth of the creases of raised brows, of a frown and of a smile, each 0 to 1. Pure."""

    def mean(*names: str) -> float:
        return float(np.clip(np.mean([pose[ARKIT_INDEX[name]] for name in names]), 0, 1))

    raised = max(mean("browInnerUp"), mean("browOuterUpLeft", "browOuterUpRight"))
    return np.array((raised, mean("browDownLeft", "browDownRight"), mean("mouthSmileLeft", "mouthSmileRight")), np.float32)


def opening(pose: Pose) -> float:
    """How far the mouth is open, 0 to 1. Pure."""
    return float(np.clip((pose[ARKIT_INDEX["jawOpen"]] - pose[ARKIT_INDEX["mouthClose"]]) * 2.6 + 0.15, 0, 1))
