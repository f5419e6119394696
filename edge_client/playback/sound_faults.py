"""Tells of a sound device that is lost while a conversation is heard, and when it plays again.

Rules:
1. A device that is lost is a fault of the conversation that is at its head, each time, and the conversation lives: it goes on
   where it was as soon as there is a device again. One that comes to the head while there is none is told, too.
2. Where something of it was heard before, its sound is stalled meanwhile, and told so at both ends.
"""

from __future__ import annotations

from avatar_relay.media import Kind
from avatar_relay.messages import Stalled
from avatar_relay.reasons import Fault, Reason
from edge_client.audio.sink import SinkCounters
from edge_client.playback.playing import Playing
from edge_client.playback.reports import Reports


class SoundFaults:
    """Watches one sink's counters. Not thread-safe."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._restarts = 0
        self._told: Playing | None = None
        self._stalled: Playing | None = None

    def tell(self, head: Playing | None, counters: SinkCounters) -> None:
        """Look at the counters, and say what they mean for the head of the queue."""
        if counters.restarts > self._restarts or (counters.lost and head is not self._told):
            self._restarts = counters.restarts
            self._lost(head, counters)
        if counters.lost:
            self._told = head
            return
        self._told = None
        if self._stalled is not None:
            if self._stalled is head:
                self._reports.event(self._stalled.conversation_id, Stalled(False, Kind.AUDIO))
            self._stalled = None

    def _lost(self, head: Playing | None, counters: SinkCounters) -> None:
        if head is None:
            return
        reason = counters.lost or counters.last_fault
        text = f"no sound device; the sound continues as soon as there is one: {reason}"
        self._reports.fault(head.conversation_id, Fault(Reason.AUDIO_DEVICE_FAILED, text))
        if head.started and self._stalled is None:
            self._stalled = head
            self._reports.event(head.conversation_id, Stalled(True, Kind.AUDIO))
