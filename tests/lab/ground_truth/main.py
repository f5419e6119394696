"""`scripts/ground_truth`: measures from outside, and reports as text and JSON. See docs/notebook/lip-sync.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from avatar_relay.media import Codec, Pacing
from avatar_relay.publisher import PublisherError
from relay_server.sources.source import SourceError
from tests.lab.backend import CLIP
from tests.lab.fault_proxy import CALM, Weather
from tests.lab.ground_truth import pulls, scenarios, trouble
from tests.lab.ground_truth.scenarios import Report, Talk
from tests.lab.ground_truth.speech import Material, load_material
from tests.lab.ground_truth.station import Setup
from tests.lab.programs import ProgramError, stop_on_signals

JITTER = Weather(delay_ms=50, jitter_ms=40, spike_share=0.01, spike_ms=200)
"""Delay of 50 ± 40 ms; one chunk in a hundred is 200 ms later."""
NARROW_S = 40.0
"""Maximum seconds of speech over a narrow link."""
SCENARIOS = {
    "lip-sync": "speak; is all of it heard, and how far are sound and face apart?",
    "latency": "short conversations, interrupted: first payload to first sample heard, interrupt to silence",
    "stall": "the network stands still for a second",
    "kill": "kill -9 of the speaker process in the middle of a word",
    "unplug": "the sound device is gone for a while in the middle of a word",
    "pulls": "the sound card is pulled out again and again: while playing, in an underrun, while it is opened",
    "narrow": "the link to the device takes no more than 64 kbit/s",
}


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    lines = "\n".join(f"  {name:9} {text}" for name, text in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/ground_truth",
        description="A real relay and a real edge client, PyAudio on a sound device that logs what was heard, and a window that another "
        f"process reads from the X server.\n\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--seconds", type=float, default=600.0, metavar="N", help="lip-sync: how long to speak (default: 600)")
    parser.add_argument(
        "--conversation-seconds", type=float, metavar="N", help="lip-sync: length of one conversation (default: 20; live: all)"
    )
    parser.add_argument("--conversations", type=int, default=60, metavar="N", help="latency: how many (default: 60)")
    parser.add_argument("--pulls", type=int, default=20, metavar="N", help="pulls: how many (default: 20; about 15 s each)")
    parser.add_argument("--pacing", choices=["burst", "live"], default="burst", help="lip-sync, narrow: how the backend makes its media")
    parser.add_argument(
        "--speed", type=float, default=0.0, metavar="N", help="lip-sync, burst: media is made at N times real time (default: at once)"
    )
    parser.add_argument("--publisher-tick-ms", type=int, default=0, metavar="N", help="the media tick of the publisher (default: none)")
    parser.add_argument("--codec", choices=["opus", "pcm_s16le"], default="opus", help="narrow: sound of 24 or of 768 kbit/s")
    parser.add_argument("--network", choices=["quiet", "jitter"], default="quiet", help="jitter: 50 ± 40 ms, 1 %% of chunks 200 ms later")
    parser.add_argument("--ppm", type=float, default=0.0, metavar="N", help="how much faster than nominal the device's clock runs")
    parser.add_argument("--busy-threads", type=int, default=0, metavar="N", help="busy Python threads in the edge client's main process")
    parser.add_argument("--renderer", choices=["gles", "flat", "none"], default="gles", help="what draws; none: the sound alone")
    parser.add_argument(
        "--deep-buffer", action="store_true", help="a sound device with a buffer of 170 ms, as for exact samples on a loaded machine"
    )
    parser.add_argument("--pulse", action="store_true", help="the client plays to PulseAudio, which plays to the sound device")
    parser.add_argument("--recording", type=Path, metavar="FILE", help="a recorded AvatarKit conversation (JSON) or a file of speech")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the noise floor, the network and the waits")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where all logs go (default: a temporary folder, removed)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here as well")
    return parser.parse_args(arguments)


def setup_of(options: argparse.Namespace) -> Setup:
    """The setup for these options."""
    return Setup(
        renderer=options.renderer,
        ppm=options.ppm,
        device_fields="buffer_min 8192" if options.deep_buffer else "",
        busy_threads=options.busy_threads,
        weather=JITTER if options.network == "jitter" else CALM,
        seed=options.seed,
        pulse=options.pulse,
        publisher_tick_ms=options.publisher_tick_ms,
    )


def scenario(options: argparse.Namespace, folder: Path, material: Material) -> Coroutine[Any, Any, Report]:
    """The requested measurement."""
    setup = setup_of(options)
    match options.scenario:
        case "latency":
            return scenarios.latency(folder, setup, material, options.conversations)
        case "stall":
            return scenarios.stalled(folder, setup, material)
        case "kill":
            return scenarios.killed(folder, setup, material)
        case "unplug":
            return trouble.unplugged(folder, setup, material)
        case "pulls":
            return pulls.pulled(folder, setup, material, options.pulls)
        case "narrow":
            return trouble.narrow(folder, setup, material, Codec(options.codec), Pacing(options.pacing), min(options.seconds, NARROW_S))
        case _:
            pacing = Pacing(options.pacing)
            longest = options.conversation_seconds or (20.0 if pacing is Pacing.BURST else options.seconds)
            return scenarios.lip_sync(folder, setup, material, Talk(options.seconds, longest, pacing, options.speed))


def tell(report: Report) -> str:
    """Format a report for people, one line per group."""
    lines = []
    for name, value in report.items():
        text = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
        lines.append(f"{name.replace('_', ' '):34} {text}")
    return "\n".join(lines)


def _folder(wanted: Path | None, scratch: Path) -> Path:
    """The folder for logs. Raises `OSError` if the requested folder cannot be created, or is not empty."""
    if wanted is None:
        return scratch
    wanted.mkdir(parents=True, exist_ok=True)
    if any(wanted.iterdir()):
        raise FileExistsError(f"{wanted} is not empty")
    return wanted.resolve()


async def run(options: argparse.Namespace) -> None:
    """Measure and report."""
    material = await load_material(options.recording or CLIP)
    with tempfile.TemporaryDirectory(prefix="ground-truth-") as scratch:
        report = await scenario(options, _folder(options.out, Path(scratch)), material)
    print(tell(report))
    print(json.dumps(report))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


async def main() -> int:
    """The command; returns its exit status."""
    task = asyncio.create_task(run(read_options()))
    stop_on_signals(task)
    try:
        await task
    except asyncio.CancelledError:
        return 130
    except (ProgramError, PublisherError, SourceError, OSError, ValueError, TimeoutError) as error:
        print(f"error: {error or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
