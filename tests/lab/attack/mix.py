"""Runs mixed attacks beside live sessions, then an equally long quiet phase: is anything lost, and is memory released?"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatar_relay.publisher import Publisher
from tests.lab.attack.bars import Bar, missed
from tests.lab.attack.launch import attacked
from tests.lab.attack.victims import Victims, honest_side
from tests.lab.chaos.tapped_relay import look
from tests.lab.history import History
from tests.lab.programs import ProgramError
from tests.lab.speaker import Manner, Speaker

MAX_GROWTH_MIB, MAX_SLOPE_MB_PER_H, MIN_ATTACHED = 64, 4.0, 0.95
LEAK_BYTES = 256
"""What may stay of each cancelled stream: grpc.aio never frees up to three operations of 80 bytes (grpc#43360)."""
MIN_SLOPE_MINUTES = 10
"""The slope is meaningless for a shorter quiet phase."""
AT_ONCE = 2
WARM_UP_S, EVERY_S, SETTLE_S = 20.0, 2.0, 90.0
MANNER = Manner(payloads_per_s=20.0, shortest=20, longest=200, interrupted_share=0.2)


@dataclass
class Mixed:
    """The effect of the mix."""

    minutes: float
    """Length of the attack phase, and of the quiet phase."""
    attacks: int
    failed: int
    """Number of attackers that did not run to their end."""
    not_begun: list[str]
    """Attacks that were not started for lack of time."""
    rss_mib: dict[str, float]
    """At the start, the maximum, at the end of the attacks, and at the end of the quiet phase."""
    most_during: list[str]
    """Attacks running at the time of maximum memory."""
    cancelled: int
    """RPCs cancelled while the relay's handler ran; gRPC leaks memory of such streams."""
    slope_mb_per_h: float
    """Over the second half of the quiet phase."""
    log_lines_per_minute: float
    """During the attack phase; `main` has limits for each attack alone."""
    attaches: int
    attach_failed: int
    attach_worst_s: float
    devices_lost: list[str]
    resumptions: int
    saw_another_tenant: list[str]
    unfinished: int
    """Number of conversations without an outcome in time."""
    histories: dict[str, Any]

    def bars(self) -> list[Bar]:
        """The figures with their limits."""
        rss, long_enough = self.rss_mib, self.minutes >= MIN_SLOPE_MINUTES
        leaked_mib = self.cancelled * LEAK_BYTES / (1 << 20)
        most_mib = rss["start"] + MAX_GROWTH_MIB + leaked_mib
        memory = f"≤ {most_mib:.0f} = {rss['start']:.0f} + {MAX_GROWTH_MIB} + {leaked_mib:.1f}"
        slope = f"≤ {MAX_SLOPE_MB_PER_H:g}" if long_enough else f"none for less than {MIN_SLOPE_MINUTES} minutes"
        begun, unfinished = self.attaches + self.attach_failed, self.histories["violations"] + self.unfinished
        return [
            Bar(
                "memory after the quiet phase, MiB",
                f"{rss['end']}",
                f"{memory} ({LEAK_BYTES} B × {self.cancelled} streams)",
                rss["end"] <= most_mib,
            ),
            Bar("memory under attack, MiB", f"at most {rss['most']}, at the end {rss['attacked']}", "none", held=True),
            Bar("slope, MB/h", f"{self.slope_mb_per_h}", slope, not long_enough or self.slope_mb_per_h <= MAX_SLOPE_MB_PER_H),
            Bar("honest attaches", f"{self.attaches} of {begun}", f"≥ {MIN_ATTACHED:.0%}", self.attaches >= MIN_ATTACHED * begun),
            Bar("devices lost", f"{len(self.devices_lost)}", "0", not self.devices_lost),
            Bar("attacks that saw another tenant", f"{len(self.saw_another_tenant)}", "0", not self.saw_another_tenant),
            Bar("attacks that failed", f"{self.failed} of {self.attacks}", "0", self.failed == 0),
            Bar("violations, and conversations without an outcome", f"{unfinished}", "0", unfinished == 0),
        ]

    def faults(self) -> list[str]:
        """The limits that were exceeded."""
        return missed(self.bars())


class Memory:
    """Samples the relay's memory until cancelled."""

    def __init__(self, found: Victims, order: _Order) -> None:
        self._found, self._order = found, order
        self.samples: list[tuple[float, float]] = []
        self.most_mib, self.most_during = 0.0, list[str]()

    async def watch(self) -> None:
        """Sample time (s, monotonic) and MiB."""
        while True:
            mib = self._found.rss_mib()
            self.samples.append((time.monotonic(), mib))
            if mib > self.most_mib:
                self.most_mib, self.most_during = round(mib, 1), self._order.under_way.copy()
            await asyncio.sleep(EVERY_S)

    def mean_mib(self, until_s: float) -> float:
        """Mean over the ten seconds before `until_s`."""
        return round(float(np.mean([mib for at, mib in self.samples if until_s - 10 <= at <= until_s])), 1)

    def slope_mb_per_h(self, begin_s: float) -> float:
        """Slope of a straight line fitted to the samples since `begin_s`."""
        seen = np.array([sample for sample in self.samples if sample[0] >= begin_s])
        return round(float(np.polyfit(seen[:, 0], seen[:, 1], 1)[0]) * 3_600 * 1.048576, 2)


async def mixed(names: Sequence[str], folder: Path, minutes: float, seconds: float, devices: int, seed: int) -> Mixed:
    """Attack for `minutes`, each attack lasting `seconds`, then stay quiet for as long."""
    queue, stop, saw = _Order(names, seed), asyncio.Event(), list[str]()
    async with AsyncExitStack() as stack:
        history = stack.enter_context(History())
        tap = folder / "tap"
        found = await stack.enter_async_context(honest_side(folder, devices, history, tap=tap))
        publisher = await stack.enter_async_context(Publisher.connect(found.address, token=found.tokens["honest"]))
        speakers = [
            Speaker(number, publisher, device.device_id, history, random.Random(seed + number), MANNER)
            for number, device in enumerate(found.devices)
        ]
        speaking = [asyncio.create_task(speaker.run(stop)) for speaker in speakers]
        memory = Memory(found, queue)
        for work in (memory.watch(), found.attach_again_and_again()):
            stack.callback(asyncio.create_task(work).cancel)
        await asyncio.sleep(WARM_UP_S)
        start_s, lines = time.monotonic(), len(found.relay.said().splitlines())
        async with asyncio.TaskGroup() as attackers:
            for _ in range(AT_ONCE):
                attackers.create_task(_attack(found, queue, saw, start_s + minutes * 60, seconds))
        quiet_s = time.monotonic()
        log_lines = len(found.relay.said().splitlines()) - lines
        print(f"quiet after {queue.begun} attacks", file=sys.stderr, flush=True)
        await asyncio.sleep(minutes * 60)
        end_s = time.monotonic()
        tapped = await look(found.relay.pid, tap, SETTLE_S)
        if tapped is None:
            raise ProgramError(f"the relay did not answer within {SETTLE_S:g} s")
        lost = [device.device_id for device in found.devices if not device.link.status.attached]
        stop.set()
        await asyncio.wait(speaking, timeout=SETTLE_S)
        verdict = history.check()
        noticed = found.noticed
        return Mixed(
            minutes=minutes,
            attacks=queue.begun,
            failed=queue.failed,
            not_begun=queue.not_begun,
            rss_mib={
                "start": memory.mean_mib(start_s),
                "most": memory.most_mib,
                "attacked": memory.mean_mib(quiet_s),
                "end": memory.mean_mib(end_s),
            },
            most_during=memory.most_during,
            cancelled=tapped.cancelled,
            slope_mb_per_h=memory.slope_mb_per_h((quiet_s + end_s) / 2),
            log_lines_per_minute=round(log_lines / (quiet_s - start_s) * 60, 1),
            attaches=len(noticed.attach_s),
            attach_failed=len(noticed.attach_failed),
            attach_worst_s=round(max(noticed.attach_s, default=0.0), 2),
            devices_lost=lost,
            resumptions=sum(device.link.status.streams - 1 for device in found.devices),
            saw_another_tenant=saw,
            unfinished=sum(speaker.failures for speaker in speakers) + sum(not task.done() for task in speaking),
            histories={**verdict.figures, "violations": verdict.violations},
        )


class _Order:
    """The order of attacks: repeated random permutations of all."""

    def __init__(self, names: Sequence[str], seed: int) -> None:
        self._names, self._chance = list(names), random.Random(seed)
        self._next: list[str] = []
        self.begun = self.failed = 0
        self.under_way: list[str] = []
        self.not_begun = list(names)

    def take(self) -> str:
        if not self._next:
            self._next = self._chance.sample(self._names, len(self._names))
        name = self._next.pop()
        self.begun += 1
        if name in self.not_begun:
            self.not_begun.remove(name)
        return name


async def _attack(found: Victims, order: _Order, saw: list[str], until_s: float, seconds: float) -> None:
    while time.monotonic() < until_s:
        name = order.take()
        order.under_way.append(name)
        said = await attacked(name, found.address, seconds, found.tokens)
        order.under_way.remove(name)
        print(f"{name}: {said['done']}", file=sys.stderr, flush=True)
        order.failed += not said["ran"]
        if said["saw_another_tenant"]:
            saw.append(name)
