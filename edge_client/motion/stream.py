"""The motion of one conversation, from payloads to its track. Payloads are decoded on arrival; their bytes are held against credit until
their time has passed.
"""

from __future__ import annotations

import heapq

from avatar_relay.media import MotionFormat, Payload
from avatar_relay.reasons import DropReason, Fault, Reason
from edge_client.errors import UndecodableError
from edge_client.motion.decoder import MotionDecoder
from edge_client.motion.pose import Poses

MAX_AHEAD = 32
"""Sequences remembered beyond a missing one; after that the missing one is given up, and the cursor advances. A relay drops motion if
the link is too narrow."""


class MotionStream:
    """The motion of one conversation. Not thread-safe."""

    def __init__(self, decoder: MotionDecoder, format: MotionFormat) -> None:
        self._decoder = decoder
        self.track = decoder.make_track(format.keyframes_per_second)
        self._ahead: set[int] = set()
        self.cursor = 0
        """All payloads up to this sequence have been received."""
        self._in_use: list[tuple[int, int]] = []
        self._length_us = 0

    @property
    def length_us(self) -> int:
        """End of the motion received, decodable or not."""
        return max(self._length_us, self.track.length_us)

    def decode(self, payload: Payload) -> Poses | DropReason | Fault:
        """Return a payload's keyframes, to be passed to `place`; or the reason why it is not used."""
        if payload.seq <= self.cursor or payload.seq in self._ahead:
            return DropReason.DUPLICATE
        if payload.pts_us is None:
            return Fault(Reason.PAYLOAD_INVALID, f"motion payload {payload.seq} has no pts_us", "media.payloads.pts_us")
        self._arrived(payload.seq)
        self._length_us = max(self._length_us, payload.pts_us + payload.duration_us)
        try:
            return self._decoder.decode(payload.data)
        except UndecodableError as error:
            return Fault(Reason.MOTION_UNDECODABLE, f"motion payload {payload.seq}: {error}", "media.payloads.data")

    def complaint(self) -> Fault | None:
        """Return a fault of motion that is used nevertheless, each fault once; None if there is none."""
        return self._decoder.complaint()

    def place(self, payload: Payload, poses: Poses, audible_pts_us: int) -> DropReason | None:
        """Put decoded keyframes on the track, and hold their bytes; returns None, or the reason why they were not placed."""
        assert payload.pts_us is not None
        end_us = payload.pts_us + round(len(poses) * self.track.step_us)
        if len(poses) and end_us <= audible_pts_us:
            return DropReason.LATE
        if not self.track.add(payload.pts_us, poses):
            return DropReason.BUFFER_FULL
        heapq.heappush(self._in_use, (end_us, len(payload.data)))
        return None

    def pass_by(self, pts_us: int) -> int:
        """Discard motion before a position; returns the number of bytes freed."""
        self.track.prune(pts_us)
        freed = 0
        while self._in_use and self._in_use[0][0] <= pts_us:
            freed += heapq.heappop(self._in_use)[1]
        return freed

    def close(self) -> int:
        """Release the bytes of all motion, as nothing more will be shown; returns their number."""
        freed = sum(count for _, count in self._in_use)
        self._in_use.clear()
        return freed

    def _arrived(self, seq: int) -> None:
        self._ahead.add(seq)
        if len(self._ahead) > MAX_AHEAD:
            self.cursor = min(self._ahead) - 1
        while self.cursor + 1 in self._ahead:
            self.cursor += 1
            self._ahead.discard(self.cursor)
