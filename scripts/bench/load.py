"""The load generator, the same for all contenders, in its own process. Prints the figures as JSON.

It passes stamped payloads to a contender's clients, and measures when devices receive them. The server's CPU is its
process CPU clock, read at the start and end of the measured interval. Memory and connection bytes are also the kernel's
figures; bytes are reported as a multiple of the payload bytes on both legs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import heapq
import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from math import inf
from pathlib import Path

from scripts.bench.cases import CASES, WARM_UP_S, Case, Shape
from scripts.bench.contract import Clients
from scripts.bench.counted import COUNT_FILE
from scripts.bench.wire_bytes import wire_bytes
from tests.lab.percentiles import percentiles
from tests.lab.restarted_programs import resident_kib
from tests.lab.stamp import age_us, audio_payload, motion_payload, now_us, read_stamp

UTTERANCE = 200
"""Payloads of each kind that a burst publishes at once: 4 s of speech."""
WINDOWS_AT_ONCE = 8
DRAIN_S = 10.0
TURNS = 20
"""Repetitions of the first sound on an established connection."""
CLIENTS = {
    "ours": ("ours", "Clients"),
    "ours, tick": ("ours", "TickingClients"),
    "floor": ("floor", "Clients"),
    "floor, tick": ("floor", "TickingClients"),
    "bare": ("bare", "Clients"),
    "websockets": ("websockets", "Clients"),
    "joining": ("websockets", "JoiningClients"),
    "vendor": ("vendor", "Clients"),
}


def cpu_clock(pid: int) -> int:
    """The id of a process's CPU clock, which counts all of its threads (clock_getcpuclockid(3))."""
    return (~pid << 3) | 2


def switches(pid: int) -> int:
    """Context switches of all threads of a process so far (proc(5))."""
    counted = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(OSError):  # the thread has ended
            counted += sum(int(line.split()[1]) for line in status.read_text().splitlines() if "voluntary_ctxt_switches" in line)
    return counted


class Meter:
    """Measures the payloads received and their cost."""

    def __init__(self, server_pid: int, port: int, fan_out: int) -> None:
        self._pid = server_pid
        self._clock = cpu_clock(server_pid)
        self._port = port
        self._legs = 1 + 1 / fan_out
        self.came = 0
        self.raw_bytes = 0
        self.ages_us: list[int] = []
        self.measuring = False
        self.moved = asyncio.Event()

    def received(self, data: bytes) -> None:
        """Record a payload received by a device."""
        self.came += 1
        self.raw_bytes += len(data)
        if self.measuring:
            self.ages_us.append(age_us(read_stamp(data), now_us()))
        self.moved.set()

    def begin(self) -> None:
        """Start the measured interval."""
        self.measuring = True
        self._came, self._raw, self._wire = self.came, self.raw_bytes, wire_bytes(self._port)
        self._began = time.monotonic()
        if COUNT_FILE in os.environ:
            os.kill(self._pid, signal.SIGUSR1)
        self._cpu, self._own, self._switched = time.clock_gettime(self._clock), time.process_time(), switches(self._pid)

    def end(self) -> dict[str, float]:
        """End the measured interval; returns the figures."""
        cpu, own, wall = time.clock_gettime(self._clock) - self._cpu, time.process_time() - self._own, time.monotonic() - self._began
        self.measuring = False
        came = self.came - self._came
        if not came:  # a server or generator with far too many sessions
            return {"payloads": 0, "cpu_us": inf, "rate": 0.0, "p99_ms": inf, "server_busy": cpu / wall, "load_busy": own / wall}
        counted = {"calls": self._calls() / came} if COUNT_FILE in os.environ else {}
        raw = (self.raw_bytes - self._raw) * self._legs
        figures = {
            "payloads": came,
            "cpu_us": cpu * 1e6 / came,
            "switches": (switches(self._pid) - self._switched) / came,
            "load_cpu_us": own * 1e6 / came,
            "rate": came / wall,
            "server_busy": cpu / wall,
            "load_busy": own / wall,
            "rss_kb": resident_kib(self._pid),
            "wire_ratio": (wire_bytes(self._port) - self._wire) / raw,
        }
        return figures | counted | {f"{name}_ms": value / 1_000 for name, value in percentiles(self.ages_us).items()}

    def _calls(self) -> float:
        """Number of Python calls, for a server that counts them."""
        os.kill(self._pid, signal.SIGUSR2)
        file, deadline = Path(os.environ[COUNT_FILE]), time.monotonic() + DRAIN_S
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return float(sum(json.loads(file.read_text()).values()))

    def idle(self, devices: int) -> dict[str, float]:
        """The figures of an interval without payloads: CPU and context switches per device and second."""
        cpu, wall = time.clock_gettime(self._clock) - self._cpu, time.monotonic() - self._began
        switched = switches(self._pid) - self._switched
        return {"idle_us_per_s": cpu * 1e6 / wall / devices, "idle_switches_per_s": switched / wall / devices}


async def burst(clients: Clients, meter: Meter, case: Case) -> dict[str, float]:
    """Publish one utterance after another. The amount in flight is the same at the start and the end of the interval."""
    number, handed = 0, 0
    motions = UTTERANCE if case.shape is Shape.BURST else WINDOWS_AT_ONCE
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < WARM_UP_S + case.seconds:
        if elapsed >= WARM_UP_S and not meter.measuring:
            meter.begin()
        sent_us = now_us()
        wants_sound = case.shape is Shape.BURST or number == 0
        audio = [audio_payload(0, number + at, sent_us, case.audio_bytes) for at in range(motions if wants_sound else 0)]
        motion = [motion_payload(0, number + at, sent_us, case.motion_bytes) for at in range(motions)]
        await clients.publish(0, audio, motion)
        number += motions
        handed += (len(audio) + len(motion)) * case.fan_out
        await until(meter, handed - 2 * motions * case.fan_out)
    figures = meter.end()
    await until(meter, handed)
    return figures


async def until(meter: Meter, count: int) -> None:
    """Wait until `count` payloads were received."""
    await asyncio.sleep(0)
    while meter.came < count:
        meter.moved.clear()
        async with asyncio.timeout(DRAIN_S):
            await meter.moved.wait()


def schedule(case: Case) -> list[tuple[int, int, bool]]:
    """Due time (µs), session, and whether it is motion, of each payload; the sessions' payloads of each kind are spread evenly.

    Each session begins with sound, as AvatarKit does.
    """
    due = []
    end_us = round((case.ramp_s + WARM_UP_S + case.seconds) * 1e6)
    for session in range(case.sessions):
        begin_us = round(case.ramp_s * 1e6) * session // case.sessions
        for step_us, is_motion in ((case.audio_us, False), (case.motion_us, True)):
            phase_us = session * step_us // case.sessions
            begin_us += (phase_us - begin_us) % step_us
            due.append([(at_us, session, is_motion) for at_us in range(begin_us, end_us, step_us)])
    return list(heapq.merge(*due))


async def paced(clients: Clients, meter: Meter, case: Case) -> dict[str, float]:
    """Publish all sessions in real time. The generator's own lateness is reported in addition to the latencies."""
    late_us: list[int] = []
    began_us = now_us()
    payloads = schedule(case)
    for number, (due_us, session, is_motion) in enumerate(payloads):
        if (wait_us := began_us + due_us - now_us()) > 0:
            await asyncio.sleep(wait_us / 1e6)
        if due_us >= (case.ramp_s + WARM_UP_S) * 1e6 and not meter.measuring:
            meter.begin()
        sent_us = now_us()
        late_us.append(sent_us - began_us - due_us)
        if is_motion:
            await clients.publish(session, (), [motion_payload(session, number, sent_us, case.motion_bytes)])
        else:
            await clients.publish(session, [audio_payload(session, number, sent_us, case.audio_bytes)], ())
    figures = meter.end()
    await until(meter, len(payloads) * case.fan_out)
    return figures | {f"generator_late_{name}_ms": value / 1_000 for name, value in percentiles(late_us).items()}


async def idle(meter: Meter, case: Case) -> dict[str, float]:
    """Send nothing; measures the cost of idle connections."""
    await asyncio.sleep(WARM_UP_S)
    meter.begin()
    await asyncio.sleep(case.seconds)
    return meter.idle(case.sessions)


async def first(clients: Clients, meter: Meter, case: Case) -> dict[str, float]:
    """Measure the first payload on a new connection, then later ones on the same connection after quiet periods."""
    waits_ms: list[float] = []
    for turn in range(1 + TURNS):
        began = time.monotonic()
        await clients.publish(0, [audio_payload(0, turn, now_us(), case.audio_bytes)], ())
        await until(meter, turn + 1)
        waits_ms.append((time.monotonic() - began) * 1e3)
        await asyncio.sleep(0.02)
    warm = sorted(waits_ms[1:])
    return {"cold_ms": waits_ms[0], "warm_ms": warm[len(warm) // 2]}


async def measure(contender: str, case: Case, address: str, server_pid: int) -> dict[str, float]:
    """Measure one case on one contender."""
    module, name = CLIENTS[contender]
    meter = Meter(server_pid, int(address.rpartition(":")[2]), case.fan_out)
    clients: Clients = getattr(import_module(f"scripts.bench.contenders.{module}"), name)(address, meter.received)
    for session in range(case.sessions):
        for device in range(case.fan_out):
            await clients.attach(session, device)
    gc.collect()
    gc.disable()  # a full collection stops all clients, and counts as latency of the server
    try:
        match case.shape:
            case Shape.BURST | Shape.WINDOWS:
                return await burst(clients, meter, case)
            case Shape.PACED:
                return await paced(clients, meter, case)
            case Shape.IDLE:
                return await idle(meter, case)
            case Shape.FIRST:
                return await first(clients, meter, case)
    finally:
        await clients.close()


def main(argv: Sequence[str] | None = None) -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description="The load generator of scripts/bench/relay; not called by hand.")
    parser.add_argument("contender", choices=sorted(CLIENTS))
    parser.add_argument("case", choices=[case.name for case in CASES])
    parser.add_argument("--address", required=True)
    parser.add_argument("--server-pid", type=int, required=True)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--ramp-s", type=float)
    options = parser.parse_args(argv)
    case = next(case for case in CASES if case.name == options.case)
    changes = {name: value for name in ("seconds", "sessions", "ramp_s") if (value := getattr(options, name)) is not None}
    figures = asyncio.run(measure(options.contender, replace(case, **changes), options.address, options.server_pid))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
