"""What was really heard: samples that a sound device emitted, found again in what was sent. Pure.

Speech that is sent for measuring holds no zero and repeats nowhere (`tests.lab.ground_truth.speech` sees to that), so every zero that
the device emitted is silence that somebody put in, and every other sample has one place in the speech.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

_STEP_FRAMES = 48_000
"""Compared at once."""
_PROBE_FRAMES = 16
"""So many samples tell a place in the speech."""
_MAX_FOREIGN_FRAMES = 4_800
"""Beyond this the sound is another one, and it is not looked for any further."""
_BLOCK_FRAMES = 2_400
"""Followed block by block: 50 ms, in which 500 ppm make 1.2 samples."""
_NEAR_FRAMES = 48
_FAR_FRAMES = 2 * 48_000
"""How far off the speech may be after a gap: skipped, or played late."""
_ALIKE = 0.8
"""The correlation from which on a block is what was sent."""


@dataclass(frozen=True, slots=True)
class Run:
    """Device frames from `device_frame` on emitted the speech from `sent_frame` on, sample for sample."""

    device_frame: int
    sent_frame: int
    frames: int


@dataclass(frozen=True, slots=True)
class Heard:
    """All runs in order, and what does not fit: sent frames never heard between runs, emitted samples that nobody sent."""

    runs: tuple[Run, ...]
    lost_frames: int
    foreign_frames: int
    unheard_at_end: int

    @property
    def is_whole(self) -> bool:
        """Whether every sample sent was heard once, in order, unchanged."""
        return self.lost_frames == self.foreign_frames == self.unheard_at_end == 0


def find(emitted: Pcm, sent: Pcm) -> Heard:
    """Find `sent` in what was emitted."""
    sounding = np.flatnonzero(emitted)
    runs: list[Run] = []
    lost = foreign = position = 0
    index = 0
    while index < len(sounding):
        at = int(sounding[index])
        frames = _common(emitted[at:], sent[position:])
        if frames < min(_PROBE_FRAMES, len(sent) - position):
            found = _place(emitted[at : at + _PROBE_FRAMES], sent, position)
            if found is None:
                foreign += 1
                index += 1
                if foreign > _MAX_FOREIGN_FRAMES:
                    foreign += len(sounding) - index
                    break
                continue
            lost += found - position
            position = found
            continue
        if not frames:
            foreign += len(sounding) - index
            break
        runs.append(Run(at, position, frames))
        position += frames
        index = int(np.searchsorted(sounding, at + frames))
    return Heard(tuple(runs), lost, foreign, len(sent) - position)


def _common(left: Pcm, right: Pcm) -> int:
    """How many samples are alike from the start."""
    most = min(len(left), len(right))
    for start in range(0, most, _STEP_FRAMES):
        end = min(start + _STEP_FRAMES, most)
        different = np.flatnonzero(left[start:end] != right[start:end])
        if len(different):
            return start + int(different[0])
    return most


def _place(probe: Pcm, sent: Pcm, since: int) -> int | None:
    """The first place of a probe in the speech, not before `since`; None if there is none."""
    rest = sent[since:]
    if len(probe) < _PROBE_FRAMES or len(rest) < _PROBE_FRAMES:
        return None
    for start in np.flatnonzero(rest[: len(rest) - _PROBE_FRAMES + 1] == probe[0]):
        if np.array_equal(rest[start : start + _PROBE_FRAMES], probe):
            return since + int(start)
    return None


@dataclass(frozen=True, slots=True)
class Followed:
    """Blocks of emitted sound found again in what was sent, though it was resampled; and how many were not."""

    runs: tuple[Run, ...]
    unknown_blocks: int

    @property
    def skipped_frames(self) -> int:
        """Sent frames that were passed over, beyond what resampling makes."""
        return sum(max(0, step) for step in self._steps())

    @property
    def repeated_frames(self) -> int:
        """Sent frames that were heard again."""
        return sum(max(0, -step) for step in self._steps())

    def _steps(self) -> list[int]:
        """Jumps on the media line. What blocks that were not known took is none; nor is what silence filled."""
        steps = [later.sent_frame - earlier.sent_frame - earlier.frames for earlier, later in pairwise(self.runs)]
        passed = [later.device_frame - earlier.device_frame - earlier.frames for earlier, later in pairwise(self.runs)]
        taken = [0 if abs(step - time) <= _NEAR_FRAMES else step for step, time in zip(steps, passed, strict=True)]
        return [step for step in taken if abs(step) > _NEAR_FRAMES]


def follow(emitted: Pcm, sent: Pcm) -> Followed:
    """Find blocks of `emitted` in `sent` by correlation, for sound that was resampled on its way to steer the drift."""
    runs: list[Run] = []
    unknown = 0
    expected = 0
    for first, last in stretches(emitted, _NEAR_FRAMES):
        for at in range(first, last - _BLOCK_FRAMES + 1, _BLOCK_FRAMES):
            block = emitted[at : at + _BLOCK_FRAMES].astype(np.float32)
            place = _likeliest(block, sent, expected, _NEAR_FRAMES)
            if place is None:
                place = _likeliest(block, sent, expected, _FAR_FRAMES)
            if place is None:
                unknown += 1
                expected += _BLOCK_FRAMES
                continue
            runs.append(Run(at, place, _BLOCK_FRAMES))
            expected = place + _BLOCK_FRAMES
    return Followed(tuple(runs), unknown)


def _likeliest(block: NDArray[np.float32], sent: Pcm, expected: int, reach: int) -> int | None:
    """Where a block lies within `reach` of `expected`, by normalised correlation; None if it is nowhere alike."""
    low = max(0, expected - reach)
    around = sent[low : expected + reach + len(block)].astype(np.float32)
    if len(around) < len(block):
        return None
    size = 1 << int(len(around) + len(block)).bit_length()
    products = np.fft.irfft(np.fft.rfft(around, size) * np.conj(np.fft.rfft(block, size)), size)[: len(around) - len(block) + 1]
    squares = np.concatenate([[0.0], np.cumsum(around.astype(np.float64) ** 2)])
    energies = squares[len(block) :] - squares[: -len(block)]
    alike = products / np.sqrt(np.maximum(energies, 1.0) * max(1.0, float(np.dot(block, block))))
    best = int(np.argmax(alike))
    return low + best if alike[best] >= _ALIKE else None


def stretches(emitted: Pcm, gap_frames: int) -> list[tuple[int, int]]:
    """First frame of each stretch of sound and the one after its last; shorter silence does not part two stretches."""
    sounding = np.flatnonzero(emitted)
    if not len(sounding):
        return []
    breaks = np.flatnonzero(np.diff(sounding) > gap_frames)
    starts = np.concatenate([sounding[:1], sounding[breaks + 1]])
    ends = np.concatenate([sounding[breaks], sounding[-1:]]) + 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


class DeviceClock:
    """When a device emitted its frames: it ran at its own rate from each start on, also through silence."""

    def __init__(self, starts: Sequence[tuple[int, int]], rate_hz: float) -> None:
        """`starts`: frame and time in ns of each start of the device, in order; `rate_hz` is its true rate."""
        if not starts:
            raise ValueError("the device was never started: nothing was played")
        self._frames = [frame for frame, _ in starts]
        self._times_ns = [time_ns for _, time_ns in starts]
        self.rate_hz = rate_hz

    def time_us(self, frame: int) -> float:
        """When a frame was emitted, CLOCK_MONOTONIC in µs."""
        index = max(0, bisect_right(self._frames, frame) - 1)
        return self._times_ns[index] / 1e3 + (frame - self._frames[index]) * 1e6 / self.rate_hz
