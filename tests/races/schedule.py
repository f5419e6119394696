"""Seeded random schedules: messages of two backends through a real relay cross with the reports of a real player.

Interrupts, ends, replacements, queued conversations, late media, pauses, cuts of each leg (which the relay may notice late, or
only when the peer is back) and relays that are killed and replaced occur in any order; the schedule decides when each message arrives.
Finally all streams are restored, all conversations are ended, and must finish. `judge` has the conditions that must hold.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from avatar_relay.media import OnPlaying
from avatar_relay.publisher.playback_tracker import ConversationFinished
from avatar_relay.reasons import FinishReason
from relay_server.config import RelayConfig
from relay_server.connections.clocks import Clocks
from relay_server.connections.relay import Relay
from tests.edge_client.playback_bench import RATE_HZ
from tests.edge_client.simulation.schedules import judge_sound
from tests.races.backend import DEVICE, Backend
from tests.races.edge import Edge
from tests.races.legs import Leg
from tests.races.sounds import Sounds

STEPS = 80
SETTLED_WITHIN_US = 60_000_000
_STRIDE_US = 50_000
NO_TIMEOUTS = RelayConfig(heartbeat_us=1_000_000_000, peer_timeout_us=2_000_000_000)
"""No peer times out: a schedule cuts streams itself. Leases are unchanged."""
_ACTS = {
    "speak": 20,
    "end": 10,
    "interrupt": 4,
    "late motion": 6,
    "motion": 6,
    "hold": 3,
    "cut": 2,
    "notice": 3,
    "move": 70,
    "wait": 30,
    "kill": 0.3,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The faults found in a schedule; none if it passed."""

    seed: int
    conversations: int
    cuts: int
    crossed: int
    """Number of conversations that completed although an interrupt of them was in flight."""
    faults: tuple[str, ...]


class Judged(Protocol):
    """A schedule that has run, for `judge_what_was`."""

    sounds: Sounds
    backends: list[Backend]
    edge: Edge
    cuts: int

    @property
    def replacing(self) -> set[str]:
        """Conversations that replaced what played."""
        ...


class Schedule:
    """One schedule."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now_us = 0
        self._numbers = itertools.count(1)
        self.relay = self._new_relay()
        self.sounds = Sounds()
        self.backends = [Backend(name, self.sounds, self._clock) for name in ("a", "b")]
        self.edge = Edge(self._clock)
        self.cuts = 0
        self._stale: list[Leg] = []
        """Streams that are gone without the relay's knowledge."""

    def _clock(self) -> int:
        return self.now_us

    def _new_relay(self) -> Relay:
        encode: Any = lambda payload: payload  # noqa: E731 - nothing is encoded here
        clocks = Clocks(self._clock, self._clock)
        return Relay(NO_TIMEOUTS, clocks, random_bytes=lambda count: next(self._numbers).to_bytes(count, "big"), encode=encode)

    @property
    def replacing(self) -> set[str]:
        """Conversations that replaced what played."""
        return {cid for backend in self.backends for cid in backend.said_by[OnPlaying.REPLACE]}

    @property
    def peers(self) -> list[Backend | Edge]:
        """The parties with a stream."""
        return [*self.backends, self.edge]

    def run(self) -> None:
        """Perform random actions, then end everything."""
        for peer in self.peers:
            peer.connect(self.relay)
            self._exchange_all()
        acts, weights = list(_ACTS), list(_ACTS.values())
        for act in self.chance.choices(acts, weights, k=STEPS):
            self._act(act)
        self._settle()

    def _act(self, act: str) -> None:
        chance = self.chance
        backend, how = chance.choice((*self.backends, self.backends[0])), OnPlaying.REPLACE if chance.random() < 0.15 else OnPlaying.QUEUE
        match act:
            case "speak":
                backend.speak(how, chance.randint(1, 4), end=chance.random() < 0.3)
            case "end":
                backend.end(how)
            case "interrupt":
                backend.interrupt(how)
            case "motion" | "late motion" if backend.said:
                backend.move(backend.said[-1] if act == "motion" else chance.choice(backend.said))
            case "hold":
                backend.hold(how, paused=chance.random() < 0.4)
            case "cut":
                self._cut(chance.choice(self.peers))
            case "kill":
                self._kill()
            case "notice" if self._stale:
                self._stale.pop(0).relay_notices()
            case "wait":
                self._pass(chance.choice((5_000, 20_000, 60_000, 200_000)))
            case _:
                for _ in range(chance.randint(1, 12)):
                    self._move()

    # --- messages --------------------------------------------------------------------------------------------------

    def _move(self) -> None:
        """Move one peer's messages by a step in one direction."""
        peer, chance = self.chance.choice(self.peers), self.chance
        if peer.leg is None:
            peer.connect(self.relay)
        elif not peer.leg.standing:
            peer.notice()
        else:
            self._step(peer, chance.choice(("send", "arrive", "leave", "hear")), chance.randint(1, 6))

    def _step(self, peer: Backend | Edge, what: str, count: int) -> bool:
        """Perform a step; returns whether anything moved."""
        leg = peer.leg
        if leg is None:
            return False
        if what == "send":
            return peer.send(count) > 0
        if what == "leave":
            return leg.leave_relay(count) > 0
        moved = 0
        while moved < count and leg.standing and (leg.up if what == "arrive" else leg.down):
            leg.arrive_at_relay() if what == "arrive" else peer.hear()
            moved += 1
        return moved > 0

    def _exchange_all(self) -> None:
        """Deliver all messages."""
        moved = True
        while moved:
            moved = False
            for peer in self.peers:
                for what in ("send", "arrive", "leave", "hear"):
                    moved |= self._step(peer, what, 100)

    def _cut(self, peer: Backend | Edge) -> None:
        if peer.leg is None or not peer.leg.standing:
            return
        self.cuts += 1
        peer.leg.cut()
        if self.chance.random() < 0.5:
            peer.leg.relay_notices()
        else:
            self._stale.append(peer.leg)
        if self.chance.random() < 0.5:
            peer.notice()

    def _kill(self) -> None:
        """Kill the relay and replace it with another one."""
        self.cuts += 1
        self._stale.clear()
        self.relay = self._new_relay()
        for peer in self.peers:
            if peer.leg is not None:
                peer.leg.cut()
                peer.leg.relay_noticed = True
                peer.notice()

    # --- time ------------------------------------------------------------------------------------------------------

    def _pass(self, duration_us: int) -> None:
        until_us = self.now_us + duration_us
        while self.now_us < until_us:
            self.now_us = min(until_us, self.now_us + _STRIDE_US)
            self.edge.pass_time(self.now_us)
            self.relay.tick()

    def _settle(self) -> None:
        """Restore all streams and deliver all messages; then every conversation must end."""
        for leg in self._stale:
            leg.relay_notices()
        for peer in self.peers:
            if peer.leg is None or not peer.leg.standing:
                peer.notice()
                peer.connect(self.relay)
        self._exchange_all()
        for backend in self.backends:
            for how in OnPlaying:
                backend.end(how)
                backend.end(how)
                backend.hold(how, paused=False)
        until_us = self.now_us + SETTLED_WITHIN_US
        while self.now_us < until_us and not self._is_settled:
            self._exchange_all()
            self._pass(100_000)
        self._exchange_all()

    @property
    def _is_settled(self) -> bool:
        return self.edge.is_idle and all(
            record is None or record.is_over for backend in self.backends for cid in backend.said for record in (backend.record(cid),)
        )


def judge(seed: int) -> Verdict:
    """Run a schedule, and check the conditions that must hold."""
    schedule = Schedule(seed)
    try:
        schedule.run()
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise
    return judge_what_was(seed, schedule, [schedule.relay])


def judge_what_was(seed: int, schedule: Judged, relays: Iterable[Relay]) -> Verdict:
    """Check the conditions that must hold after a schedule has run."""
    faults: list[str] = []
    told = dict(schedule.edge.finished)
    if len(told) != len(schedule.edge.finished):
        faults.append(f"finished twice at the device: {Counter(cid for cid, _ in schedule.edge.finished).most_common(3)}")
    faults += [f"{cid} was revived" for cid in schedule.edge.revived]
    crossed = sum(_judge_backend(schedule, backend, faults) for backend in schedule.backends)
    heard = np.concatenate(schedule.edge.card.heard)
    as_opened = sorted(schedule.edge.finished, key=lambda ended: schedule.edge.opened.get(ended[0], -1))
    judge_sound(schedule.sounds.signals, as_opened, heard, faults)
    for relay in relays:
        _judge_relay(relay, faults)
    return Verdict(seed, len(schedule.sounds.signals), schedule.cuts, crossed, tuple(faults))


def _judge_backend(schedule: Judged, backend: Backend, faults: list[str]) -> int:
    """Exactly one end of each conversation is reported: the device's, if it has one. Returns the number of interrupts that crossed it."""
    at_device = dict(schedule.edge.finished)
    crossed = 0
    for cid in backend.said:
        record, told = backend.record(cid), backend.finished[cid]
        outcome = None if record is None else record.playback.outcome
        if len(told) != 1 or not isinstance(outcome, ConversationFinished):
            faults.append(f"{cid} of {backend.name}: told {told}, outcome {outcome}")
            continue
        (body,) = told
        if outcome.by_device != {DEVICE: body}:
            faults.append(f"{cid}: told {body}, outcome {outcome}")
        if cid in at_device and at_device[cid] != body:
            faults.append(f"{cid}: the device said {at_device[cid]}, its publisher was told {body}")
        if body.reason == FinishReason.COMPLETED.value:
            crossed += cid in backend.interrupted
            if body.interrupted or body.position_us * RATE_HZ // 1_000_000 != schedule.sounds.said_frames[cid]:
                faults.append(f"{cid}: completed with {body}, said {schedule.sounds.said_frames[cid]} samples")
        elif body.reason == FinishReason.INTERRUPTED.value and cid not in backend.interrupted and not schedule.replacing - {cid}:
            faults.append(f"{cid}: interrupted, and nobody interrupted or replaced it")
        elif body.reason not in (FinishReason.INTERRUPTED.value, FinishReason.REPLACED.value):
            faults.append(f"{cid}: {body}")
    return crossed


def _judge_relay(relay: Relay, faults: list[str]) -> None:
    """No conversation remains active in the relay, and ended ones stay ended."""
    faults += [f"the relay still plays {list(session.deliveries)}" for session in relay.sessions() if session.deliveries]
    for publisher in relay.publishers.known():
        left = [*publisher.conversations, *publisher.unopened]
        faults += [f"the relay still has {left} of {publisher.key}"] if left else []
