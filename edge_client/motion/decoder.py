"""What turns motion payloads into poses. One decoder for each conversation; not thread-safe."""

from __future__ import annotations

from typing import Protocol

from avatar_relay.reasons import Fault
from edge_client.motion.pose import Poses
from edge_client.motion.track import MotionTrack


class MotionDecoder(Protocol):
    """Decodes whole payloads, each by itself."""

    def decode(self, data: bytes) -> Poses:
        """The payload's keyframes for the track, perhaps none; all values finite. Raises `UndecodableError`."""
        ...

    def make_track(self, keyframes_per_second: float) -> MotionTrack:
        """An empty track for what `decode` returns."""
        ...

    def complaint(self) -> Fault | None:
        """What is wrong with motion that is used nevertheless; each fault is returned once."""
        ...
