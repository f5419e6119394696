"""What each conversation sounds like, and how much of it was said."""

from __future__ import annotations

import numpy as np

from edge_client.audio.sink import Pcm
from tests.edge_client.playback_bench import RATE_HZ

PAYLOAD_FRAMES = RATE_HZ // 50
"""20 ms."""
LONGEST_FRAMES = RATE_HZ
_SIGNALS: dict[int, Pcm] = {}


def signal_of(number: int) -> Pcm:
    """The sound of the conversation of this number: noise without zeros, and no two sound alike."""
    if number not in _SIGNALS:
        _SIGNALS[number] = np.random.default_rng(number).integers(1, 30_000, LONGEST_FRAMES, np.int16)
    return _SIGNALS[number]


class Sounds:
    """The sounds of one schedule."""

    def __init__(self) -> None:
        self.signals: dict[str, Pcm] = {}
        self.said_frames: dict[str, int] = {}

    def begin(self) -> str:
        """A new conversation; returns its id."""
        conversation_id = str(len(self.signals))
        self.signals[conversation_id] = signal_of(len(self.signals))
        self.said_frames[conversation_id] = 0
        return conversation_id

    def first(self) -> bytes:
        """The first sound of the conversation that begins next."""
        return signal_of(len(self.signals))[:PAYLOAD_FRAMES].astype("<i2").tobytes()

    def following(self, conversation_id: str) -> bytes:
        """What it says next; nothing more once it was long enough."""
        at = self.said_frames[conversation_id]
        return self.signals[conversation_id][at : at + PAYLOAD_FRAMES].astype("<i2").tobytes()

    def took(self, conversation_id: str, data: bytes) -> None:
        """So much of it was said."""
        self.said_frames[conversation_id] += len(data) // 2
