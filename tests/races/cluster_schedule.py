"""Seeded random schedules for two or three relays: as in `schedule`, and relays are killed, drained, partitioned and disconnected.

Real relays, doors, homes, tunnels and claims; the real library and player; messages are encoded where they cross processes; an in-memory
backplane with delays, losses and partitions; an event loop with virtual time. A relay that starts may be of the version before. Clients
connect to any relay, stay, and change relays. What a client sent on a stream that it gave up may arrive seconds later, when it has a new
stream; no client may be replaced by itself.
Finally all faults are removed, all conversations are ended, and must finish: `schedule.judge_what_was` has the conditions that must hold.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from avatar_relay import wire
from avatar_relay.errors import PeerError
from avatar_relay.media import OnPlaying
from avatar_relay.reasons import Reason
from avatar_relay.v1 import device_service_pb2 as device_pb
from relay_server.access.caller import EVERYBODY
from relay_server.cluster.door import DoorPort
from relay_server.cluster.frames import OLDEST_VERSION, TUNNEL_VERSION
from relay_server.cluster.service import take
from relay_server.core.device_outbox import MediaMessage
from relay_server.service.device import encode
from tests.lab.memory_backplane import MemoryBus
from tests.races.backend import DEVICE, Backend
from tests.races.edge import Edge
from tests.races.legs import Leg
from tests.races.node import Node
from tests.races.schedule import Verdict, judge_what_was
from tests.races.sounds import Sounds
from tests.races.virtual_loop import run_virtual

NAMES = ("x", "y", "z")
STEPS = 60
SETTLED_WITHIN_S = 90.0
SETTLED_CLAIMS_S = 3.0
"""A relay whose device is away asks for it again within this time, and learns that another one has it."""
STRIDE_S = 0.02
NARROW_S = 1.5
"""Longest delay of messages on a slow link."""
LATE_SHARE = 0.05
"""Share of streams that a client gives up before its hello has arrived."""
_ACTS = {
    "speak": 20,
    "end": 8,
    "interrupt": 4,
    "motion": 8,
    "hold": 3,
    "wait": 40,
    "cut": 4,
    "move": 4,
    "kill": 1.5,
    "drain": 1.5,
    "part": 1.5,
    "cut off": 1,
    "lose": 1,
}

LINKED_SHARE = 0.75
"""Relays that have links. Between two of them, tunnels do not go through the backplane."""


class ClusterSchedule:
    """One schedule."""

    def __init__(self, seed: int, devices: tuple[str, ...] = (DEVICE,)) -> None:
        """Publishers send to all `devices`."""
        self.chance = random.Random(seed)
        self.numbers = itertools.count(1)
        self._versions = random.Random(seed)
        self._links = random.Random(f"links {seed}")
        self.bus = MemoryBus(seed)
        self.bus.delay_s = (0.0, self.chance.choice((0.0, 0.002, 0.02)))
        self.nodes: dict[str, Node] = {}
        self.sounds = Sounds()
        self.backends = [Backend(name, self.sounds, self.clock, devices) for name in ("a", "b")]
        self.edges = [Edge(self.clock, device_id) for device_id in devices]
        self.edge = self.edges[0]
        self.peers: list[Backend | Edge] = [*self.backends, *self.edges]
        self.cuts = 0
        self.late_share = LATE_SHARE
        self.narrow: set[Backend | Edge] = set()
        """Clients whose link is slow."""
        self.replaced: list[str] = []
        """Streams that a relay ended in favour of an older one of the same client."""
        self._at: dict[Backend | Edge, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._troubles: set[asyncio.Task[None]] = set()
        self._calm = False

    def clock(self) -> int:
        """Virtual time in µs."""
        return round(asyncio.get_running_loop().time() * 1e6)

    @property
    def replacing(self) -> set[str]:
        """Conversations that replaced what played."""
        return {cid for backend in self.backends for cid in backend.said_by[OnPlaying.REPLACE]}

    async def run(self) -> None:
        """Perform random actions, then end everything."""
        names = NAMES[: self.chance.choice((2, 3))]
        await self.begin(names, {peer: self.chance.choice(names) for peer in self.peers})
        for act in self.chance.choices(list(_ACTS), list(_ACTS.values()), k=STEPS):
            await self._act(act)
        await self.settle()

    async def begin(self, names: Sequence[str], at: Mapping[Backend | Edge, str]) -> None:
        """Start relays with these names, and the clients at their relays."""
        for name in names:
            await self._start(name)
        self._do(self._play())
        self._at.update(at)
        for peer in at:
            self._do(self._live(peer))
        await asyncio.sleep(0.2)

    async def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(seconds)

    def move(self, peer: Backend | Edge, to: str) -> None:
        """Move a client to another relay."""
        self._at[peer] = to
        self._cut(peer)

    def restart(self, name: str, *, after_s: float, grace_s: float) -> asyncio.Task[None]:
        """Drain a relay later, and start it again; the task is done when it serves."""
        return self._do(self._drain(name, grace_s, after_s))

    async def settle(self) -> None:
        """Remove all faults, restore all streams and deliver all messages; then every conversation must end, and no task remain."""
        await self._settle()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            asyncio.get_running_loop().stop()  # `run_virtual` raises
            raise task.exception() or AssertionError

    # --- actions ---------------------------------------------------------------------------------------------------

    async def _act(self, act: str) -> None:
        chance = self.chance
        backend, how = chance.choice(self.backends), OnPlaying.REPLACE if chance.random() < 0.15 else OnPlaying.QUEUE
        match act:
            case "speak":
                backend.speak(how, chance.randint(1, 4), end=chance.random() < 0.3)
            case "end":
                backend.end(how)
            case "interrupt":
                backend.interrupt(how)
            case "motion" if backend.said:
                backend.move(chance.choice(backend.said))
            case "hold":
                backend.hold(how, paused=chance.random() < 0.4)
            case "cut":
                self._cut(chance.choice(self.peers))
            case "move":
                self.move(chance.choice(self.peers), chance.choice(sorted(self.nodes)))
            case "kill" | "drain" | "part" | "cut off" | "lose" if not self._troubles:
                self._trouble(act)
            case "wait":
                await asyncio.sleep(chance.choice((0.005, 0.02, 0.06, 0.2, 0.5)))
        await asyncio.sleep(chance.random() * 0.01)

    def _cut(self, peer: Backend | Edge) -> None:
        if peer.leg is not None and peer.leg.standing:
            self.cuts += 1
            peer.leg.cut()

    def _trouble(self, kind: str) -> None:
        """Inject one fault at a time; clients continue meanwhile."""
        self.cuts += 1
        name, seconds = self.chance.choice(sorted(self.nodes)), self.chance.choice((0.1, 0.5, 1.0, 2.5, 12.0))
        acts = {"kill": self._kill, "drain": self._drain, "part": self._part, "cut off": self._cut_off, "lose": self._lose}
        task = self._do(acts[kind](name, seconds))
        self._troubles.add(task)
        task.add_done_callback(self._troubles.discard)

    async def _kill(self, name: str, seconds: float) -> None:
        await self.nodes[name].kill()
        await asyncio.sleep(seconds)
        await self._start(name)

    async def _drain(self, name: str, seconds: float, after_s: float = 0.0) -> None:
        await asyncio.sleep(after_s)
        await self.nodes[name].drain(round(seconds * 1e6))
        await self._start(name)

    async def _part(self, name: str, seconds: float) -> None:
        with self.bus.partition(name):
            await asyncio.sleep(seconds)

    async def _cut_off(self, name: str, seconds: float) -> None:
        with self.bus.cut_off(name):
            await asyncio.sleep(seconds)

    async def _lose(self, name: str, seconds: float) -> None:
        """Messages on the backplane are lost, and a relay's links break."""
        self.bus.lost_share = 0.02
        self.bus.links[name].break_all("injected")
        await asyncio.sleep(seconds)
        self.bus.lost_share = 0.0

    async def _start(self, name: str) -> None:
        version = self._versions.randint(OLDEST_VERSION, TUNNEL_VERSION)
        node = Node(name, self.bus, self.clock, self.numbers, version, has_links=self._links.random() < LINKED_SHARE)
        await node.start()
        self.nodes[name] = node

    # --- clients ---------------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        while True:
            await asyncio.sleep(STRIDE_S)
            self._pass_time()

    def _pass_time(self) -> None:
        for edge in self.edges:
            edge.pass_time(self.clock())

    async def _live(self, peer: Backend | Edge) -> None:
        """Open one stream after another, at the client's relay, or at another if that is dead."""
        while True:
            if not self.nodes[self._at[peer]].alive or self.nodes[self._at[peer]].drains:
                self._at[peer] = self.chance.choice(sorted(self.nodes))
            node = self.nodes[self._at[peer]]
            if node.alive and not node.drains:
                await self._stream(peer, node)
            await asyncio.sleep(self.chance.random() * 0.2)

    async def _stream(self, peer: Backend | Edge, node: Node) -> None:
        peer.connect(node)  # type: ignore[arg-type]  # it has a relay's methods for clients
        leg = peer.leg
        assert leg is not None
        node.legs.add(leg)
        if self.late_share and self.chance.random() < self.late_share and not self._calm:
            self._do(self._arrive_late(leg, node))
            peer.notice()
            return
        carrying = [self._do(self._carry_up(leg, node)), self._do(self._carry_down(leg))]
        while leg.standing:
            await asyncio.sleep(self.chance.random() * (NARROW_S if peer in self.narrow else 0.01))
            self._pass_time()
            for _ in range(self.chance.randint(0, 6)):
                if leg.standing and leg.down:
                    peer.hear()
            if leg.standing:
                peer.send(self.chance.randint(0, 6))
        peer.notice()
        if node.alive and self.chance.random() < 0.5 and not self._calm:
            await asyncio.sleep(self.chance.random() * 0.3)  # the relay notices late
        await self._close(leg, node, carrying)

    async def _arrive_late(self, leg: Leg, node: Node) -> None:
        """A client gave up a stream whose hello was still in flight; it arrives later, and the relay notices the end later still."""
        hello = leg.up.copy()
        leg.cut()
        await asyncio.sleep(self.chance.random() * 2.0)
        leg.up = hello
        carrying = [self._do(self._carry_up(leg, node)), self._do(self._carry_down(leg))]
        await asyncio.sleep(self.chance.random() * 1.0)
        await self._close(leg, node, carrying)

    async def _close(self, leg: Leg, node: Node, carrying: Sequence[asyncio.Task[None]]) -> None:
        for task in carrying:
            task.cancel()
        node.legs.discard(leg)
        if node.alive:
            leg.relay_notices()
            if isinstance(leg.port, DoorPort):
                leg.port.close_passages()

    async def _carry_up(self, leg: Leg, node: Node) -> None:
        port = leg.port
        while True:
            await asyncio.sleep(self.chance.random() * 0.01)
            try:
                while leg.up:
                    message: Any = leg.up.popleft()
                    if isinstance(port, DoorPort):
                        data = wire.publish_request_to_wire(message).SerializeToString()
                        if (taking := take(node.relay, port, EVERYBODY, data)) is not None:
                            await taking
                    else:
                        await port.send(message)
            except PeerError as error:
                port.end(error.fault)
                return

    async def _carry_down(self, leg: Leg) -> None:
        """Deliver the relay's messages; if the relay ends the stream, the client still gets them, and then the end."""
        while (message := await leg.port.receive()) is not None:
            if leg.standing:
                leg.down.append(_as_bytes_and_back(message))
            await asyncio.sleep(0)
        if leg.standing and leg.port.fault is not None and leg.port.fault.reason is Reason.REPLACED:
            self.replaced.append(f"a client was replaced by its own older stream: {leg.port.fault.text}")
        while leg.down:  # noqa: ASYNC110 - the client takes them when it likes
            await asyncio.sleep(0.005)
        leg.cut()

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        self._calm = True
        await asyncio.gather(*self._troubles)
        for backend in self.backends:
            for how in OnPlaying:
                backend.end(how)
                backend.end(how)
                backend.hold(how, paused=False)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_WITHIN_S):
                while not self._is_settled:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLED_CLAIMS_S)

    @property
    def _is_settled(self) -> bool:
        return all([edge.is_idle for edge in self.edges]) and all(
            record is None or record.is_over for backend in self.backends for cid in backend.said for record in (backend.record(cid),)
        )


def _as_bytes_and_back(message: Any) -> Any:
    """Encode and decode a message to a device; only media differs afterwards."""
    if not isinstance(message, MediaMessage):
        return message
    return wire.attach_response_from_wire(device_pb.AttachResponse.FromString(encode(message)))


def judge_cluster(seed: int) -> Verdict:
    """Run a schedule in virtual time, and check the conditions that must hold."""

    async def work() -> Verdict:
        schedule = ClusterSchedule(seed)
        await schedule.run()
        verdict = judge_what_was(seed, schedule, [node.relay for node in schedule.nodes.values()])
        return replace(verdict, faults=(*verdict.faults, *schedule.replaced))

    try:
        return run_virtual(work())
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise
