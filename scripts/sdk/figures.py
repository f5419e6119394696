"""What a warm session saves: first sound and first motion, cold, warm, and as the vendor's samples do it, a session for each turn.

Times are from the call to speak until the first item of each kind is there to be published. The stand-in takes 50 ms for each of
token, upgrade and handshake, as a server does that is 50 ms away, and 100 ms for a window of motion.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from relay_server.sources.avatarkit.pool import Pool, running
from relay_server.sources.avatarkit.source import AvatarKitSource
from relay_server.sources.avatarkit.vendor import make_sdk
from relay_server.sources.local.source import LocalSource
from relay_server.sources.source import AudioChunk, AudioSpeech, MotionChunk
from relay_server.sources.speech import SpeechSource
from tests.relay_server.sources.avatarkit.rig import PCM_16K, chunked, now_us, rules, settings, sound
from tests.standins.motion_server import API_KEY, MotionServer

STEP_S = 0.05
INFERENCE_S = 0.1
TURNS = 10
SOUND = sound(3.0)


async def turn(pool: Pool) -> tuple[float, float]:
    """One conversation; ms to the first sound and to the first motion."""
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


def tell(name: str, turns: list[tuple[float, float]], server: MotionServer, since: tuple[int, int]) -> None:
    """A line of figures."""
    audio, motion = (statistics.median(values) for values in zip(*turns, strict=True))
    tokens, upgrades = server.counts.tokens - since[0], server.counts.upgrades - since[1]
    print(
        f"  {name:34s} first sound {audio:7.1f} ms   first motion {motion:7.1f} ms   "
        f"tokens {tokens:2d}   WebSockets {upgrades:2d}   (median of {len(turns)})",
        flush=True,
    )


async def measure(sdk: str) -> None:
    """All three, in one run against one stand-in."""
    server = MotionServer(token_s=STEP_S, inference_s=INFERENCE_S)
    async with server.serving():
        since = (server.counts.tokens, server.counts.upgrades)
        per_turn = []
        for _ in range(TURNS):
            async with running(make_pool(sdk, server)) as pool:
                per_turn.append(await turn(pool))
        tell("cold (a session for each turn)", per_turn, server, since)
        async with running(make_pool(sdk, server)) as pool:
            await turn(pool)
            since = (server.counts.tokens, server.counts.upgrades)
            tell("warm (the session stays)", [await turn(pool) for _ in range(TURNS)], server, since)
        if (server.counts.tokens, server.counts.upgrades) != since:
            raise SystemExit("a warm conversation needed a new token or WebSocket")
        since = (server.counts.tokens, server.counts.upgrades)
        tell("the vendor's own way, by its SDK", [await vendor_turn(sdk, server) for _ in range(TURNS)], server, since)


async def vendor_turn(sdk: str, server: MotionServer) -> tuple[float, float]:
    """As in the vendor's samples: a session is made when the sound is there, which then waits for it."""
    heard = asyncio.Event()

    class Listener:
        def on_frames(self, data: bytes) -> None:
            heard.set()

        def on_failure(self, failure: object) -> None:
            raise SystemExit(f"the session failed: {failure}")

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


if __name__ == "__main__":
    asyncio.run(measure(*sys.argv[1:]))
