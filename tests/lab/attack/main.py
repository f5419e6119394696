"""Attacks relay and edge client processes, and measures the effect on others.

    scripts/attack                          # all attacks; about an hour
    scripts/attack --only 'rapid reset'     # attacks whose name begins with this
    scripts/attack --devices 100            # with this many honest devices
    scripts/attack --mix --minutes 30       # all mixed, beside live sessions; then as many quiet minutes

Each attack is run against the relay, and then against a bare grpc.aio server beside it (the control). Prints JSON; `--table` writes a page.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from relay_server.free_memory import EVERY_S
from tests.lab.attack.attacker import RELAY_ATTACKS
from tests.lab.attack.bars import Bar, missed, table
from tests.lab.attack.device_side import DEVICE_ATTACKS, DeviceVerdict, attack_device
from tests.lab.attack.launch import attacked
from tests.lab.attack.mix import mixed
from tests.lab.attack.tls import TLS_ATTACKS, make_certificate
from tests.lab.attack.victims import Victims, victims
from tests.lab.programs import python, running
from tests.lab.tool import add_json_file, command_line, write_json

MAX_GROWTH_MIB, MAX_KEPT_MIB, MAX_LINES, MAX_ATTACH_S, MAX_SHIFT_MS, MIN_ATTACHED = 64, 32, 10, 2.0, 50, 0.95
"""Memory may grow by MAX_GROWTH_MIB during an attack, and by MAX_KEPT_MIB for good: the relay returns freed memory once it is 16 MiB."""
QUIET_S = 3.0
"""Pause between an attack and its control."""
BACK_S = EVERY_S + 2
"""Time from an attack to the last measurement of memory."""


@dataclass
class Verdict:
    """The effect of one attack on the relay."""

    attack: str
    done: str
    ran: bool
    """Whether the attacker ran to its end."""
    rss_mib: tuple[int, int, int]
    """Before the attack, the maximum, and `BACK_S` after it."""
    log_lines: int
    attaches: int
    attach_failed: int
    attach_worst_s: float
    p99_ms: float
    control_p99_ms: float
    saw_another_tenant: bool
    devices_lost: int

    def bars(self) -> list[Bar]:
        """The figures with their limits."""
        before, most, after = self.rss_mib
        begun = self.attaches + self.attach_failed
        attached = self.attach_worst_s <= MAX_ATTACH_S and self.attaches >= MIN_ATTACHED * begun
        return [
            Bar("memory", f"{before} → {most}", f"≤ {before + MAX_GROWTH_MIB}", most <= before + MAX_GROWTH_MIB),
            Bar("memory after", f"{after}", f"≤ {before + MAX_KEPT_MIB}", after <= before + MAX_KEPT_MIB),
            Bar("log", f"{self.log_lines}", f"≤ {MAX_LINES}", self.log_lines <= MAX_LINES),
            Bar(
                "attach",
                f"{self.attaches} of {begun}, {self.attach_worst_s} s",
                f"≥ {MIN_ATTACHED:.0%}, ≤ {MAX_ATTACH_S:g} s",
                attached,
            ),
            Bar(
                "media",
                f"{self.p99_ms}",
                f"≤ {self.control_p99_ms} + {MAX_SHIFT_MS}",
                self.p99_ms <= self.control_p99_ms + MAX_SHIFT_MS,
            ),
            Bar("another tenant", "seen" if self.saw_another_tenant else "not seen", "not seen", not self.saw_another_tenant),
            Bar("devices lost", f"{self.devices_lost}", "0", self.devices_lost == 0),
            Bar("attacker", "ran" if self.ran else "failed", "ran", self.ran),
        ]

    def faults(self) -> list[str]:
        """The limits that were exceeded."""
        return missed(self.bars())

    def cells(self) -> list[str]:
        """The cells of a table row; the last three limits are in its last cell only."""
        return [self.attack, self.done, *map(str, self.bars()[:5])]


async def heaviest(found: Victims) -> int:
    """The relay's maximum memory until this task is cancelled."""
    most = 0.0
    try:
        while True:
            most = max(most, found.rss_mib())
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return round(most)


async def one(name: str, folder: Path, seconds: float, devices: int) -> Verdict:
    """Run an attack and its control."""
    tls = make_certificate(folder) if name in TLS_ATTACKS else None
    bare_command = [*python("tests.lab.attack.bare_server"), *map(str, tls or ())]
    async with victims(folder, devices, tls=tls) as found, running("bare", bare_command, folder / "bare.log", {}) as bare:
        bare_address = (await bare.wait_for(r"listening on (\S+)", 30))[1]
        await asyncio.sleep(1.5)
        before, lines = round(found.rss_mib()), len(found.relay.said().splitlines())
        weighing = asyncio.create_task(heaviest(found))
        noticed = found.begin_phase()
        said = await attacked(name, found.address, seconds, found.tokens)
        lost = sum(not device.link.status.attached for device in found.devices)
        await asyncio.sleep(0.1)
        found.begin_phase()
        weighing.cancel()
        most = await weighing
        log, ended_s = found.relay.said().splitlines()[lines:], time.monotonic()
        await asyncio.sleep(QUIET_S)
        control = found.begin_phase()
        await attacked(name, bare_address, seconds, found.tokens)
        found.begin_phase()
        await asyncio.sleep(max(0.0, ended_s + BACK_S - time.monotonic()))
        return Verdict(
            attack=name,
            done=said["done"],
            ran=said["ran"],
            rss_mib=(before, most, round(found.rss_mib())),
            log_lines=len(log),
            attaches=len(noticed.attach_s),
            attach_failed=len(noticed.attach_failed),
            attach_worst_s=round(max(noticed.attach_s, default=0.0), 2),
            p99_ms=round(noticed.p99_ms(), 1),
            control_p99_ms=round(control.p99_ms(), 1),
            saw_another_tenant=said["saw_another_tenant"],
            devices_lost=lost,
        )


RELAY_HEAD = """| attack | what it did | MiB, at most | MiB, after | log lines | honest attach | media p99 ms (≤ control's + 50) | bars |
|---|---|---|---|---|---|---|---|"""
DEVICE_HEAD = """| attack | what it did | MiB, at most | log lines | longest line | stopped after s | bars |
|---|---|---|---|---|---|---|"""


def row(found: Verdict | DeviceVerdict) -> str:
    """A row of the table."""
    return "| " + " | ".join([*(re.sub(r"[|\n]", " ", str(cell)) for cell in found.cells()), ", ".join(found.faults()) or "held"]) + " |"


def page(relay: list[Verdict], device: list[DeviceVerdict], seconds: float) -> str:
    """The tables."""
    title = f"# Attacks\n\nMade by `scripts/attack --seconds {seconds:g} --table FILE`. In brackets: the bars.\n"
    on_relay = "\n".join(["## On a relay\n", RELAY_HEAD, *map(row, relay)])
    on_device = "\n".join(["\n## On a device, by its relay\n", DEVICE_HEAD, *map(row, device)])
    return "\n".join([title, *([on_relay] if relay else []), *([on_device] if device else []), ""])


def new_folder(parent: str, name: str) -> Path:
    """Create a folder for the output of one attack."""
    folder = Path(parent) / name
    folder.mkdir()
    return folder


async def run(only: str, seconds: float, devices: int) -> tuple[list[Verdict], list[DeviceVerdict]]:
    """Run all attacks whose name begins with `only`."""
    relay, device = [], []
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        for number, name in enumerate(RELAY_ATTACKS):
            if name.startswith(only):
                relay.append(await one(name, new_folder(folder, f"relay-{number}"), seconds, devices))
                print(row(relay[-1]), file=sys.stderr, flush=True)
        for number, name in enumerate(DEVICE_ATTACKS):
            if name.startswith(only):
                device.append(await attack_device(name, new_folder(folder, f"device-{number}"), seconds))
                print(row(device[-1]), file=sys.stderr, flush=True)
    return relay, device


def main() -> int:
    """The program; returns its exit status: 1 if a limit was exceeded."""
    parser = command_line("attack", __doc__)
    parser.add_argument("--only", default="", metavar="NAME", help="attacks whose name begins so")
    parser.add_argument("--seconds", type=float, default=6.0, metavar="S", help="how long each attack lasts (default 6)")
    text = "honest devices behind the attacker's address (default 1; with --mix 20)"
    parser.add_argument("--devices", type=int, metavar="N", help=text)
    parser.add_argument("--mix", action="store_true", help="two attacks at a time, in random order, beside live sessions")
    parser.add_argument("--minutes", type=float, default=30.0, metavar="M", help="how long --mix attacks, and then is quiet (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="of the order of --mix (default 1)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the tables there")
    add_json_file(parser)
    options = parser.parse_args()
    if options.mix:
        return _mix(options)
    relay, device = asyncio.run(run(options.only, options.seconds, options.devices or 1))
    if options.table is not None:
        options.table.write_text(page(relay, device, options.seconds), encoding="utf-8")
    both: list[Verdict | DeviceVerdict] = [*relay, *device]
    broken = {one.attack: one.faults() for one in both if one.faults()}
    write_json({"relay": [asdict(one) for one in relay], "device": [asdict(one) for one in device], "broken": broken}, options.json)
    print(f"{len(both)} attacks, {sum(bool(one.faults()) for one in both)} over their bar", file=sys.stderr, flush=True)
    return int(bool(broken) or not (relay or device))


def _mix(options: argparse.Namespace) -> int:
    names = [name for name in RELAY_ATTACKS if name.startswith(options.only) and name not in TLS_ATTACKS]
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        found = asyncio.run(mixed(names, Path(folder), options.minutes, options.seconds, options.devices or 20, options.seed))
    print(table(found.bars()), file=sys.stderr, flush=True)
    write_json({**vars(found), "broken": found.faults()}, options.json)
    return int(bool(found.faults()))


if __name__ == "__main__":
    sys.exit(main())
