"""The full path: a voice, the source with a real Server SDK, the stand-in Motion Server, a relay, and a fast device."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from avatar_relay.media import AudioFormat, Codec, OnPlaying
from avatar_relay.publisher import Publisher
from avatar_relay.reasons import DropReason, Fault, Reason
from relay_server.background import Background
from relay_server.config import RelayConfig
from relay_server.connections.relay import Relay
from relay_server.observer import RelayObserver
from relay_server.server import build_relay
from relay_server.sources.avatarkit.observer import SdkObserver
from relay_server.sources.avatarkit.pool import Pool, running
from relay_server.sources.avatarkit.session_stock import SessionState, StockRules
from relay_server.sources.avatarkit.settings import AvatarKitSettings
from relay_server.sources.avatarkit.source import AvatarKitSource
from relay_server.sources.avatarkit.vendor import make_sdk
from relay_server.sources.local.source import LocalSource
from relay_server.sources.source import AudioSpeech
from relay_server.sources.speech import SpeechSource
from relay_server.sources.speech_publishing import PublishedSpeech
from tests.lab.recordings import speech_like
from tests.relay_server.sources.avatarkit.motion_server import API_KEY, APP_ID, AVATAR_ID, MotionServer, Request
from tests.relay_server.sources.fast_device import FastDevice, Seen

PCM_16K = AudioFormat(Codec.PCM_S16LE, 16_000)
PATIENCE_S = 30.0
SDKS = ("spatius", "spatialreal")


def now_us() -> int:
    """A monotonic clock."""
    return time.monotonic_ns() // 1_000


@dataclass
class Watched(SdkObserver):
    """Counts the observed events."""

    failures: list[Reason] = field(default_factory=list)
    drops: list[DropReason] = field(default_factory=list)
    warm: list[bool] = field(default_factory=list)
    start_us: list[int] = field(default_factory=list)

    def session_opened(self, source: str, start_us: int) -> None:
        """See `SdkObserver`."""
        self.start_us.append(start_us)

    def session_closed(self, source: str, open_us: int) -> None:
        """See `SdkObserver`."""

    def session_used(self, source: str, *, warm: bool) -> None:
        """See `SdkObserver`."""
        self.warm.append(warm)

    def failed(self, source: str, reason: Reason) -> None:
        """See `SdkObserver`."""
        self.failures.append(reason)

    def dropped(self, source: str, payloads: int, reason: DropReason) -> None:
        """See `SdkObserver`."""
        self.drops += [reason] * payloads


def settings(sdk: str, server: MotionServer, **more: Any) -> AvatarKitSettings:
    """An account at the stand-in."""
    values: dict[str, Any] = {"app_id": APP_ID, "avatar_id": AVATAR_ID, "start_timeout_s": 30}
    urls = {"console_url": server.console_url, "ingress_url": server.ingress_url}
    return AvatarKitSettings(sdk=sdk, **(values | urls | more))


def rules(account: AvatarKitSettings) -> StockRules:
    """Sessions for sound at 16 kHz."""
    second = 1_000_000
    return StockRules(PCM_16K, account.warm_sessions, account.max_sessions, account.idle_close_s * second, account.session_max_s * second)


@functools.cache
def sound(seconds: float) -> bytes:
    """Speech-like PCM at 16 kHz."""
    return speech_like(seconds, 16_000).astype("<i2").tobytes()


async def chunked(data: bytes, size: int = 6_400) -> AsyncIterator[bytes]:
    """Return a voice that is faster than real time."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
        await asyncio.sleep(0)


@dataclass
class Rig:
    """The complete set-up. `speak` runs one conversation."""

    server: MotionServer
    pool: Pool
    relay: Relay
    publisher: Publisher
    device: FastDevice
    watched: Watched
    speed: float
    reports: dict[str, Fault] = field(default_factory=dict)
    """Reports of conversations whose motion was lost."""

    def source(self, device: str = "lobby") -> AvatarKitSource:
        """Return the source of a device; its voices are never used."""
        return AvatarKitSource(self.pool, device, text=SpeechSource(), audio=LocalSource())

    async def begin(
        self, data: bytes, on_playing: OnPlaying = OnPlaying.REPLACE, *, chunks: AsyncIterator[bytes] | None = None
    ) -> PublishedSpeech:
        """Begin to speak."""
        performance = await self.source().perform(AudioSpeech(PCM_16K, chunks or chunked(data)))
        rendition = PublishedSpeech(self.publisher, performance, ("lobby",), on_playing, report=self.reports.__setitem__)
        await rendition.begin()
        return rendition

    async def speak(self, data: bytes, on_playing: OnPlaying = OnPlaying.REPLACE) -> str:
        """Speak to the end, until the device has finished; return the conversation's id."""
        rendition = await self.begin(data, on_playing)
        await rendition.finish()
        await self.until_finished(rendition.conversation_id)
        return rendition.conversation_id

    async def until_finished(self, conversation_id: str) -> Seen:
        """Wait until the device has finished a conversation, and return what it recorded.

        The timeout counts what the device could have played meanwhile: a busy machine does not count as a hanging conversation.
        """
        seen = self.device.seen[conversation_id]
        until_us = self.device.now_us + round(PATIENCE_S * self.speed * 1e6)
        while not seen.finished:
            assert self.device.now_us < until_us, f"{conversation_id} was left without its end: {self.describe(conversation_id)}"
            await self.device.until(self.device.now_us + 40_000)
        return seen

    def describe(self, conversation_id: str) -> str:
        """Describe a conversation's state in all components."""
        places = {
            "seen": self.device.seen[conversation_id],
            "audible": self.device.playback.view(self.device.now_us),
            "sessions": {standing.name: self.pool.count(standing) for standing in SessionState},
            "failures": self.watched.failures,
            "reports": self.reports,
        }
        return " ".join(f"{name}={value!r:.400}" for name, value in places.items())

    async def until_warm(self) -> None:
        """Wait for a warm session."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if self.pool.count(SessionState.IDLE):
                    return
                await asyncio.sleep(0.01)

    def requests_of(self, seen: Seen) -> list[Request]:
        """Return the requests from which a device's motion came, matched by the bytes."""
        return [request for request in self.server.requests.values() if set(request.sent) & set(seen.motion)]


@asynccontextmanager
async def rig(
    sdk: str,
    server: MotionServer,
    *,
    speed: float = 40.0,
    jitter: float = 0.0,
    observer: RelayObserver | None = None,
    sdk_observer: SdkObserver | None = None,
    **more: Any,
) -> AsyncIterator[Rig]:
    """Set up everything with the unmodified package `sdk`; skips the test if it is not installed."""
    pytest.importorskip(sdk, reason=f"the package {sdk} is not installed")
    async with server.serving():
        account = settings(sdk, server, **more)
        watched = Watched()
        vendor = make_sdk(account, API_KEY)
        pool = Pool(
            vendor,
            rules(account),
            start_timeout_s=account.start_timeout_s,
            now_us=now_us,
            observer=sdk_observer or watched,
            jitter=lambda: jitter,
        )
        relay = build_relay(RelayConfig(listen="127.0.0.1:0"), observer)
        device = FastDevice(relay.connect_device())
        await device.attach()
        tasks = [asyncio.create_task(work) for work in (relay.run(), device.listen(), device.play(speed))]
        try:
            async with running(pool, Background().start), Publisher.in_process(relay) as publisher:
                yield Rig(server, pool, relay, publisher, device, watched, speed)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ended:
            if isinstance(end, Exception):
                raise end
