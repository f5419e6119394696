"""What turns motion payloads into poses. One decoder for each conversation; not thread-safe."""

from __future__ import annotations

from typing import Protocol

from edge_client.motion.pose import Poses


class MotionDecoder(Protocol):
    """Decodes whole payloads, each by itself."""

    def decode(self, data: bytes) -> Poses:
        """The payload's keyframes, perhaps none; all values finite. Raises `UndecodableError`."""
        ...
