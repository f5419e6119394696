"""Motion yields to sound on a narrow link. Pure.

Rules, while the link to a device is narrow (`congestion`)
- Sound goes ahead: it leaves until it is `SOUND_AHEAD_US` further than motion.
- Motion that would come after its time is dropped; of what is due soon after that, every second payload.
- A payload of which a part has left stays whole.
Where the device is, is reckoned from its events: it began, it stalled, it was paused.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from avatar_relay.media import Kind
from avatar_relay.messages import Paused, PlayerEventBody, Resumed, Stalled, Started
from relay_server.core.payload_batch import PayloadBatch

SOUND_AHEAD_US = 2_000_000
ON_ITS_WAY_US = 800_000
"""`BURST`: motion that is due sooner than this would come too late."""
SOON_US = 2_000_000
"""Of motion that is due within this, one payload of two leaves."""


@dataclass(slots=True)
class Playhead:
    """How far a device has played a conversation, as its events tell."""

    position_us: int = 0
    since_us: int | None = None
    """Since when it moves on from there; None while it stands."""

    def at(self, now_us: int) -> int:
        """The position, in µs."""
        return self.position_us + (now_us - self.since_us if self.since_us is not None else 0)

    def tell(self, body: PlayerEventBody, now_us: int) -> None:
        """The device says something of it."""
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
    """Take out what must yield; returns it. `sent_seq` is the last payload of which something has left."""
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
