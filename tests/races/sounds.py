"""The sound of each conversation, and how much of it was sent."""

from __future__ import annotations

import numpy as np

from edge_client.audio.sink import Pcm
from tests.edge_client.playback_bench import RATE_HZ

PAYLOAD_FRAMES = RATE_HZ // 50
"""20 ms."""
LONGEST_FRAMES = RATE_HZ
_SIGNALS: dict[int, Pcm] = {}


def signal_of(number: int) -> Pcm:
    """The sound of the conversation with this number: noise without zeros, unique to it."""
    if number not in _SIGNALS:
        _SIGNALS[number] = np.random.default_rng(number).integers(1, 30_000, LONGEST_FRAMES, np.int16)
    return _SIGNALS[number]


class Sounds:
    """The sounds of one schedule."""

    def __init__(self) -> None:
        self.signals: dict[str, Pcm] = {}
        self.said_frames: dict[str, int] = {}

    def begin(self) -> str:
        """Register a new conversation; returns its id."""
        conversation_id = str(len(self.signals))
        self.signals[conversation_id] = signal_of(len(self.signals))
        self.said_frames[conversation_id] = 0
        return conversation_id

    def first(self) -> bytes:
        """The first sound of the next conversation."""
        return signal_of(len(self.signals))[:PAYLOAD_FRAMES].astype("<i2").tobytes()

    def following(self, conversation_id: str) -> bytes:
        """Its next sound; empty once it is long enough."""
        at = self.said_frames[conversation_id]
        return self.signals[conversation_id][at : at + PAYLOAD_FRAMES].astype("<i2").tobytes()

    def took(self, conversation_id: str, data: bytes) -> None:
        """Record that `data` was sent."""
        self.said_frames[conversation_id] += len(data) // 2
