"""Mouth motion from the sound that is about to be heard, computed on the device with the analyser that the relay's source uses.

Rules
1. It receives sound when it is released, ahead of its time, and produces mouths on the same media line. It needs some 0.5 s more sound
   than the position of a mouth. `LIVE` does not have that: there it uses an analyser that needs `LOOK_AHEAD_S`, analyses all waiting
   sound at once, and holds the last mouth for `LIVE_HOLD_US` if the next one is late.
2. Receiving only queues the sound, so that its release costs nothing. The thread that draws analyses it, between pictures. If nothing
   draws, nothing is analysed: beyond `MAX_WAITING` pieces the oldest sound is dropped.
3. If the media line jumps, analysis restarts; filler that is not part of the line is ignored.
4. Its share is how much of the mouth it moves if there is motion: 0 none, 1 all. If it detects lips that touch, they touch at any
   share over `CLOSES_FROM`. If motion is missing it moves the whole mouth, whatever its share.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from avatar_relay.mouth.analyser import MouthAnalyser
from avatar_relay.mouth.live_analyser import LIVE_KEYFRAMES_PER_SECOND, LiveMouthAnalyser
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, KEYFRAMES_PER_SECOND, Mouths, to_weights
from edge_client.motion.pose import POSE_SIZE, Pose
from edge_client.motion.track import MotionTrack, Sample

STEP_S = 0.1
"""Sound analysed at once: the analyser takes about as long for one frame of 10 ms as for ten."""
CALL_S = 0.5
"""Most sound analysed by one call: 1 to 3 ms of work."""
MAX_WAITING = 1_000
"""Pieces of at most `STEP_S`: more than playback holds decoded, even in packets of 2.5 ms."""
JUMP_S = 0.02
"""Largest deviation of the line from the sound (drift is corrected) before the analysis restarts."""
LIVE_HOLD_US = 120_000
CLOSES_FROM = 0.25

_MOUTH = np.array([index for index, name in enumerate(ARKIT_NAMES) if name.startswith(("jaw", "mouth", "tongue"))])
_COLUMNS = np.array([ARKIT_INDEX[name] for name in BLENDSHAPE_NAMES])
_CLOSED = [ARKIT_INDEX["mouthPressLeft"], ARKIT_INDEX["mouthPressRight"]]
_FULLY_CLOSED = 0.3  # press weight of the analyser's closed lips


@dataclass(slots=True)
class _Passage:
    """Sound without a jump: where it began, and how much of it has been received."""

    analyser: MouthAnalyser | LiveMouthAnalyser
    start_us: float
    frames: int = 0
    keyframes: int = 0
    waiting: list[NDArray[np.int16]] = field(default_factory=list)
    waiting_frames: int = 0

    def analyse(self) -> Mouths:
        """Analyse the waiting sound; returns the mouths known so far."""
        sound = np.concatenate(self.waiting)
        self.waiting, self.waiting_frames = [], 0
        return self.analyser.push(sound / 32_768.0)


class AudioMouth:
    """The mouth of one conversation.

    `hear` and `end` belong to the thread that releases sound, `analyse` and `sample` to the one that draws; a deque connects them.
    """

    def __init__(self, rate_hz: int, share: float, *, live: bool = False) -> None:
        """`share` (0 to 1): rule 4. `live`: rule 1."""
        self.share = share
        self._rate_hz = rate_hz
        self._live = live
        self._keyframes_per_second = LIVE_KEYFRAMES_PER_SECOND if live else KEYFRAMES_PER_SECOND
        self._waiting: deque[tuple[float, NDArray[np.int16]] | None] = deque(maxlen=MAX_WAITING)
        self._ended = True
        self._passage: _Passage | None = None
        self._track = MotionTrack(self._keyframes_per_second)

    def hear(self, pts_us: float, pcm: NDArray[np.int16]) -> None:
        """Queue sound of the media line, starting at `pts_us`, to be analysed later."""
        step = round(STEP_S * self._rate_hz)
        for start in range(0, len(pcm), step):
            self._waiting.append((pts_us + start * 1e6 / self._rate_hz, pcm[start : start + step]))
        self._ended = False

    def end(self) -> None:
        """Mark the end of the sound, so that all of it is analysed. Sound may follow, as a new beginning. A repeated call does nothing."""
        if not self._ended:
            self._waiting.append(None)
            self._ended = True

    def analyse(self) -> bool:
        """Analyse up to `CALL_S` of the waiting sound; returns whether there was any."""
        found, frames = False, 0
        while self._waiting and frames < CALL_S * self._rate_hz:
            found, sound = True, self._waiting.popleft()
            if sound is None:
                self._finish()
            else:
                self._hear(*sound)
                frames += len(sound[1])
        if self._live and self._passage is not None and self._passage.waiting:
            self._add(self._passage, self._passage.analyse())
        return found

    def sample(self, pts_us: int) -> Sample | None:
        """Return the mouth at a position, all else at rest. Discards earlier mouths."""
        self._track.prune(pts_us)
        found = self._track.sample(pts_us)
        if found is None or found.covered or not self._live:
            return found
        return Sample(found.pose, found.pts_us, pts_us - found.pts_us <= LIVE_HOLD_US)

    def _hear(self, pts_us: float, pcm: NDArray[np.int16]) -> None:
        passage = self._passage
        if passage is None or abs(passage.start_us + passage.frames * 1e6 / self._rate_hz - pts_us) > JUMP_S * 1e6:
            self._finish()
            analyser = LiveMouthAnalyser(self._rate_hz) if self._live else MouthAnalyser(self._rate_hz)
            passage = self._passage = _Passage(analyser, pts_us)
        passage.frames += len(pcm)
        passage.waiting.append(pcm)
        passage.waiting_frames += len(pcm)
        if passage.waiting_frames >= STEP_S * self._rate_hz:
            self._add(passage, passage.analyse())

    def _finish(self) -> None:
        if self._passage is not None:
            if self._passage.waiting:
                self._add(self._passage, self._passage.analyse())
            self._add(self._passage, self._passage.analyser.finish())
            self._passage = None

    def _add(self, passage: _Passage, mouths: Mouths) -> None:
        if len(mouths):
            start_us = round(passage.start_us + passage.keyframes * 1e6 / self._keyframes_per_second)
            passage.keyframes += len(mouths)
            poses = np.zeros((len(mouths), POSE_SIZE), np.float32)
            poses[:, _COLUMNS] = to_weights(mouths)
            self._track.add(start_us, poses)


def with_mouth(pose: Pose, heard: Pose, share: float) -> Pose:
    """Return a new pose with a share of the mouth from sound; lips that touch in the sound touch in the result."""
    mixed = pose.copy()
    mixed[_MOUTH] = pose[_MOUTH] + (heard[_MOUTH] - pose[_MOUTH]) * np.float32(share)
    if share >= CLOSES_FROM:
        closed = np.float32(min(1.0, float(heard[_CLOSED].max()) / _FULLY_CLOSED))
        mixed[_MOUTH] += (heard[_MOUTH] - mixed[_MOUTH]) * closed
    return mixed
