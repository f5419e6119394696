"""Gives audio priority over motion on a narrow link. Pure.

Rules, while the link to a device is narrow (`congestion`)
- Audio is sent first, up to `SOUND_AHEAD_US` ahead of motion.
- Motion that would arrive too late is dropped; of the motion due soon after that, every second payload.
- A payload that was sent in part is not dropped.
The playback position is estimated from the device's events: started, stalled, paused, resumed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from avatar_relay.media import Kind
from avatar_relay.messages import Paused, PlayerEventBody, Resumed, Stalled, Started
from relay_server.core.payload_batch import PayloadBatch

SOUND_AHEAD_US = 2_000_000
ON_ITS_WAY_US = 800_000
"""With `BURST` pacing, motion due sooner than this would arrive too late."""
SOON_US = 2_000_000
"""Of the motion due within this time, every second payload is dropped."""


@dataclass(slots=True)
class Playhead:
    """Playback position of a conversation on a device, estimated from its events."""

    position_us: int = 0
    since_us: int | None = None
    """When playback continued from `position_us`; None while it is stopped."""

    def at(self, now_us: int) -> int:
        """The position at `now_us`, in µs."""
        return self.position_us + (now_us - self.since_us if self.since_us is not None else 0)

    def tell(self, body: PlayerEventBody, now_us: int) -> None:
        """Update the position from a player event."""
        match body:
            case Started() if self.since_us is None:
                self.position_us, self.since_us = 0, now_us
            case Resumed():
                self.position_us, self.since_us = body.position_us, now_us
            case Paused():
                self.position_us, self.since_us = body.position_us, None
            case Stalled(stalled, Kind.AUDIO):
                self.position_us, self.since_us = self.at(now_us), None if stalled else now_us
            case _:
                pass


def drop_motion(waiting: deque[PayloadBatch], *, sent_seq: int, late_before_us: int, thin_before_us: int) -> list[PayloadBatch]:
    """Remove late motion from `waiting` and return it. `sent_seq` is the last payload sent, completely or in part."""
    dropped: list[PayloadBatch] = []
    kept: deque[PayloadBatch] = deque()
    while waiting and waiting[0].due_us[0] < thin_before_us:
        batch = waiting.popleft()
        goes = [
            seq > sent_seq and (due_us < late_before_us or (due_us < thin_before_us and seq % 2 == 0))
            for seq, due_us in zip(batch.seqs, batch.due_us, strict=True)
        ]
        for part, yields in ((batch.only(goes), dropped), (batch.only([not one for one in goes]), kept)):
            if part is not None:
                yields.append(part)
    waiting.extendleft(reversed(kept))
    return dropped
