"""Collects the engine's reports until the next tick takes them.

Events and faults are sent at once and in order. A fault of a conversation is reported once. Drops, cursors and credit are accumulated, so
that many payloads need few messages; a conversation's drops are reported before its `finished`.
"""

from __future__ import annotations

from avatar_relay.media import Cursor
from avatar_relay.messages import ConversationError, Finished, Held, PlayerEventBody
from avatar_relay.reasons import Fault, Reason
from edge_client.observer import PlaybackObserver
from edge_client.playback.events import ConversationEvent, Output
from edge_client.playback.ledgers import CreditLedger, DropLedger
from edge_client.playback.playing import Playing

HELD_PERIOD_US = 3_000_000
"""Minimum interval between cursors: they only show the relay what it may discard, and `hello` repeats them."""
HELD_AT_ONCE_BYTES = 512 << 10
"""Unless this much was received since: the relay keeps 4 MiB of a conversation."""


class Reports:
    """Collects reports. Not thread-safe."""

    def __init__(self, credit: CreditLedger, drops: DropLedger, observer: PlaybackObserver) -> None:
        self._credit = credit
        self._drops = drops
        self._observer = observer
        self._outputs: list[Output] = []
        self._touched: dict[str, Playing] = {}
        self._cursors: dict[str, Cursor] = {}
        self._changed: dict[str, Cursor] = {}
        self._held_told_us = -HELD_PERIOD_US
        self._held_told_bytes = 0

    def event(self, conversation_id: str, body: PlayerEventBody) -> None:
        """Report an event."""
        self._outputs.append(ConversationEvent(conversation_id, body))

    def fault(self, conversation_id: str, fault: Fault) -> None:
        """Report a fault."""
        self._outputs.append(ConversationError(conversation_id, fault))

    def fault_of(self, playing: Playing, fault: Fault | None) -> None:
        """Report a fault of a live conversation.

        Only the first fault of each reason is reported, except for irregularities, which occur once each.
        """
        if fault is not None and (fault.reason is Reason.AUDIO_IRREGULAR or fault.reason not in playing.told):
            playing.told.add(fault.reason)
            self.fault(playing.conversation_id, fault)

    def cursor(self, playing: Playing) -> None:
        """Mark a conversation whose cursor may have advanced; it is looked up when cursors are due."""
        self._touched[playing.conversation_id] = playing

    def _look_up(self, playing: Playing) -> None:
        cursor = playing.cursor
        if self._cursors.get(playing.conversation_id, Cursor(playing.conversation_id)) != cursor:
            self._cursors[playing.conversation_id] = self._changed[playing.conversation_id] = cursor

    def finished(self, conversation_id: str, body: Finished, now_us: int) -> None:
        """Report that a conversation is over."""
        if (playing := self._touched.pop(conversation_id, None)) is not None:
            self._look_up(playing)
        self._cursors.pop(conversation_id, None)
        self._credit.hurry()
        for dropped in self._drops.tell(conversation_id):
            self.event(conversation_id, dropped)
            self._observer.dropped(conversation_id, dropped, now_us)
        self.event(conversation_id, body)
        self._observer.finished(conversation_id, body, now_us)

    def take(self, now_us: int) -> list[Output]:
        """All reports to send now, in order."""
        for conversation_id, dropped in self._drops.tell_due(now_us):
            self.event(conversation_id, dropped)
            self._observer.dropped(conversation_id, dropped, now_us)
        credit = self._credit.grant(now_us)
        if credit is not None:
            self._outputs.append(credit)
        much = self._credit.received_bytes - self._held_told_bytes >= HELD_AT_ONCE_BYTES
        if (self._touched or self._changed) and (much or now_us - self._held_told_us >= HELD_PERIOD_US):
            self._tell_cursors(now_us)
        outputs, self._outputs = self._outputs, []
        return outputs

    def _tell_cursors(self, now_us: int) -> None:
        for playing in self._touched.values():
            self._look_up(playing)
        self._touched.clear()
        if self._changed:
            self._held_told_us, self._held_told_bytes = now_us, self._credit.received_bytes
            self._outputs.append(Held(tuple(self._changed.values())))
            self._changed = {}
