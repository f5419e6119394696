"""Virtual time: a playback engine, a sound card with its own clock, and scheduled actions."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from avatar_relay.messages import PlayerEventBody
from edge_client.audio.sink import Anchor
from edge_client.audio.sinks.virtual import PERIOD_US, Tap, VirtualDevice
from edge_client.playback.engine import Message, PlaybackEngine
from edge_client.playback.events import ConversationEvent, Output, PlaybackConfig
from tests.edge_client.playback_bench import RATE_HZ, REAL_DECODERS, PlainSink, SteppedSink

TICK_US = 10_000


class SoundCard(SteppedSink):
    """A virtual device whose clock runs `ppm` fast, and that can be stalled (an xrun, or the restart of a driver)."""

    def __init__(self, tap: Tap, *, ppm: float = 0.0) -> None:
        super().__init__()
        self._period_us = PERIOD_US / (1 + ppm * 1e-6)
        self.device = VirtualDevice(rate_hz=RATE_HZ, tap=tap, speed=1 + ppm * 1e-6)
        self._due_us = 0.0
        self._standing: Anchor | None = None

    @property
    def due_us(self) -> int:
        """When the next block is due."""
        return round(self._due_us)

    def step(self, time_us: int) -> None:
        """Play the block that is due."""
        self._standing = None
        super().step(time_us)
        self._due_us += self._period_us

    def stand(self, now_us: int, duration_us: int) -> None:
        """Play nothing for a while; no samples are lost."""
        self._standing = standing(super().anchor(), now_us)
        self._due_us += duration_us

    def anchor(self) -> Anchor | None:
        """See `AudioSink`."""
        return super().anchor() if self._standing is None else self._standing


class PlainCard(PlainSink):
    """Exactly the pulled samples, without fades, on an even grid; it too can be stalled."""

    def __init__(self) -> None:
        super().__init__()
        self.due_us = 0
        self._standing: Anchor | None = None

    def step(self, time_us: int) -> None:
        """Play the block that is due."""
        self._standing = None
        super().step(time_us)
        self.due_us += PERIOD_US

    def stand(self, now_us: int, duration_us: int) -> None:
        """Play nothing for a while; no samples are lost."""
        self._standing = standing(super().anchor(), now_us)
        self.due_us += duration_us

    def anchor(self) -> Anchor | None:
        """See `AudioSink`."""
        return super().anchor() if self._standing is None else self._standing


def standing(anchor: Anchor | None, now_us: int) -> Anchor | None:
    """An anchor at the current position, with playout stopped."""
    return None if anchor is None else Anchor(anchor.frame_at(now_us), now_us, 0.0, anchor.limit_frame)


class World:
    """Runs a player. Actions scheduled for one instant run in the order of scheduling: before the tick, after the card."""

    def __init__(self, card: SoundCard | PlainCard, config: PlaybackConfig | None = None) -> None:
        self.card = card
        self.playback = PlaybackEngine(sink=card, decoders=REAL_DECODERS, config=config)
        card.start(self.playback)
        self.now_us = 0
        self.outputs: list[tuple[int, Output]] = []
        self._tick_us = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time_us: int, action: Callable[[], None]) -> None:
        """Schedule an action."""
        heapq.heappush(self._events, (max(time_us, self.now_us), next(self._order), action))

    def arrive(self, time_us: int, message: Message) -> None:
        """Schedule a message from the relay."""
        self.at(time_us, lambda: self.playback.handle(message, self.now_us))

    def run(self, until_us: int) -> None:
        """Advance the time."""
        while True:
            event_us = self._events[0][0] if self._events else until_us
            next_us = min(self.card.due_us, event_us, self._tick_us)
            if next_us >= until_us:
                self.now_us = until_us
                return
            self.now_us = next_us
            if self.card.due_us <= next_us:
                self.card.step(next_us)
            elif event_us <= next_us:
                heapq.heappop(self._events)[2]()
            else:
                self.outputs.extend((next_us, output) for output in self.playback.tick(next_us))
                self._tick_us += TICK_US

    def events(self, conversation_id: str | None = None) -> list[PlayerEventBody]:
        """The player's reports on a conversation, or on all."""
        return [
            output.body
            for _, output in self.outputs
            if isinstance(output, ConversationEvent) and conversation_id in (None, output.conversation_id)
        ]
