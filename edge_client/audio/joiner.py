"""Joins a conversation's sound inaudibly: between samples that are not contiguous, and before and after a silence.

Inserted samples represent no samples of the conversation: concealment fills time and consumes no media. The samples themselves are never
changed.
"""

from __future__ import annotations

from edge_client.audio.concealment import Concealment
from edge_client.audio.playout_queue import Chunk
from edge_client.audio.sink import Pcm
from edge_client.audio.stream import Ready


class Joiner:
    """The joiner of one conversation. Not thread-safe."""

    def __init__(self, conversation_id: str, rate_hz: int) -> None:
        self._conversation_id = conversation_id
        self._concealment = Concealment(rate_hz)
        self._next_pts_frame = 0

    @property
    def filled_frames(self) -> int:
        """Filler frames since the last sample."""
        return self._concealment.filled_frames

    def join(self, ready: Ready) -> list[Chunk]:
        """The chunk of the next samples, with a lead-in if they do not follow the previous ones."""
        chunks = []
        follows = ready.pts_frame == self._next_pts_frame and not self._concealment.filled_frames
        if not follows:
            chunks.append(self._filler(self._concealment.lead_in(ready.pcm), ready.pts_frame))
        self._concealment.heard(ready.pcm)
        self._next_pts_frame = ready.pts_frame + len(ready.pcm)
        chunks.append(Chunk(self._conversation_id, ready.pts_frame, len(ready.pcm), ready.pcm))
        return chunks

    def fill(self, frames: int) -> list[Chunk]:
        """Filler for sound that is late: at most `frames`, none once its time limit has passed."""
        if not self._concealment.is_audible or frames <= 0:
            return []
        return [self._filler(self._concealment.fill(frames), self._next_pts_frame)]

    def _filler(self, pcm: Pcm, pts_frame: int) -> Chunk:
        return Chunk(self._conversation_id, pts_frame, 0, pcm)
