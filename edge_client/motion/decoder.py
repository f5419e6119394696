"""The interface of motion decoders, which turn payloads into poses. One decoder for each conversation; not thread-safe."""

from __future__ import annotations

from typing import Protocol

from avatar_relay.reasons import Fault
from edge_client.motion.pose import Poses
from edge_client.motion.track import MotionTrack


class MotionDecoder(Protocol):
    """Decodes whole payloads, each independently."""

    def decode(self, data: bytes) -> Poses:
        """Return the payload's keyframes for the track, perhaps none; all values are finite. Raises `UndecodableError`."""
        ...

    def make_track(self, keyframes_per_second: float) -> MotionTrack:
        """Make an empty track for the keyframes that `decode` returns."""
        ...

    def complaint(self) -> Fault | None:
        """Return a fault of motion that is used nevertheless, each fault once; None if there is none."""
        ...
