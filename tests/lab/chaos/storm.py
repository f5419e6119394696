"""Many devices lose their relay at once: how soon is each back, and is the relay's memory as before?

scripts/storm --devices 200
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.lab.chaos.device import Device
from tests.lab.chaos.history import History
from tests.lab.relay_process import RelayProcess
from tests.lab.tool import command_line, write_json

WATCHED_S = 10.0
"""So long after the first is back nobody may be lost again: a second wave."""


async def run(count: int, folder: Path) -> dict[str, object]:
    """Once; returns the figures."""
    relay = RelayProcess()
    await relay.start()
    with History(folder / "history.tsv") as history:
        devices = [Device(f"d{n}", relay.address, history, random.Random(n)) for n in range(count)]
        await _attached(devices, 1)
        await asyncio.sleep(3)
        before_kib = relay.rss_kib()
        await relay.kill()
        await asyncio.sleep(2)
        await relay.start()
        await _attached(devices, 2)
        back_s = sorted((device.ear.welcomes[1] - relay.listening_us) / 1e6 for device in devices)
        await asyncio.sleep(WATCHED_S)
        streams = max(len(device.ear.welcomes) for device in devices)
        after_kib = relay.rss_kib()
        for device in devices:
            await device.kill()
    await relay.kill()
    return {
        "devices": count,
        "back_p50_s": round(back_s[count // 2], 3),
        "back_p95_s": round(back_s[int(count * 0.95)], 3),
        "back_max_s": round(back_s[-1], 3),
        "second_wave": streams > 2,
        "rss_before_mib": round(before_kib / 1_024, 1),
        "rss_after_mib": round(after_kib / 1_024, 1),
    }


async def _attached(devices: list[Device], streams: int) -> None:
    deadline = time.monotonic() + 60
    while any(len(device.ear.welcomes) < streams for device in devices) and time.monotonic() < deadline:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.05)


def main() -> int:
    """The program; returns its exit status."""
    parser = command_line("storm", __doc__)
    parser.add_argument("--devices", type=int, default=200, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(run(options.devices, Path(folder)))
    write_json(figures, None)
    return 1 if figures["second_wave"] else 0


if __name__ == "__main__":
    sys.exit(main())
