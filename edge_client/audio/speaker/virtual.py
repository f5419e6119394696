"""A virtual speaker: it consumes sound from the memory in real time, so that a device without a card continues."""

from __future__ import annotations

import os
import threading
import time

from edge_client.audio.speaker.engine import SpeakerEngine
from edge_client.audio.speaker.memory import SpeakerMemory, create_memory

_PERIOD_US = 10_000
_MAX_OWED_US = 1_000_000
"""A thread that is later than this (a suspended machine) begins a new grid of times."""


class VirtualSpeaker:
    """Plays its `memory` until `close`; the control words are set before `start`. Same rules as the real one."""

    def __init__(self, rate_hz: int) -> None:
        descriptor = create_memory(rate_hz)
        self.memory = SpeakerMemory(descriptor, rate_hz)
        os.close(descriptor)
        self._rate_hz = rate_hz
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="virtual-speaker", daemon=True)

    def start(self) -> None:
        """Start to play."""
        self._thread.start()

    def kill(self) -> None:
        """Does nothing: this thread cannot hang in a driver."""

    def close(self) -> None:
        """Stop, and free the memory."""
        self._stopping.set()
        self._thread.join()
        self.memory.close()

    def _run(self) -> None:
        engine = SpeakerEngine(self.memory, self._rate_hz)
        frames = self._rate_hz * _PERIOD_US // 1_000_000
        due_us = time.monotonic_ns() // 1_000
        while not self._stopping.is_set():
            engine.render(frames, time_us=due_us, delay_frames=0.0, device_dry=False)
            due_us += _PERIOD_US
            now_us = time.monotonic_ns() // 1_000
            if now_us - due_us > _MAX_OWED_US:
                due_us = now_us
            self._stopping.wait(max(0, due_us - now_us) / 1e6)
