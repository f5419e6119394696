"""Unplugs a sound card repeatedly at random moments, and measures reports, the return of sound, and the resume position."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from avatar_relay.media import Pacing
from avatar_relay.messages import ConversationError, PlayerEvent, Stalled
from avatar_relay.publisher import AvatarEvent
from avatar_relay.reasons import Reason
from tests.lab.ground_truth import heard
from tests.lab.ground_truth.heard import Pcm
from tests.lab.ground_truth.scenarios import GAP_FRAMES, Report, setup_told
from tests.lab.ground_truth.speech import RATE_HZ, Material, findable, perform
from tests.lab.ground_truth.station import Setup, Station, findings, station

AWAY_S = (6.0, 20.0)
BETWEEN_S = (1.0, 2.5)
BACK_LIMIT_S = 30.0
STOPPED_S = 0.3
"""Seconds for which the speaker process is stopped to cause an underrun."""
WAYS = ("playing", "in an underrun", "being opened")


@dataclass
class _Pull:
    """One unplugging; times in seconds after it, `back_s` in seconds after plugging in again. NaN: it never happened."""

    way: str
    at_s: float
    away_s: float
    stalled_s: float = float("nan")
    failed_s: float = float("nan")
    back_s: float = float("nan")


@dataclass
class _Watcher:
    """Records the events of the publisher with their times."""

    pulls: list[_Pull] = field(default_factory=list)

    def __call__(self, event: AvatarEvent) -> None:
        if not self.pulls:
            return
        pull, after_s = self.pulls[-1], time.monotonic() - self.pulls[-1].at_s
        match event:
            case ConversationError(fault=fault) if fault.reason is Reason.AUDIO_DEVICE_FAILED and math.isnan(pull.failed_s):
                pull.failed_s = after_s
            case PlayerEvent(body=Stalled(True, _)) if math.isnan(pull.stalled_s):
                pull.stalled_s = after_s


async def pulled(folder: Path, setup: Setup, material: Material, count: int) -> Report:
    """Unplug the card `count` times in one conversation, cycling through `WAYS`."""
    chance = random.Random(setup.seed)
    sound = findable(material, count * (BETWEEN_S[1] + 2.0) + 5.0, setup.seed)
    watcher = _Watcher()
    load = os.getloadavg()[0]
    async with station(folder, setup) as stand:
        rendition = stand.rendition(perform(material, sound, Pacing.BURST))
        rendition.avatar.subscribe(watcher)
        await rendition.begin()
        speaking = asyncio.create_task(rendition.finish())
        await _sounding(stand, 0)
        for number in range(count):
            await asyncio.sleep(chance.uniform(*BETWEEN_S))
            await _pull(stand, watcher, WAYS[number % len(WAYS)], chance.uniform(*AWAY_S))
        speaking.cancel()  # before the interrupt: later payloads would open another conversation
        rendition.avatar.interrupt()
        device = stand.device
    left = findings(folder, device, setup.ppm)
    pulls = watcher.pulls
    repeated = _repeated_ms(left.emitted, sound)
    return {
        "setup": {"pulls": count, **setup_told(setup)},
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "hangs": sum(any(map(math.isnan, (pull.stalled_s, pull.failed_s, pull.back_s))) for pull in pulls),
        **{f"{name}_s": _spread([getattr(pull, f"{name}_s") for pull in pulls]) for name in ("stalled", "failed", "back")},
        "repeated_ms": {"gaps": len(repeated), **_spread(repeated)},
        "output_bytes": (folder / "edge.log").stat().st_size,
        "restarts": left.figures["sink"]["restarts"],
        "pulls": [{"way": pull.way, "away_s": round(pull.away_s, 1), "back_s": round(pull.back_s, 2)} for pull in pulls],
    }


async def _pull(stand: Station, watcher: _Watcher, way: str, away_s: float) -> None:
    speaker, device = stand.speaker_pid(), stand.device
    if way == "in an underrun":
        os.kill(speaker, signal.SIGSTOP)
        await asyncio.sleep(STOPPED_S)
    watcher.pulls.append(_Pull(way, time.monotonic(), away_s))
    if way == "being opened":
        device.unplug_at_next_start()
        os.kill(speaker, signal.SIGKILL)
    else:
        device.unplug()
        os.kill(speaker, signal.SIGCONT)
    await asyncio.sleep(away_s)
    frames = len(device.samples())
    device.plug_in()
    since = time.monotonic()
    with contextlib.suppress(TimeoutError):
        await _sounding(stand, frames)
        watcher.pulls[-1].back_s = time.monotonic() - since


async def _sounding(stand: Station, after: int) -> None:
    """Wait until the device emits sound after frame `after`. Raises `TimeoutError`."""
    async with asyncio.timeout(BACK_LIMIT_S):
        while not stand.device.samples()[after:].any():  # noqa: ASYNC110 - another process writes the file
            await asyncio.sleep(0.05)


def _repeated_ms(emitted: Pcm, sent: Pcm) -> list[float]:
    """For each gap, the duration of sound heard on both sides of it; negative: the duration lost."""
    repeated = []
    end: int | None = None
    for first, last in heard.stretches(emitted, GAP_FRAMES):
        runs = heard.find(emitted[first:last], sent).runs
        if not runs:
            continue
        if end is not None:
            repeated.append((end - runs[0].sent_frame) / RATE_HZ * 1e3)
        end = runs[-1].sent_frame + runs[-1].frames
    return repeated


def _spread(values: list[float]) -> Report:
    return {"least": round(min(values), 2), "most": round(max(values), 2), "mean": round(float(np.mean(values)), 2)} if values else {}
