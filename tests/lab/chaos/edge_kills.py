"""Kills real edge clients (virtual sound device, no face) or their relay with SIGKILL at seeded random points, and restarts them.

    scripts/edge_kills --kills 100 --out build/edge_kills
    scripts/edge_kills --kills 100 --victim relay

A backend publishes to them continuously, at twice the speed of speech. Each conversation must end exactly once with a reason: played to
its end, or lost with its device; if only the relay is killed, all are played. Each device must play again. Measured, in seconds from the
start of a device's new process: to the relay's welcome, and to the first sound of a conversation. `stalls` counts how often a device ran
out of sound within a conversation. Writes one line per event to history.tsv, and summary.json; exits with 1 if a guarantee was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import random
import struct
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, MotionFormat, OnPlaying
from avatar_relay.messages import PlayerEvent, Stalled, Started
from avatar_relay.publisher import ConversationFailedError, FaultError, Publisher
from avatar_relay.publisher.events import AvatarEvent
from avatar_relay.v1 import admin_service_pb2, admin_service_pb2_grpc
from tests.lab.history import History
from tests.lab.percentiles import seconds
from tests.lab.restarted_programs import EdgeProgram, RelayProgram
from tests.lab.stamp import now_us
from tests.lab.tool import add_out_folder, command_line, write_json

AUDIO = AudioFormat(Codec.PCM_S16LE, 16_000)
MOTION = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ARKIT_NAMES)
PIECES = (1, 8)
"""Range of the number of pieces in a conversation."""
PLAYS_S = (0.0, 2.5)
"""Range of the lifetime of a playing device or a listening relay."""
PIECE_S = 0.5
"""Duration of a piece; the next one follows after half of it."""
YOUNG_SHARE, YOUNG_S = 0.2, (0.0, 1.0)
"""Share of devices that are killed this soon after their start: while starting, attaching, or receiving the first conversation."""
HUNG_S = 45.0
"""A device without sound, or a conversation without an end, counts as hung after this: longer than a device's lease."""
POLL_S = 0.01


TONE = b"".join(struct.pack("<h", round(3_000 * math.sin(math.tau * 220 * n / 16_000))) for n in range(round(16_000 * PIECE_S)))
"""A quiet tone; a whole number of periods."""
MOVE = b"".join(struct.pack(f"<{len(ARKIT_NAMES)}f", *[row / 15] * len(ARKIT_NAMES)) for row in range(15))
"""Motion as long as the tone."""


@dataclass(slots=True)
class Findings:
    """Results of the run."""

    kills: int = 0
    stalls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    attached_s: list[float] = field(default_factory=list)
    heard_s: list[float] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    """Conversations that were not played to their end although their device was not killed."""


class Face:
    """One device, with the tasks that publish to it and kill it."""

    def __init__(self, edge: EdgeProgram, publisher: Publisher, history: History, findings: Findings, chance: random.Random) -> None:
        self._edge = edge
        self._history = history
        self._findings = findings
        self._chance = chance
        self._avatar = publisher.avatar(edge.device_id, audio_format=AUDIO, motion_format=MOTION, on_playing=OnPlaying.QUEUE)
        self._avatar.subscribe(self._hear)
        self._kills = 0
        self.heard_us = 0
        self.attached_us = 0

    def _hear(self, event: AvatarEvent) -> None:
        match event:
            case PlayerEvent(body=Started()):
                self.heard_us = now_us()
                self._history.note(self._edge.device_id, "started", event.conversation_id)
            case PlayerEvent(body=Stalled(stalled=True)):
                self._findings.stalls += 1
                self._history.note(self._edge.device_id, "stalled", event.conversation_id)
            case _:
                pass

    async def speak(self, stop: asyncio.Event) -> None:
        """Publish one conversation after another."""
        while not stop.is_set():
            pieces, kills = self._chance.randint(*PIECES), self._kills
            cid = await self._avatar.yield_audio_data(TONE)
            self._history.note(self._edge.device_id, "sent", cid)
            outcome = await self._outcome(cid, pieces)
            self._findings.outcomes[outcome] += 1
            self._history.note(self._edge.device_id, "outcome", cid, detail=outcome)
            if outcome != "completed" and self._kills == kills:
                self._findings.cut.append(f"{cid} on {self._edge.device_id} ended as {outcome}, though its device lived")

    async def _outcome(self, cid: str, pieces: int) -> str:
        try:
            async with asyncio.timeout(HUNG_S):
                with contextlib.suppress(ConversationFailedError):  # it may end before everything is sent; `finished` has the reason
                    await self._avatar.yield_frames_data([MOVE], cid)
                    for _ in range(1, pieces):
                        await asyncio.sleep(PIECE_S / 2)
                        await self._avatar.yield_audio_data(TONE)
                        await self._avatar.yield_frames_data([MOVE], cid)
                    await self._avatar.yield_audio_data(b"", end=True)
                return (await self._avatar.finished(cid)).reason
        except TimeoutError:
            self._findings.hung.append(f"{cid} on {self._edge.device_id} has no end")
            self._avatar.interrupt()
            return "none"
        except FaultError as error:
            return f"failed:{error.fault.reason}"

    async def attached(self) -> None:
        """Start it, and wait until it is attached."""
        await self._edge.start()
        async with asyncio.timeout(HUNG_S):
            while self.attached_us < self._edge.started_us:  # noqa: ASYNC110 - the watcher has no event
                await asyncio.sleep(POLL_S)

    async def live_and_die(self, kills: int) -> None:
        """Kill it `kills` times, and check that it recovers each time."""
        for _ in range(kills):
            if self._chance.random() < YOUNG_SHARE:
                await asyncio.sleep(self._chance.uniform(*YOUNG_S))
            else:
                await self._until_heard()
                await asyncio.sleep(self._chance.uniform(*PLAYS_S))
            await self._edge.kill()
            self._kills += 1
            self._findings.kills += 1
            self._history.note(self._edge.device_id, "killed")
            await self._edge.start()
        await self._until_heard()

    async def _until_heard(self) -> None:
        try:
            async with asyncio.timeout(HUNG_S):
                while self.heard_us < self._edge.started_us:  # noqa: ASYNC110 - both are set by other tasks
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return self._findings.hung.append(f"{self._edge.device_id} is not heard")
        self._findings.heard_s.append((self.heard_us - self._edge.started_us) / 1e6)
        self._findings.attached_s.append((self.attached_us - self._edge.started_us) / 1e6)


async def watch(address: str, faces: dict[str, Face]) -> None:
    """Record when devices attach, through the operator's watch, until the relay is gone."""
    async with grpc.aio.insecure_channel(address) as channel:
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for event in admin.WatchEvents(admin_service_pb2.WatchEventsRequest()):
                if event.HasField("attached") and event.device_id in faces:
                    faces[event.device_id].attached_us = now_us()


async def kill_relay(relay: RelayProgram, kills: int, findings: Findings, chance: random.Random) -> None:
    """Kill the relay `kills` times."""
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(*PLAYS_S))
        await relay.kill()
        findings.kills += 1
        await relay.start()


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything; returns the summary."""
    began, findings, stop = time.monotonic(), Findings(), asyncio.Event()
    relay = RelayProgram()
    async with AsyncExitStack() as stack:
        history = stack.enter_context(History(options.out / "history.tsv"))
        await relay.start()
        stack.push_async_callback(relay.kill)
        publisher = await stack.enter_async_context(Publisher.connect(relay.address))
        faces: dict[str, Face] = {}
        for number in range(options.devices):
            edge = EdgeProgram(f"d{number}", relay.address, options.out / f"d{number}.log")
            stack.push_async_callback(edge.kill)
            chance = random.Random(options.seed * 1_000 + number)
            faces[edge.device_id] = Face(edge, publisher, history, findings, chance)
        watching = asyncio.create_task(watch(relay.address, faces))
        await asyncio.gather(*[face.attached() for face in faces.values()])
        speaking = [asyncio.create_task(face.speak(stop)) for face in faces.values()]
        if options.victim == "relay":
            await kill_relay(relay, options.kills, findings, random.Random(options.seed))
        else:
            await asyncio.gather(*[face.live_and_die(math.ceil(options.kills / options.devices)) for face in faces.values()])
        stop.set()
        await asyncio.gather(*speaking)
        watching.cancel()
    return {
        "command": " ".join(sys.argv),
        "seed": options.seed,
        "seconds": round(time.monotonic() - began, 1),
        "kills": findings.kills,
        "violations": len(findings.hung) + len(findings.cut),
        "hung": findings.hung,
        "cut": findings.cut,
        "outcomes": dict(findings.outcomes),
        "stalls": findings.stalls,
        "attached_after_start_s": seconds(findings.attached_s),
        "heard_after_start_s": seconds(findings.heard_s),
    }


def main() -> int:
    """The program; returns its exit status."""
    parser = command_line("edge_kills", __doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same points in the same order (default 1)")
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="default 100")
    parser.add_argument("--victim", choices=("device", "relay"), default="device", help="who is killed (default: the devices)")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="default 1: each start takes a second of a processor")
    add_out_folder(parser, "edge_kills")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    options.out.mkdir(parents=True, exist_ok=True)
    summary = asyncio.run(run(options))
    write_json(summary, options.out / "summary.json")
    return 1 if summary["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
