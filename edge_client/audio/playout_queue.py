"""Samples on their way to the sink: released and not yet pulled, then pulled and not yet heard.

Rules of the queue:
1. Pushed samples are pulled in order, each once. `pull` only copies: it is called from the sink's thread.
2. Pulled samples are kept until they are heard, so that a clear for one conversation can restore the samples of others.
3. `withdraw` removes a conversation's samples; `rewind` puts samples discarded by a clear back in front.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from edge_client.audio.sink import Pcm
from edge_client.audio.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Chunk:
    """Sound of a conversation from `pts_frame` on, at the sink's rate.

    It represents `pts_frames` samples of the media line: as many as it has if nothing is steered, none if it is filler.
    """

    conversation_id: str
    pts_frame: int
    pts_frames: int
    pcm: Pcm

    def split(self, frames: int) -> tuple[Chunk, Chunk]:
        """The first `frames` samples, and the rest."""
        share = round(self.pts_frames * frames / len(self.pcm))
        rest = Chunk(self.conversation_id, self.pts_frame + share, self.pts_frames - share, self.pcm[frames:])
        return Chunk(self.conversation_id, self.pts_frame, share, self.pcm[:frames]), rest


class PlayoutQueue:
    """The queue of one sink. Not thread-safe; bounded by its callers."""

    def __init__(self, rate_hz: int) -> None:
        self.timeline = Timeline(rate_hz)
        self._queued: deque[Chunk] = deque()
        self.queued_frames = 0
        """Frames that can be pulled."""
        self._pulled: deque[tuple[int, Chunk]] = deque()
        self.pulled_to = 0
        """The content frame that is pulled next."""

    def push(self, chunk: Chunk) -> None:
        """Release samples."""
        if len(chunk.pcm):
            self._queued.append(chunk)
            self.queued_frames += len(chunk.pcm)

    def pull(self, frames: int) -> Pcm:
        """At most `frames` frames."""
        taken: list[Pcm] = []
        left = frames
        while left > 0 and self._queued:
            chunk = self._queued.popleft()
            if len(chunk.pcm) > left:
                chunk, rest = chunk.split(left)
                self._queued.appendleft(rest)
            self._give(chunk)
            taken.append(chunk.pcm)
            left -= len(chunk.pcm)
        return np.concatenate(taken) if taken else np.zeros(0, np.int16)

    def holds(self, conversation_id: str) -> bool:
        """Whether samples of a conversation wait to be pulled."""
        return any(chunk.conversation_id == conversation_id for chunk in self._queued)

    def heard_to(self, frame: float) -> None:
        """Discard samples that were heard before `frame`."""
        while self._pulled and self._pulled[0][0] + len(self._pulled[0][1].pcm) <= frame:
            self._pulled.popleft()
        self.timeline.prune(frame)

    def withdraw(self, conversation_ids: frozenset[str]) -> bool:
        """Remove samples not pulled yet; returns whether some remain that are pulled and perhaps not heard."""
        self._queued = deque(chunk for chunk in self._queued if chunk.conversation_id not in conversation_ids)
        self.queued_frames = sum(len(chunk.pcm) for chunk in self._queued)
        return any(chunk.conversation_id in conversation_ids for _, chunk in self._pulled)

    def rewind(self, frame: int, without: frozenset[str]) -> None:
        """Rewind after a clear: nothing from content frame `frame` on was heard. Samples of other conversations return to the front."""
        back: list[Chunk] = []
        for start, chunk in self._pulled:
            unheard = chunk if start >= frame else chunk.split(min(frame - start, len(chunk.pcm)))[1]
            if len(unheard.pcm) and chunk.conversation_id not in without:
                back.append(unheard)
        self._queued.extendleft(reversed(back))
        self.queued_frames += sum(len(chunk.pcm) for chunk in back)
        self._pulled.clear()
        self.timeline.truncate(frame)

    def _give(self, chunk: Chunk) -> None:
        frames = len(chunk.pcm)
        self.timeline.append(self.pulled_to, frames, chunk.conversation_id, chunk.pts_frame, chunk.pts_frames)
        self._pulled.append((self.pulled_to, chunk))
        self.pulled_to += frames
        self.queued_frames -= frames
