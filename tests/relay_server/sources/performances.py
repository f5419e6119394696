"""Reads performances to their end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatar_relay import weights
from relay_server.sources.source import AudioChunk, Irregularity, Item, MotionChunk, MotionLost, Performance


@dataclass(frozen=True, slots=True, eq=False)
class Performed:
    """All items of a performance, in order."""

    items: tuple[Item, ...]

    @property
    def audio(self) -> bytes:
        """The encoded audio, joined."""
        return b"".join(item.data for item in self.items if isinstance(item, AudioChunk))

    @property
    def motion(self) -> tuple[bytes, ...]:
        """The motion payloads."""
        return tuple(item.data for item in self.items if isinstance(item, MotionChunk))

    @property
    def losses(self) -> tuple[MotionLost, ...]:
        """The reasons for lost motion: none, or one."""
        return tuple(item for item in self.items if isinstance(item, MotionLost))

    @property
    def told(self) -> tuple[str, ...]:
        """The reported irregularities."""
        return tuple(item.fault.text for item in self.items if isinstance(item, Irregularity))

    def rows(self, names: int) -> NDArray[np.float32]:
        """All rows of weights."""
        return np.vstack([weights.read(data, names) for data in self.motion])


async def read_all(performance: Performance) -> Performed:
    """Read a performance to its end."""
    return Performed(tuple([item async for item in performance.items]))


async def assert_motion_is_in_time(performance: Performance) -> Performed:
    """Read a performance of weights; fails if sound precedes motion of the same time, or if their lengths differ."""
    assert performance.motion_format is not None
    names, rate = len(performance.motion_format.blendshape_names), performance.motion_format.keyframes_per_second
    performed = await read_all(performance)
    heard_s = shown_s = 0.0
    for item in performed.items:
        if isinstance(item, AudioChunk):
            heard_s += len(item.data) / 2 / performance.audio_format.sample_rate_hz
            assert shown_s >= heard_s - 0.5 / rate - 1e-9
        elif isinstance(item, MotionChunk):
            shown_s += weights.count_keyframes(item.data, names) / rate
    assert abs(shown_s - heard_s) <= 0.5 / rate + 1e-9
    return performed
