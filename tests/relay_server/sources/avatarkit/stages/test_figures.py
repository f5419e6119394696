"""Savings of a warm session: times to first sound and motion, cold, warm, and with a session per turn as in the vendor's samples.

Times are from the call to speak until the first item of each kind can be published. The stand-in takes 50 ms for each of
token, upgrade and handshake, like a server 50 ms away, and 100 ms for a window of motion; it counts its
requests. The three variants alternate, so that other load on the machine affects all of them.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relay_server.background import Background
from relay_server.sources.avatarkit.pool import Pool, running
from relay_server.sources.avatarkit.source import AvatarKitSource
from relay_server.sources.avatarkit.vendor import make_sdk
from relay_server.sources.local.source import LocalSource
from relay_server.sources.source import AudioChunk, AudioSpeech, MotionChunk
from relay_server.sources.speech import SpeechSource
from tests.relay_server.sources.avatarkit.motion_server import API_KEY, MotionServer
from tests.relay_server.sources.avatarkit.rig import PCM_16K, SDKS, chunked, now_us, rules, settings, sound

STEP_S = 0.05
INFERENCE_S = 0.1
SOUND = sound(3.0)
ROUNDS = 20
"""Turns of each variant."""


async def turn(pool: Pool) -> tuple[float, float]:
    """Run one conversation; return the ms to the first sound and to the first motion."""
    source = AvatarKitSource(pool, "lobby", text=SpeechSource(), audio=LocalSource())
    began = time.perf_counter()
    performance = await source.perform(AudioSpeech(PCM_16K, chunked(SOUND)))
    first: dict[type, float] = {}
    async for item in performance.items:
        first.setdefault(type(item), (time.perf_counter() - began) * 1e3)
    return first[AudioChunk], first[MotionChunk]


def make_pool(sdk: str, server: MotionServer) -> Pool:
    """A pool that keeps one session."""
    account = settings(sdk, server, max_sessions=1)
    return Pool(make_sdk(account, API_KEY), rules(account), start_timeout_s=account.start_timeout_s, now_us=now_us)


Counted = tuple[int, int, int]


@dataclass
class Way:
    """One way to speak, with results per turn: ms to the first sound and motion; tokens, upgrades and handshakes requested."""

    name: str
    speak: Callable[[], Awaitable[tuple[float, float]]]
    times_ms: list[tuple[float, float]] = field(default_factory=list)
    asked: list[Counted] = field(default_factory=list)

    async def take_turn(self, server: MotionServer) -> None:
        """Speak once."""
        before = counted(server)
        self.times_ms.append(await self.speak())
        tokens, upgrades, handshakes = (now - then for now, then in zip(counted(server), before, strict=True))
        self.asked.append((tokens, upgrades, handshakes))

    def figures(self) -> dict[str, object]:
        """Return the values for the table and the JSON."""
        sound_ms, motion_ms = (sorted(round(value, 1) for value in values) for values in zip(*self.times_ms, strict=True))
        tokens, upgrades, handshakes = (sum(values) for values in zip(*self.asked, strict=True))
        return {
            "first_sound_ms": round(statistics.median(sound_ms), 1),
            "first_motion_ms": round(statistics.median(motion_ms), 1),
            "first_sound_ms_all": sound_ms,
            "first_motion_ms_all": motion_ms,
            "tokens": tokens,
            "upgrades": upgrades,
            "handshakes": handshakes,
        }


def counted(server: MotionServer) -> Counted:
    """Return the stand-in's request counts so far."""
    return server.counts.tokens, server.counts.upgrades, server.counts.handshakes


async def measure(sdk: str, rounds: int) -> dict[str, dict[str, object]]:
    """Measure all three, alternating, in one run against one stand-in."""
    server = MotionServer(token_s=STEP_S, inference_s=INFERENCE_S)

    async def cold() -> tuple[float, float]:
        async with running(make_pool(sdk, server), Background().start) as pool:
            return await turn(pool)

    async with server.serving(), running(make_pool(sdk, server), Background().start) as kept:
        await turn(kept)
        ways = (
            Way("cold", cold),
            Way("warm", lambda: turn(kept)),
            Way("vendor", lambda: vendor_turn(sdk, server)),
        )
        for number in range(rounds):
            for shift in range(len(ways)):
                await ways[(number + shift) % len(ways)].take_turn(server)
    return {way.name: way.figures() for way in ways}


async def vendor_turn(sdk: str, server: MotionServer) -> tuple[float, float]:
    """As in the vendor's samples: the session is created once the sound exists, which then waits for it."""
    heard = asyncio.Event()

    class Listener:
        def on_frames(self, data: bytes) -> None:
            heard.set()

        def on_failure(self, failure: object) -> None:
            raise AssertionError(f"the session failed: {failure}")

        def on_closed(self) -> None:
            pass

    began = time.perf_counter()
    session = make_sdk(settings(sdk, server), API_KEY).session(PCM_16K, Listener())
    await session.start()
    first_sound_ms = (time.perf_counter() - began) * 1e3
    await session.send_audio(SOUND, end=True)
    await heard.wait()
    first_motion_ms = (time.perf_counter() - began) * 1e3
    await session.close()
    return first_sound_ms, first_motion_ms


WORDS = {
    "cold": "cold: no session is open",
    "warm": "warm: the session stays",
    "vendor": "the vendor's way: a session per turn",
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sdk", SDKS)
async def test_a_warm_conversation_needs_nothing_new(sdk: str, figures: Path) -> None:
    """Prints a table and writes `figures.json`. The times require an idle machine."""
    ways = await measure(sdk, ROUNDS)
    lines = [f"  {f'median of {ROUNDS}':38s} first sound  first motion  tokens  upgrades  handshakes"]
    for name, row in ways.items():
        times = f"{row['first_sound_ms']:8.1f} ms   {row['first_motion_ms']:8.1f} ms"
        lines.append(f"  {WORDS[name]:38s} {times}  {row['tokens']:6d}  {row['upgrades']:8d}  {row['handshakes']:10d}")
    sys.stdout.write("\n".join(lines) + "\n")
    well = all(ways["warm"][name] == 0 for name in ("tokens", "upgrades", "handshakes"))
    report = {"sdk": sdk, "rounds": ROUNDS, "step_ms": STEP_S * 1e3, "inference_ms": INFERENCE_S * 1e3, "well": well, "ways": ways}
    (figures / "figures.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    assert well
