"""`scripts/fleet`: many simulated devices and publishers on one relay, over the real protocol; no sound, no face.

A session is one device that one publisher speaks to, conversation after conversation. What was said is compared with
what came; the end is a table, and a summary in JSON where asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avatar_relay.media import AudioFormat, Codec, Kind, MotionEncoding, MotionFormat, Pacing
from avatar_relay.publisher import Avatar, Publisher, PublisherError
from avatar_relay.v1 import media_pb2
from tests.lab.fleet.device import SimulatedDevice, open_channel
from tests.lab.fleet.history import History
from tests.lab.fleet.stamp import MOTION_BYTES, WEIGHTS, age_us, audio_payload, motion_payload, read_stamp
from tests.lab.percentiles import percentiles

DEVICES_PER_CHANNEL = 50
"""Streams that share a connection, so that a thousand devices fit into the limit of open files."""
MAX_AGES = 200_000
DRAIN_S = 20.0
KINDS = {media_pb2.KIND_AUDIO: Kind.AUDIO, media_pb2.KIND_MOTION: Kind.MOTION}
AUDIO = AudioFormat(Codec.OPUS)
MOTION = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 50.0, tuple(f"weight{index}" for index in range(WEIGHTS)))


def now_us() -> int:
    """Monotonic."""
    return time.monotonic_ns() // 1_000


class Ear:
    """Writes down what one device hears."""

    def __init__(self, device_id: str, history: History, ages_us: list[int]) -> None:
        self._device_id = device_id
        self._history = history
        self._ages_us = ages_us

    def attached(self) -> None:
        """A stream begins."""
        self._history.stream_began(self._device_id)

    def payload(self, conversation_id: str, payload: Any) -> None:
        """A payload or fragment."""
        self._history.received(self._device_id, conversation_id, KINDS[payload.kind], payload)
        if payload.fragment_offset == 0 and len(self._ages_us) < MAX_AGES:
            self._ages_us.append(age_us(read_stamp(payload.data), now_us()))

    def ended(self, conversation_id: str, audio_seq: int, motion_seq: int) -> None:
        """The end of a conversation."""
        del audio_seq, motion_seq
        self._history.ended(self._device_id, conversation_id)


class Fleet:
    """Devices, publishers, and what they wrote down."""

    def __init__(self, address: str, options: argparse.Namespace) -> None:
        self.history = History()
        self.ages_us: list[int] = []
        self.devices: list[SimulatedDevice] = []
        self.failures: Counter[str] = Counter()
        self.published = 0
        self._address = address
        self._options = options
        self._random = random.Random(options.seed)

    async def run(self) -> None:
        """Attach all, speak for the time asked for, wait until all is heard."""
        options = self._options
        async with AsyncExitStack() as stack:
            await self._attach(stack)
            publishers = [await stack.enter_async_context(Publisher.connect(self._address)) for _ in range(options.publishers)]
            async with asyncio.TaskGroup() as speaking:
                table = asyncio.create_task(self._tell())
                stack.callback(table.cancel)
                chaos = asyncio.create_task(self._cut_now_and_then())
                stack.callback(chaos.cancel)
                for number, device in enumerate(self.devices[: options.sessions]):
                    speaking.create_task(self._speak(number, publishers[number % len(publishers)], device.device_id))

    async def _attach(self, stack: AsyncExitStack) -> None:
        options = self._options
        for number in range(options.devices):
            if number % DEVICES_PER_CHANNEL == 0:
                channel = await stack.enter_async_context(open_channel(self._address))
            name = f"fleet-{number}"
            pause_s = options.slow_reader_s if number < options.slow_readers else 0.0
            device = SimulatedDevice(name, channel, Ear(name, self.history, self.ages_us), pause_s=pause_s)
            self.devices.append(device)
            task = asyncio.create_task(device.run())
            stack.callback(task.cancel)
        async with asyncio.timeout(60):
            for device in self.devices:
                await device.attached.wait()

    async def _speak(self, number: int, publisher: Publisher, device_id: str) -> None:
        options = self._options
        avatar = publisher.avatar(device_id, audio_format=AUDIO, motion_format=MOTION, pacing=Pacing.BURST)
        until = time.monotonic() + options.seconds
        turn = 0
        while time.monotonic() < until:
            turn += 1
            try:
                conversation_id = await self._converse(number, turn, avatar, device_id)
                async with asyncio.timeout(DRAIN_S):
                    await avatar.finished(conversation_id)
            except (PublisherError, TimeoutError) as error:
                self.failures[type(error).__name__] += 1

    async def _converse(self, number: int, turn: int, avatar: Avatar, device_id: str) -> str:
        """One conversation of `utterance_s`; every 40th motion payload is large enough to travel in fragments."""
        options, began = self._options, time.monotonic()
        conversation_id = ""
        for at in range(round(options.utterance_s * 50)):
            if options.pace:
                await asyncio.sleep(max(0.0, began + at / 50 - time.monotonic()))
            audio = audio_payload(number, at, now_us(), 200 + self._random.randrange(500))
            conversation_id = await avatar.yield_audio_data(audio)
            self._note(conversation_id, Kind.AUDIO, audio, device_id)
            rows = 160 if at % 40 == 39 else 1
            motion = motion_payload(number, at, now_us(), rows * MOTION_BYTES)
            if await avatar.yield_frames_data([motion], conversation_id):
                self._note(conversation_id, Kind.MOTION, motion, device_id)
        await avatar.yield_audio_data(b"", end=True)
        avatar.end()
        return conversation_id

    def _note(self, conversation_id: str, kind: Kind, data: bytes, device_id: str) -> None:
        self.published += 1
        self.history.published(conversation_id, kind, data, (device_id,))

    async def _cut_now_and_then(self) -> None:
        while self._options.cut_every_s:
            await asyncio.sleep(self._options.cut_every_s)
            self._random.choice(self.devices).cut()

    async def _tell(self) -> None:
        before, came_before = time.monotonic(), 0
        while True:
            await asyncio.sleep(1)
            came, now = sum(device.figures.payloads for device in self.devices), time.monotonic()
            attached = sum(device.attached.is_set() for device in self.devices)
            age = percentiles(self.ages_us[-5_000:])
            print(
                f"attached {attached:5}  published {self.published:8}  came {came:8}  {(came - came_before) / (now - before):8.0f}/s  "
                f"p50 {age['p50'] / 1e3:7.1f} ms  p99 {age['p99'] / 1e3:7.1f} ms",
                file=sys.stderr,
                flush=True,
            )
            before, came_before = now, came

    def summary(self) -> dict[str, object]:
        """All figures."""
        figures = [device.figures for device in self.devices]
        return {
            "devices": len(self.devices),
            "published": self.published,
            "came": sum(one.payloads for one in figures),
            "bytes": sum(one.bytes for one in figures),
            "messages": sum(one.messages for one in figures),
            "finished": sum(one.finished for one in figures),
            "attached": sum(one.attached for one in figures),
            "resumed": sum(one.resumed for one in figures),
            "lost_conversations": sum(one.lost_conversations for one in figures),
            "streams_ended_with": dict(Counter(name for one in figures for name in one.ended_with)),
            "publishers_failures": dict(self.failures),
            "age_ms": {name: value / 1_000 for name, value in percentiles(self.ages_us).items()},
            "history": asdict(self.history.check()),
        }


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/fleet", description="Many simulated devices and publishers on one relay.")
    parser.add_argument("address", metavar="HOST:PORT", help="a relay that listens")
    parser.add_argument("--devices", type=int, default=20, help="default: 20")
    parser.add_argument("--sessions", type=int, help="devices that are spoken to; default: all")
    parser.add_argument("--publishers", type=int, default=1, help="default: 1")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long new conversations begin; default: 10")
    parser.add_argument("--utterance-s", type=float, default=4.0, help="length of a conversation; default: 4")
    parser.add_argument("--pace", action="store_true", help="speak in real time; otherwise whole utterances at once")
    parser.add_argument("--slow-readers", type=int, default=0, help="the first so many devices read slowly")
    parser.add_argument("--slow-reader-s", type=float, default=1.0, help="what a slow reader waits after each message")
    parser.add_argument("--cut-every-s", type=float, default=0.0, help="break a random device's stream this often")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the summary there")
    options = parser.parse_args(argv)
    options.sessions = options.devices if options.sessions is None else options.sessions
    return options


async def simulate(options: argparse.Namespace) -> dict[str, object]:
    """A whole run; returns the summary."""
    fleet = Fleet(options.address, options)
    await fleet.run()
    return fleet.summary()


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status is 1 where the history has findings."""
    options = read_options(argv)
    summary: dict[str, Any] = {}
    with suppress(KeyboardInterrupt):
        summary = asyncio.run(simulate(options))
    text = json.dumps(summary, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    history = summary.get("history", {})
    return int(not history or any(history[name] for name in ("lost", "doubled", "reordered", "altered", "unfinished")))


if __name__ == "__main__":
    sys.exit(main())
