"""Attacks mixed beside live sessions for a long time, then as much quiet: is anything lost, and does memory come back?"""

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
from tests.lab.attack.launch import attacked
from tests.lab.attack.victims import Victims, honest_side
from tests.lab.history import History
from tests.lab.speaker import Manner, Speaker

MAX_GROWTH_MIB, MAX_SLOPE_MB_PER_H, MIN_ATTACHED = 64, 4.0, 0.95
MIN_SLOPE_MINUTES = 10
"""Of a shorter quiet time the slope says nothing."""
AT_ONCE = 2
WARM_UP_S, EVERY_S, SETTLE_S = 20.0, 2.0, 90.0
MANNER = Manner(payloads_per_s=20.0, shortest=20, longest=200, interrupted_share=0.2)


@dataclass
class Mixed:
    """What the mix did."""

    minutes: float
    """Of attacks, and as many of quiet."""
    attacks: int
    not_begun: list[str]
    """Attacks for which there was no time."""
    rss_mib: dict[str, float]
    """At the start, at most, when the attacks ended, at the end of the quiet time."""
    most_during: list[str]
    """The attacks at the time of the most memory."""
    slope_mb_per_h: float
    """Over the second half of the quiet time."""
    log_lines_per_minute: float
    """While it was attacked; each attack alone has its bar in `main`."""
    attaches: int
    attach_failed: int
    attach_worst_s: float
    devices_lost: list[str]
    resumptions: int
    saw_another_tenant: list[str]
    unfinished: int
    """Conversations without an outcome in time."""
    histories: dict[str, Any]

    def faults(self) -> list[str]:
        """The bars that it broke."""
        rss, long_enough = self.rss_mib, self.minutes >= MIN_SLOPE_MINUTES
        bars = {
            "memory": rss["end"] - rss["start"] > MAX_GROWTH_MIB,
            "slope": long_enough and self.slope_mb_per_h > MAX_SLOPE_MB_PER_H,
            "attach": self.attaches < MIN_ATTACHED * (self.attaches + self.attach_failed),
            "devices": bool(self.devices_lost),
            "another tenant": bool(self.saw_another_tenant),
            "histories": self.histories["violations"] > 0 or self.unfinished > 0,
        }
        return [name for name, broken in bars.items() if broken]


class Memory:
    """Looks at the relay's memory until cancelled."""

    def __init__(self, found: Victims, order: _Order) -> None:
        self._found, self._order = found, order
        self.samples: list[tuple[float, float]] = []
        self.most_mib, self.most_during = 0.0, list[str]()

    async def watch(self) -> None:
        """Time (s, monotonic) and MiB."""
        while True:
            mib = self._found.rss_mib()
            self.samples.append((time.monotonic(), mib))
            if mib > self.most_mib:
                self.most_mib, self.most_during = round(mib, 1), self._order.under_way.copy()
            await asyncio.sleep(EVERY_S)

    def mean_mib(self, until_s: float) -> float:
        """Of the last ten seconds before `until_s`."""
        return round(float(np.mean([mib for at, mib in self.samples if until_s - 10 <= at <= until_s])), 1)

    def slope_mb_per_h(self, begin_s: float) -> float:
        """Of a straight line through what was seen since `begin_s`."""
        seen = np.array([sample for sample in self.samples if sample[0] >= begin_s])
        return round(float(np.polyfit(seen[:, 0], seen[:, 1], 1)[0]) * 3_600 * 1.048576, 2)


async def mixed(names: Sequence[str], folder: Path, minutes: float, seconds: float, devices: int, seed: int) -> Mixed:
    """Attack for so many minutes, each attack for `seconds`, then be quiet for as many."""
    queue, stop, saw = _Order(names, seed), asyncio.Event(), list[str]()
    async with AsyncExitStack() as stack:
        history = stack.enter_context(History())
        found = await stack.enter_async_context(honest_side(folder, devices, history, stamped=False))
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
        lost = [device.device_id for device in found.devices if not device.link.status.attached]
        stop.set()
        await asyncio.wait(speaking, timeout=SETTLE_S)
        verdict = history.check()
        noticed = found.noticed
        return Mixed(
            minutes=minutes,
            attacks=queue.begun,
            not_begun=queue.not_begun,
            rss_mib={
                "start": memory.mean_mib(start_s),
                "most": memory.most_mib,
                "attacked": memory.mean_mib(quiet_s),
                "end": memory.mean_mib(end_s),
            },
            most_during=memory.most_during,
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
    """Which attack comes next: all of them in random order, then all of them again."""

    def __init__(self, names: Sequence[str], seed: int) -> None:
        self._names, self._chance = list(names), random.Random(seed)
        self._next: list[str] = []
        self.begun = 0
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
        if said["saw_another_tenant"]:
            saw.append(name)
