"""A `LIVE` conversation of any length: an endless sine, over a network, into a sound card that drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from avatar_relay.media import Kind, Pacing, Payload
from avatar_relay.messages import ConversationEnd, Finished, Media
from edge_client.audio.sink import Pcm
from tests.edge_client.playback_bench import RATE_HZ, open_
from tests.edge_client.simulation.network import Network
from tests.edge_client.simulation.world import SoundCard, World

PAYLOAD_US = 20_000
SINE_HZ = 450
"""Nine periods a payload: all payloads are equal."""
AMPLITUDE = 16_000
MINUTE_US = 60_000_000


@dataclass
class Listener:
    """Receives the card's output, and keeps figures only."""

    largest_step: float = 0.0
    """Steps beyond the sine's own, as a fraction of full scale."""
    sounding: int = 0
    silent: int = 0
    _last: int = 0
    _own: float = field(default=2 * np.pi * SINE_HZ / RATE_HZ * AMPLITUDE)

    def hear(self, block: Pcm) -> None:
        """Count a block as played."""
        steps = np.abs(np.diff(block.astype(np.int32), prepend=self._last))
        self.largest_step = max(self.largest_step, (float(steps.max()) - self._own) / 32_768)
        self._last = int(block[-1])
        self.sounding += int(np.count_nonzero(np.abs(block) > 50))
        self.silent += int(not block.any())


@dataclass(frozen=True)
class LiveFigures:
    """The result. Delays are from sending to hearing, in ms; those of the first minute do not count."""

    minutes: float
    ppm: float
    gaps_by_minute: tuple[int, ...]
    """How often sound was missing when it was due, whether filler covered it or not."""
    delay_min_ms: float
    delay_p50_ms: float
    delay_max_ms: float
    delay_first_ms: float
    delay_last_ms: float
    largest_step_dbfs: float
    skipped_payloads: int
    finished: int
    pts_is_monotone: bool

    @property
    def gaps_after_first_minute(self) -> int:
        """Gaps after the first minute; at most one in ten minutes is allowed."""
        return sum(self.gaps_by_minute[1:])


def _stand(world: World, card: SoundCard, length_us: int) -> None:
    card.stand(world.now_us, length_us)


def run_live(network: Network, *, minutes: float, ppm: float = 0.0, seed: int = 0, xruns: Sequence[tuple[int, int]] = ()) -> LiveFigures:
    """Play it, and return the result. `xruns`: when the card stalls, and for how long."""
    listener = Listener()
    card = SoundCard(listener.hear, ppm=ppm)
    world = World(card)
    for begin_us, length_us in xruns:
        world.at(begin_us, partial(_stand, world, card, length_us))
    count = round(minutes * MINUTE_US / PAYLOAD_US)
    wave = AMPLITUDE * np.sin(2 * np.pi * SINE_HZ * np.arange(RATE_HZ * PAYLOAD_US // 1_000_000) / RATE_HZ)
    data = np.rint(wave).astype("<i2").tobytes()
    last = np.rint(wave * np.linspace(1, 0, len(wave))).astype("<i2").tobytes()
    arrivals = network.arrivals(count, PAYLOAD_US, np.random.default_rng(seed))
    world.arrive(0, open_("a", motion=None, pacing=Pacing.LIVE))
    for index, arrival_us in enumerate(arrivals):
        payload = Payload(Kind.AUDIO, index + 1, data if index + 1 < count else last, index * PAYLOAD_US, PAYLOAD_US)
        world.arrive(arrival_us, Media("a", (payload,)))
    world.arrive(arrivals[-1] + PAYLOAD_US, ConversationEnd("a", count, 0))
    gaps: list[int] = []
    delays: list[float] = []
    pts: list[int] = []
    step_us = 200_000
    for now_us in range(step_us, round(minutes * MINUTE_US) + step_us, step_us):
        world.run(now_us)
        position = world.playback.audible(now_us)
        if position is not None:
            pts.append(position.pts_us)
            delays.append((now_us - position.pts_us) / 1_000)
        if now_us % MINUTE_US == 0 or now_us >= minutes * MINUTE_US:
            gaps.append(world.playback.summary().filled_gaps - sum(gaps))
    world.run(world.now_us + 3_000_000)
    settled = delays[min(300, len(delays) // 2) :]
    return LiveFigures(
        minutes=minutes,
        ppm=ppm,
        gaps_by_minute=tuple(gaps),
        delay_min_ms=min(settled),
        delay_p50_ms=float(np.median(settled)),
        delay_max_ms=max(settled),
        delay_first_ms=delays[0],
        delay_last_ms=delays[-1],
        largest_step_dbfs=round(float(20 * np.log10(max(listener.largest_step, 1e-5))), 1),
        skipped_payloads=world.playback.summary().late_payloads,
        finished=sum(isinstance(body, Finished) for body in world.events("a")),
        pts_is_monotone=pts == sorted(pts),
    )
