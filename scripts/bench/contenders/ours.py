"""Contender `ours`: the installed relay-server; publishers use the publisher library, devices the real protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat, Pacing
from avatar_relay.publisher import (
    Avatar,
    Publisher,
    grpc_link,  # noqa: F401  # before anything is measured: a publisher that connects loads it otherwise, and the peers' ways are loaded
)
from scripts.bench.contenders.relay_device import REPORT_S, RelayDevice, open_channel
from scripts.bench.contract import Received
from tests.lab.stamp import AUDIO_BYTES, WEIGHTS

OPUS = AudioFormat(Codec.OPUS)
"""In packets of 20 ms."""
PCM = AudioFormat(Codec.PCM_S16LE, 16_000)
"""In payloads of 3,200 B, 100 ms: AvatarKit's."""
MOTION = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 60.0, tuple(f"weight{index}" for index in range(WEIGHTS)))
"""A window of 26 KB is 2 s."""


class Clients:
    """See `contract.Clients`. One publisher carries all sessions."""

    media_tick_us = 0
    report_s = REPORT_S

    def __init__(self, address: str, received: Received) -> None:
        self._address = address
        self._received = received
        self._stack = AsyncExitStack()
        self._publisher: Publisher | None = None
        self._avatars: dict[int, Avatar] = {}
        self._conversations: dict[int, str] = {}
        self._targets: dict[int, list[str]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def attach(self, session: int, device: int) -> None:
        """See `contract.Clients`."""
        channel = await self._stack.enter_async_context(open_channel(self._address))
        name = f"device-{session}-{device}"
        simulated = RelayDevice(name, channel, self._received, report_s=self.report_s)
        self._tasks.append(asyncio.create_task(simulated.run()))
        await simulated.attached.wait()
        self._targets.setdefault(session, []).append(name)

    async def publish(self, session: int, audio: Sequence[bytes], motion: Sequence[bytes]) -> None:
        """See `contract.Clients`."""
        if self._publisher is None:
            self._publisher = await self._stack.enter_async_context(Publisher.connect(self._address, media_tick_us=self.media_tick_us))
        avatar = self._avatars.get(session)
        if avatar is None:
            targets = self._targets[session]
            sound = OPUS if len(audio[0]) == AUDIO_BYTES else PCM
            avatar = self._publisher.avatar(*targets, audio_format=sound, motion_format=MOTION, pacing=Pacing.BURST)
            self._avatars[session] = avatar
        for index in range(max(len(audio), len(motion))):
            if index < len(audio):
                self._conversations[session] = await avatar.yield_audio_data(audio[index])
            if index < len(motion):
                await avatar.yield_frames_data([motion[index]], self._conversations[session])

    async def close(self) -> None:
        """See `contract.Clients`."""
        for avatar in self._avatars.values():
            avatar.interrupt()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()


class TickingClients(Clients):
    """The publisher also holds media for a tick."""

    media_tick_us = 10_000
