"""Reports that a sound device is lost while a conversation is heard, and when it plays again.

Rules:
1. Each loss of the device is reported as a fault of the head conversation, which stays live: it continues from the same position once there
   is a device again. A conversation that becomes the head while there is none is reported, too.
2. If something of it was heard before, its sound is stalled meanwhile; both start and end of the stall are reported.
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
        """Check the counters, and report their consequences for the head of the queue."""
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
