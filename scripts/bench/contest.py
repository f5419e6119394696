"""The contest: runs every contender on every case, in rounds with alternating order; medians and ratios of one run.

Server and load generator are separate processes, each on its own core. Each round restarts each server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from scripts.bench.cases import WARM_UP_S, Case

START_S = 30.0
MEASURE_S = 120.0
AROUND_S = 0.6
"""Overhead of a measurement, for estimating the total time: two programs start, warm up and end."""
OURS = ("-m", "relay_server", "--listen", "127.0.0.1:0")
TRACING_OFF = {"OTEL_SDK_DISABLED": "true"}
POLLING_THREAD = {"GRPC_EXPERIMENTS": "-event_engine_listener"}
"""The relay's own setting, for contenders that leave it to gRPC: the thread that polls for grpc.aio also reads connections."""
UNBOUNDED = {"AVATAR_RELAY_MAX_PAYLOADS_PER_SECOND": "10000000"}
"""Raises the limit on a publisher's payload rate, which a burst here exceeds."""


class BenchError(Exception):
    """A measurement failed; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server by its command line, and the clients that the load generator uses with it."""

    name: str
    clients: str
    server: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: TRACING_OFF)


def _contender(name: str, module: str, *arguments: str) -> Contender:
    return Contender(name, name, ("-m", f"scripts.bench.contenders.{module}", *arguments))


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("ours", "ours", OURS, TRACING_OFF | UNBOUNDED),
        Contender("ours, tick", "ours, tick", OURS, TRACING_OFF | UNBOUNDED),
        _contender("bare", "bare"),
        _contender("vendor", "vendor"),
        _contender("websockets", "websockets"),
        _contender("joining", "websockets", "--joining"),
        _contender("floor", "floor"),
        _contender("floor, tick", "floor"),
        Contender("floor, polling thread", "floor", ("-m", "scripts.bench.contenders.floor"), TRACING_OFF | POLLING_THREAD),
    )
}

Figures = dict[str, float]
Results = dict[str, dict[str, list[Figures]]]
"""Figures by case and contender, one entry per round."""


def cores() -> tuple[int, int]:
    """A core for the server and one for the load; the same if there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", *arguments]


@contextmanager
def serving(contender: Contender) -> Iterator[tuple[str, int]]:
    """Run a contender's server on its core; yields its address and process id. Raises `BenchError`."""
    with tempfile.TemporaryDirectory() as folder:
        port_file, log = Path(folder) / "port", Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(*contender.server, "--port-file", str(port_file)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **contender.environment},
                preexec_fn=partial(os.sched_setaffinity, 0, {cores()[0]}),
            )
        try:
            deadline = time.monotonic() + START_S
            while not (port_file.exists() and port_file.read_text()):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"{contender.name} does not listen:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.005)
            yield f"127.0.0.1:{port_file.read_text().strip()}", process.pid
        finally:
            process.kill()
            process.wait()


def measure(contender: Contender, case: Case) -> Figures:
    """Measure one case on one contender. Raises `BenchError`."""
    with serving(contender) as (address, pid):
        command = _command("-m", "scripts.bench.load", contender.clients, case.name, "--address", address, "--server-pid", str(pid))
        command += ["--seconds", str(case.seconds), "--sessions", str(case.sessions), "--ramp-s", str(case.ramp_s)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=MEASURE_S,
                check=False,
                preexec_fn=partial(os.sched_setaffinity, 0, {cores()[1]}),
            )
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{contender.name}, {case.name}: not done within {MEASURE_S:.0f} s") from error
        if done.returncode != 0:
            raise BenchError(f"{contender.name}, {case.name}: {done.stderr[-2000:]}")
        figures: Figures = json.loads(done.stdout)
        return figures


Matches = Sequence[tuple[Case, Sequence[str]]]


def run(matches: Matches, rounds: int, say: Callable[[str], None]) -> Iterator[Results]:
    """Run all matches in rounds; yields all results so far after each. The order of contenders alternates."""
    results: Results = {case.name: {name: [] for name in names} for case, names in matches}
    for number in range(rounds):
        for case, names in matches:
            for name in names if number % 2 == 0 else reversed(names):
                figures = measure(CONTENDERS[name], case)
                results[case.name][name].append(figures)
                say(f"round {number + 1}/{rounds}  {case.name:10} {name:12} " + "  ".join(f"{k} {v:.2f}" for k, v in _short(figures)))
        yield results


def _short(figures: Figures) -> list[tuple[str, float]]:
    return [
        (name, figures[name])
        for name in ("cpu_us", "switches", "idle_us_per_s", "rate", "p50_ms", "p99_ms", "wire_ratio", "cold_ms", "warm_ms")
        if name in figures
    ]


def expected_s(matches: Matches, rounds: int) -> float:
    """Estimated duration of a contest."""
    return rounds * sum((AROUND_S + WARM_UP_S + case.seconds) * len(names) for case, names in matches)


def middle(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    return {name: median(figures[name] for figures in rounds) for name in rounds[0]}


def ratio(results: Results, case: Case, figure: str, one: str, other: str) -> tuple[float, float, float]:
    """`other`'s figure over `one`'s, round by round: median, least, most."""
    pairs = zip(results[case.name][one], results[case.name][other], strict=True)
    ratios = [theirs[figure] / mine[figure] for mine, theirs in pairs]
    return median(ratios), min(ratios), max(ratios)
