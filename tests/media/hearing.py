"""Plays a file in three ways: with `relayctl play`, through the publisher library, and on the device alone."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray

from avatar_relay import wire
from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.media import AudioFormat, Kind, Payload
from avatar_relay.messages import ConversationEnd, ConversationError, Media
from avatar_relay.publisher import InvalidMediaError, Publisher
from avatar_relay.reasons import Fault, Reason
from avatar_relay.tracing import start_telemetry
from avatar_relay.v1 import admin_service_pb2 as pb
from avatar_relay.v1 import admin_service_pb2_grpc as services
from edge_client.motion.decoders import make_motion_decoder
from relay_server.background import Background
from relay_server.cli import build_parser, load_config
from relay_server.relayctl import cli as relayctl
from relay_server.server import build_relay, serving, voice
from tests.edge_client.playback_bench import Bench, SteppedSink, open_
from tests.relay_server.sources.fast_device import FastDevice

CHUNK_BYTES = 3_001
"""Chunk size for publishing: not a multiple of a sample, a page or a frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """`verdict` is that of `finished`, or "refused"; then `told` has the reason. Otherwise `told` lists irregularities."""

    verdict: str
    frames: int
    told: tuple[str, ...]
    samples: NDArray[np.int16]

    @property
    def line(self) -> tuple[str, int, tuple[str, ...]]:
        """The values that must be the same in all three ways."""
        return self.verdict, self.frames, self.told


def refused(text: str) -> Heard:
    """The result if nothing was played."""
    return Heard("refused", 0, (text,), np.zeros(0, np.int16))


class House:
    """A relay with one device per rate."""

    def __init__(self, address: str, publisher: Publisher, devices: dict[int, FastDevice]) -> None:
        self._address = address
        self._publisher = publisher
        self._devices = devices
        self.faults: dict[str, list[Fault]] = defaultdict(list)

    async def watch(self) -> None:
        """Record the events of conversations until cancelled."""
        async with grpc.aio.insecure_channel(self._address) as channel:
            async for event in services.AdminServiceStub(channel).WatchEvents(pb.WatchEventsRequest()):
                if event.WhichOneof("event") == "error":
                    self.faults[event.conversation_id].append(wire.fault_from_status(event.error))

    async def play(self, name: str, rate_hz: int) -> Heard:
        """Play a file with `relayctl play`."""
        device, said = self._devices[rate_hz], io.StringIO()
        before, device.heard = set(device.seen), []
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = await asyncio.to_thread(relayctl.main, ["--relay", self._address, "play", f"d{rate_hz}", name])
        if code:
            return refused(said.getvalue().strip())
        while not (new := set(device.seen) - before):  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        (conversation_id,) = new
        return await self._finished(device, conversation_id, rate_hz)

    async def publish(self, data: bytes, declared: AudioFormat) -> Heard:
        """Publish through the library."""
        rate_hz = declared.sample_rate_hz
        device = self._devices[rate_hz]
        device.heard = []
        avatar = self._publisher.avatar(f"d{rate_hz}", audio_format=declared)
        conversation_id = ""
        try:
            for at in range(0, len(data), CHUNK_BYTES):
                conversation_id = await avatar.yield_audio_data(data[at : at + CHUNK_BYTES])
        except InvalidMediaError as error:
            avatar.interrupt()
            return refused(error.fault.text)
        avatar.end()
        return await self._finished(device, conversation_id, rate_hz)

    async def _finished(self, device: FastDevice, conversation_id: str, rate_hz: int) -> Heard:
        seen = device.seen[conversation_id]
        async with asyncio.timeout(20):
            while not seen.ended:  # noqa: ASYNC110 - so that only sound is heard: it arrives more slowly than this device plays
                await asyncio.sleep(0.002)
            while not seen.finished:
                await device.step()
                await asyncio.sleep(0)
            (finished,) = seen.finished
            await asyncio.sleep(0.05)  # the relay's responses and the watchers' events arrive on separate streams
        samples = np.concatenate(device.heard or [np.zeros(0, np.int16)])
        return _heard(finished.reason, finished.position_us, rate_hz, self.faults[conversation_id], samples)


def _heard(verdict: str, position_us: int, rate_hz: int, faults: list[Fault], samples: NDArray[np.int16]) -> Heard:
    if any(fault.reason is Reason.AUDIO_UNDECODABLE for fault in faults):
        return refused("; ".join(fault.text for fault in faults))
    told = tuple(fault.text for fault in faults if fault.reason is Reason.AUDIO_IRREGULAR)
    return Heard(verdict, round(position_us * rate_hz / 1e6), told, samples)


def on_device(data: bytes, declared: AudioFormat) -> Heard:
    """Play on the device alone, as if published without any checks."""
    rate_hz = declared.sample_rate_hz
    bench = Bench(sink=SteppedSink(rate_hz))
    bench.handle(open_("a", motion=None, audio=declared))
    chunks = [data[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES)]
    for seq, chunk in enumerate(chunks, 1):
        bench.handle(Media("a", (Payload(Kind.AUDIO, seq, chunk),)))
    bench.handle(ConversationEnd("a", len(chunks), 0))
    while not bench.finished("a"):
        bench.run(100_000)
    (finished,) = bench.finished("a")
    faults = [output.fault for _, output in bench.outputs if isinstance(output, ConversationError)]
    return _heard(finished.reason, finished.position_us, rate_hz, faults, bench.played)


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """Run a relay whose speech folder is `folder`."""
    config = load_config(build_parser().parse_args(["--listen", "127.0.0.1:0", "--speech-folder", str(folder)]), {})
    relay = build_relay(config)
    devices = {
        rate_hz: FastDevice(relay.connect_device(), f"d{rate_hz}", make_motion_decoder=make_motion_decoder, rate_hz=rate_hz)
        for rate_hz in PCM_RATES_HZ
    }
    telemetry = start_telemetry("relay-server", os.urandom(8).hex(), "0", {})
    async with voice(relay, telemetry, {}, Background().start) as speech, serving(relay, speech) as (_, address):
        for device in devices.values():
            await device.attach()
        async with asyncio.TaskGroup() as group, Publisher.connect(address) as publisher:
            here = House(address, publisher, devices)
            tasks = [group.create_task(work) for device in devices.values() for work in (device.listen(), _talk(device))]
            tasks.append(group.create_task(here.watch()))
            await asyncio.sleep(0.2)
            yield here
            for task in tasks:
                task.cancel()


async def _talk(device: FastDevice) -> None:
    """Answer the relay's pings, even while nothing plays."""
    while True:
        await device.talk()
        await asyncio.sleep(0.01)


def signal_to_error_db(heard: NDArray[np.int16], wanted: NDArray[np.float64]) -> float:
    """Ratio of signal to error of the played sound against a reference, at the best time offset."""
    sounding = np.flatnonzero(heard)
    heard = heard[sounding[0] : sounding[-1] + 1]
    size = 2 << (len(heard) + len(wanted)).bit_length()
    matched = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size)), size)
    lag = int(matched.argmax())
    lag = lag - size if lag > size // 2 else lag
    start, wanted = max(lag, 0), wanted[max(-lag, 0) :]
    common = min(len(heard) - start, len(wanted))
    error = heard[start : start + common] - wanted[:common]
    return float(10 * np.log10((wanted[:common] ** 2).mean() / max((error**2).mean(), 1e-9)))
