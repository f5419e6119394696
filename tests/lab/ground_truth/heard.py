"""Matches the samples that a sound device emitted with the samples sent. Pure.

Speech sent for measuring contains no zero and does not repeat (see `tests.lab.ground_truth.speech`), so every emitted zero is
inserted silence, and every other sample has a unique position in the speech.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

_STEP_FRAMES = 48_000
"""Number of frames compared at once."""
_PROBE_FRAMES = 16
"""Number of samples that identify a position in the speech."""
_MAX_FOREIGN_FRAMES = 4_800
"""After this many unmatched frames the sound is a different one, and the search ends."""
_BLOCK_FRAMES = 2_400
"""Block size of `follow`: 50 ms, in which 500 ppm amount to 1.2 samples."""
_NEAR_FRAMES = 48
_FAR_FRAMES = 2 * 48_000
"""Maximum offset of the speech after a gap: skipped, repeated, or played late."""
_ALIKE = 0.8
"""Minimum correlation of a block with the matching sent block."""


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch in which device frames from `device_frame` on equal sent frames from `sent_frame` on."""

    device_frame: int
    sent_frame: int
    frames: int


@dataclass(frozen=True, slots=True)
class Heard:
    """All runs in order, and the mismatches: sent frames that are missing or repeated between runs, emitted samples that were not sent."""

    runs: tuple[Run, ...]
    lost_frames: int
    repeated_frames: int
    foreign_frames: int
    unheard_at_end: int

    @property
    def is_whole(self) -> bool:
        """Whether every sample sent was heard once, in order, unchanged."""
        return self.lost_frames == self.repeated_frames == self.foreign_frames == self.unheard_at_end == 0


def find(emitted: Pcm, sent: Pcm) -> Heard:
    """Find `sent` in the emitted samples."""
    sounding = np.flatnonzero(emitted)
    runs: list[Run] = []
    lost = repeated = foreign = position = 0
    index = 0
    while index < len(sounding):
        at = int(sounding[index])
        frames = _common(emitted[at:], sent[position:])
        if frames < _PROBE_FRAMES and not 0 < frames == len(sent) - position:
            found = _nearest(emitted[at : at + _PROBE_FRAMES], sent, position)
            if found is None:
                foreign += 1
                index += 1
                if foreign > _MAX_FOREIGN_FRAMES:
                    foreign += len(sounding) - index
                    break
                continue
            lost += max(0, found - position)
            repeated += max(0, position - found)
            position = found
            continue
        runs.append(Run(at, position, frames))
        position += frames
        index = int(np.searchsorted(sounding, at + frames))
    return Heard(tuple(runs), lost, repeated, foreign, len(sent) - position)


def _common(left: Pcm, right: Pcm) -> int:
    """Length of the common prefix."""
    most = min(len(left), len(right))
    for start in range(0, most, _STEP_FRAMES):
        end = min(start + _STEP_FRAMES, most)
        different = np.flatnonzero(left[start:end] != right[start:end])
        if len(different):
            return start + int(different[0])
    return most


def _nearest(probe: Pcm, sent: Pcm, position: int) -> int | None:
    """The position of a probe in the speech: the first at or after `position`, else the last of the two seconds before; None if none."""
    if len(probe) < _PROBE_FRAMES:
        return None
    since = max(0, position - _FAR_FRAMES)
    later, earlier = _places(probe, sent[position:]), _places(probe, sent[since : position + _PROBE_FRAMES - 1])
    if (first := next(later, None)) is not None:
        return position + first
    return max((since + place for place in earlier), default=None)


def _places(probe: Pcm, sound: Pcm) -> Iterator[int]:
    for start in np.flatnonzero(sound[: max(0, len(sound) - _PROBE_FRAMES + 1)] == probe[0]):
        if np.array_equal(sound[start : start + _PROBE_FRAMES], probe):
            yield int(start)


@dataclass(frozen=True, slots=True)
class Followed:
    """Blocks of emitted, resampled sound matched with the sent sound, and the number of unmatched blocks."""

    runs: tuple[Run, ...]
    unknown_blocks: int

    @property
    def skipped_frames(self) -> int:
        """Number of sent frames that were skipped, beyond the effect of resampling."""
        return sum(max(0, step) for step in self._steps())

    @property
    def repeated_frames(self) -> int:
        """Number of sent frames that were repeated."""
        return sum(max(0, -step) for step in self._steps())

    def _steps(self) -> list[int]:
        """Jumps on the media timeline. Time taken by unmatched blocks or by silence is not a jump."""
        steps = [later.sent_frame - earlier.sent_frame - earlier.frames for earlier, later in pairwise(self.runs)]
        passed = [later.device_frame - earlier.device_frame - earlier.frames for earlier, later in pairwise(self.runs)]
        taken = [0 if abs(step - time) <= _NEAR_FRAMES else step for step, time in zip(steps, passed, strict=True)]
        return [step for step in taken if abs(step) > _NEAR_FRAMES]


def follow(emitted: Pcm, sent: Pcm) -> Followed:
    """Find blocks of `emitted` in `sent` by correlation, for sound that was resampled to correct drift."""
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
    """Position of a block within `reach` of `expected`, by normalised correlation; None if no position is similar enough."""
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
    """First frame and end (exclusive) of each stretch of sound; silence shorter than `gap_frames` does not split a stretch."""
    sounding = np.flatnonzero(emitted)
    if not len(sounding):
        return []
    breaks = np.flatnonzero(np.diff(sounding) > gap_frames)
    starts = np.concatenate([sounding[:1], sounding[breaks + 1]])
    ends = np.concatenate([sounding[breaks], sounding[-1:]]) + 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


class DeviceClock:
    """Maps a device's frames to times: it runs at its own rate from each start on, including silence."""

    def __init__(self, starts: Sequence[tuple[int, int]], rate_hz: float) -> None:
        """`starts` holds frame and time in ns of each start of the device, in order; `rate_hz` is its true rate."""
        if not starts:
            raise ValueError("the device was never started: nothing was played")
        self._frames = [frame for frame, _ in starts]
        self._times_ns = [time_ns for _, time_ns in starts]
        self.rate_hz = rate_hz

    def time_us(self, frame: int) -> float:
        """Time at which a frame was emitted, CLOCK_MONOTONIC in µs."""
        index = max(0, bisect_right(self._frames, frame) - 1)
        return self._times_ns[index] / 1e3 + (frame - self._frames[index]) * 1e6 / self.rate_hz
