"""Runs a hostile relay against an edge client process: does it survive, what does it cost and log, and does it stop on SIGTERM?"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.attack.bars import Bar, missed
from tests.lab.attack.hostile_relay import NAMES
from tests.lab.programs import ProgramError, python, running
from tests.lab.restarted_programs import resident_kib

DEVICE_ATTACKS = NAMES
MAX_GROWTH_MIB, MAX_LINES_PER_MINUTE, MAX_LINE, STOP_WITHIN_S = 64, 10, 1_000, 5.0
CONTROL = re.compile(r"[^\x20-\x7e\n\u00a0-\uffff]")


@dataclass
class DeviceVerdict:
    """The effect of one hostile relay on a device."""

    attack: str
    rss_mib: tuple[int, int]
    """At the hostile relay's first message, and the maximum after it."""
    log_lines: int
    longest_line: int
    control_characters: bool
    tracebacks: int
    attaches: int
    lived: bool
    stopped_s: float
    seconds: float

    def bars(self) -> list[Bar]:
        """The figures with their limits."""
        before, most = self.rss_mib
        lines = round(MAX_LINES_PER_MINUTE * max(1.0, self.seconds / 60))
        return [
            Bar("memory", f"{before} → {most}", f"≤ {before + MAX_GROWTH_MIB}", most <= before + MAX_GROWTH_MIB),
            Bar("log", f"{self.log_lines}", f"≤ {lines}", self.log_lines <= lines),
            Bar("longest line", f"{self.longest_line}", f"≤ {MAX_LINE}", self.longest_line <= MAX_LINE),
            Bar("stopped", f"{self.stopped_s:.1f}", f"≤ {STOP_WITHIN_S:g}", self.stopped_s <= STOP_WITHIN_S),
            Bar("control characters", "logged" if self.control_characters else "none", "none", not self.control_characters),
            Bar("tracebacks", f"{self.tracebacks}", "0", self.tracebacks == 0),
            Bar("lived", "yes" if self.lived else "no", "yes", self.lived),
        ]

    def faults(self) -> list[str]:
        """The limits that were exceeded."""
        return missed(self.bars())

    def cells(self) -> list[str]:
        """The cells of a table row; the last three limits are in its last cell only."""
        return [self.attack, f"{self.attaches} streams in {self.seconds:g} s", *map(str, self.bars()[:4])]


async def attack_device(name: str, folder: Path, seconds: float) -> DeviceVerdict:
    """Run both programs for `seconds`."""
    hostile = [*python("tests.lab.attack.hostile_relay"), name]
    async with running("hostile relay", hostile, folder / "hostile.log", {}) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", 30))[1]
        flags = ("--relay", address, "--device-id", "lobby", "--audio-sink", "virtual", "--renderer", "none")
        async with running("edge-client", [*python("edge_client"), *flags], folder / "edge.log", {"HOME": str(folder)}) as device:
            await relay.wait_for("attach 1", 40)
            started = len(device.said().splitlines())
            before, most, until = resident_kib(device.pid), 0, time.monotonic() + seconds
            while device.running and time.monotonic() < until:
                most = max(most, resident_kib(device.pid))
                await asyncio.sleep(0.1)
            lived, began = device.running, time.monotonic()
            device.terminate()
            with suppress(ProgramError):
                await device.wait(8)
            stopped_s = time.monotonic() - began
            log = device.said()
        return DeviceVerdict(
            attack=name,
            rss_mib=(before // 1_024, most // 1_024),
            log_lines=len(log.splitlines()) - started,
            longest_line=max(map(len, log.splitlines()), default=0),
            control_characters=CONTROL.search(log) is not None,
            tracebacks=log.count("Traceback"),
            attaches=relay.said().count("attach"),
            lived=lived,
            stopped_s=round(stopped_s, 1),
            seconds=seconds,
        )
