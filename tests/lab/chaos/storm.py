"""Many devices lose their relay at once: measures how soon each is back, and whether the relay's memory returns to its level.

scripts/storm --devices 200
"""

from __future__ import annotations

import asyncio
import random
import sys

from tests.lab.history import History
from tests.lab.percentiles import seconds
from tests.lab.restarted_programs import RelayProgram
from tests.lab.simulated_device import SimulatedDevice, until_attached
from tests.lab.tool import command_line, write_json

WATCHED_S = 10.0
"""Time after the first reconnection in which no device may be lost again (a second wave)."""


async def run(count: int) -> dict[str, object]:
    """Run one storm; returns the figures."""
    relay = RelayProgram()
    await relay.start()
    with History() as history:
        devices = [SimulatedDevice(f"d{n}", relay.address, history, random.Random(n)) for n in range(count)]
        await until_attached(devices)
        await asyncio.sleep(3)
        before_kib = relay.rss_kib()
        await relay.kill()
        await asyncio.sleep(2)
        await relay.start()
        await until_attached(devices, 2)
        back_s = [(device.player.welcomes[1] - relay.listening_us) / 1e6 for device in devices]
        await asyncio.sleep(WATCHED_S)
        streams = max(len(device.player.welcomes) for device in devices)
        after_kib = relay.rss_kib()
        for device in devices:
            await device.kill()
    await relay.kill()
    return {
        "devices": count,
        **{f"back_{name}_s": value for name, value in seconds(back_s).items() if name != "count"},
        "second_wave": streams > 2,
        "rss_before_mib": round(before_kib / 1_024, 1),
        "rss_after_mib": round(after_kib / 1_024, 1),
    }


def main() -> int:
    """The program; returns its exit status."""
    parser = command_line("storm", __doc__)
    parser.add_argument("--devices", type=int, default=200, metavar="N")
    options = parser.parse_args()
    figures = asyncio.run(run(options.devices))
    write_json(figures, None)
    return 1 if figures["second_wave"] else 0


if __name__ == "__main__":
    sys.exit(main())
