"""The buffer of the current card: its size, its stored size, and the log messages about it."""

from __future__ import annotations

import logging
import time

from edge_client.audio.buffer_growth import BufferGrowth
from edge_client.audio.card_memory import CardMemory
from edge_client.audio.speaker.channel import DeviceOpened
from edge_client.choices import Latency

logger = logging.getLogger(__name__)


class BufferTuning:
    """Buffer tuning of one sink. The caller guards it."""

    def __init__(self, rate_hz: int, latency: Latency, cards: CardMemory) -> None:
        self._rate_hz = rate_hz
        self._latency: Latency = latency
        self._cards = cards
        self._growth: BufferGrowth | None = None
        self._card: DeviceOpened | None = None
        self._told: set[str] = set()

    def learned(self) -> dict[str, int]:
        """The callback size that cards need, in frames, by card."""
        return {key: buffer_us * self._rate_hz // 1_000_000 for key, buffer_us in self._cards.buffers_us.items()}

    def opened(self, card: DeviceOpened) -> None:
        """Note that this card plays now."""
        self._card = card
        self._growth = BufferGrowth(card.buffer_frames * 1_000_000 // self._rate_hz, self._latency)

    def has_grown(self, dry_runs: int, *, sounding: bool) -> bool:
        """Whether the card must be reopened with a larger buffer, which is stored."""
        if self._growth is None or self._card is None:
            return False
        buffer_us = self._growth.look(time.monotonic_ns() // 1_000, dry_runs, sounding=sounding)
        if buffer_us is None:
            return False
        self._cards.learn(self._card.key, buffer_us)
        if self._card.key not in self._told:
            self._told.add(self._card.key)
            logger.warning(
                "%s ran dry with %s frames a buffer, and is opened again with %s; an interrupt is heard %.0f ms later. "
                'The setting frames_per_buffer begins with more; latency = "safe" allows more than 50 ms',
                self._card.device,
                self._card.buffer_frames,
                buffer_us * self._rate_hz // 1_000_000,
                2 * (buffer_us / 1e3 - self._card.buffer_frames * 1e3 / self._rate_hz),
            )
        self._growth = None
        return True

    def close(self) -> None:
        """Write what was learned."""
        self._cards.close()
