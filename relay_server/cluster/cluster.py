"""The part of one relay in a cluster: connects directory, door and homes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from avatar_relay.addresses import is_wildcard, split_address
from avatar_relay.errors import ConfigError
from avatar_relay.messages import PublisherHello, Taken
from relay_server.backplane.backplane import Backplane, BackplaneError, BackplaneMessage, Take
from relay_server.cluster.directory import DeviceDirectory, DirectoryWatcher
from relay_server.cluster.door import DoorPort
from relay_server.cluster.frames import TUNNEL_VERSION
from relay_server.cluster.homes import Homes
from relay_server.cluster.joined import JoinedTunnels
from relay_server.cluster.names import ClusterNames
from relay_server.cluster.passages import DoorPassage
from relay_server.cluster.tunnel import Tunnel
from relay_server.cluster.ways import HERE, PassageUser
from relay_server.connections.relay import Relay
from relay_server.connections.timers import until_next
from relay_server.links.beats import SILENCE_US
from relay_server.links.links import Links

logger = logging.getLogger(__name__)

TICK_S = 0.25
ASK_S = 0.3
"""How long other relays may take to answer whether they know a publisher."""
LAST_REPORTS_S = 0.2
"""How long a relay that lost a device to another one may take to end its tunnels."""
SETTLE_S = 0.6
"""How long a relay listens for other relays before it serves."""


class Cluster:
    """A relay's membership in a cluster. Belongs to one event loop. After `start`, `run` must run in a task."""

    def __init__(
        self,
        relay: Relay,
        backplane: Backplane,
        names: ClusterNames,
        *,
        links: Links,
        now_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        tunnel_version: int = TUNNEL_VERSION,
    ) -> None:
        """`names.relay` must be unique in the cluster; `tunnel_version` is the newest that this relay supports."""
        self._relay = relay
        self.backplane = backplane
        self.names = names
        self._now_us = now_us
        self.random_bytes = random_bytes
        self.directory = DeviceDirectory(relay, backplane, names, now_us, self._attached_at)
        self.expects, self.give_up, self.all_told = self.directory.expects, self.directory.give_up, self.directory.all_told
        self._joined = JoinedTunnels(backplane, names, tunnel_version)
        self._links = links
        self._homes = Homes(relay, self._joined, links, now_us)
        self._passages: set[DoorPassage] = set()
        self._operators: Take | None = None
        self._drains = False
        self._cut_off_us: int | None = None
        """When this relay last lacked the backplane or another relay."""
        self.tasks: set[asyncio.Task[None]] = set()
        """Work in progress for other relays."""

    async def start(self) -> None:
        """Join the cluster. Raises `ConfigError` if no backplane is available."""
        self._relay.in_cluster = True
        self._relay.publishers.is_cut_off = self._is_cut_off
        await self.backplane.start(self._lost, self._regained)
        self._relay.watchers.add(DirectoryWatcher(self.directory))
        try:
            await self._open()
        except BackplaneError as error:
            raise ConfigError(f"cluster_nats: the cluster cannot be joined: {error}") from error

    async def _open(self) -> None:
        await self.directory.open()
        await self._joined.open()
        await self._links.start()
        await self._homes.open()
        await self.backplane.subscribe(self.names.publishers(self.names.relay), self._on_publisher)
        await self.backplane.subscribe(self.names.address(self.names.relay), self._on_address)
        await self.backplane.subscribe(self.names.link(self.names.relay), self._on_link)
        if self._operators is not None:
            await self.backplane.subscribe(self.names.admin(self.names.relay), self._operators)

    def serve_operators(self, take: Take) -> None:
        """`take` receives the requests of operators at other relays. Call it before `start`."""
        self._operators = take

    async def settle(self) -> None:
        """Wait until other relays have been heard, so that the first publisher is looked up at all of them."""
        await asyncio.sleep(SETTLE_S)

    async def run(self) -> None:
        """Maintain directory and tunnels, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.directory.run())
            tasks.create_task(self._joined.run())
            tasks.create_task(self._tick())

    async def leave(self) -> None:
        """End the tunnels, notify the other relays, and disconnect."""
        self._homes.finish()
        for tunnel in self._tunnels():
            tunnel.cut(f"relay {self.names.relay} leaves")
        with suppress(BackplaneError):
            await self.directory.leave()
        await self._links.stop()
        await self._joined.flush()
        await self.backplane.stop()

    def connect_door(self, owner: str) -> DoorPort:
        """A port for a stream of a publisher with the identity `owner`."""
        return DoorPort(self._relay.publishers, owner, self)

    def members(self) -> tuple[str, ...]:
        """The other relays that were heard recently."""
        return self.directory.members.alive(self._now_us())

    async def ask_all(self, subject: Callable[[str], str], data: bytes, within_s: float) -> dict[str, bytes]:
        """The answers of the other relays, by name. A relay that does not answer is omitted."""
        members = self.members()

        async def ask(member: str) -> bytes | None:
            try:
                return await self.backplane.request(subject(member), data, within_s)
            except BackplaneError as error:
                logger.info("relay %s does not answer: %s", member, error)
                return None

        answers = await asyncio.gather(*(ask(member) for member in members))
        return {member: answer for member, answer in zip(members, answers, strict=True) if answer is not None}

    async def addresses_elsewhere(self) -> tuple[str, ...]:
        """The addresses of the other relays that accept devices now, among those that answer: a relay of an earlier version does not."""
        self._drains = True
        answers = await self.ask_all(self.names.address, b"", ASK_S)
        found = {answer.decode(errors="replace") for answer in answers.values()} - {"", self._address}
        return tuple(sorted(found))

    # --- for doors: see `Ways` -------------------------------------------------------------------------------------

    async def home_of(self, device_id: str) -> str | None:
        """See `Ways`. If a home does not answer on the backplane, the relay that had the device last is asked over its link."""
        try:
            home = await self.directory.home_of(device_id) or self._linked_home_of(device_id)
        except BackplaneError:
            if (home := self._linked_home_of(device_id)) is None:
                raise
        return HERE if home == self.names.relay else home

    def is_here(self, device_id: str) -> bool:
        """See `Ways`."""
        return self._relay.has(device_id)

    def check_all_told(self) -> None:
        """See `Ways`."""
        if not self.all_told(SILENCE_US / 1e6):
            raise BackplaneError("a relay is silent, or has just started")

    async def homes_of_publisher(self, key: str) -> tuple[str, ...]:
        """See `Ways`."""
        answers = await self.ask_all(self.names.publishers, key.encode(), ASK_S)
        return tuple(member for member, answer in answers.items() if answer == b"1")

    async def open_passage(self, home: str, port: PassageUser, hello: PublisherHello | None) -> tuple[DoorPassage, tuple[Taken, ...]]:
        """See `Ways`."""
        link = None
        if hello is not None:  # without one (typed by hand), a home may stop reading, which must not stop other tunnels
            link = await self._links.to(home, lambda: self.backplane.request(self.names.link(home), self.names.relay.encode(), ASK_S))
        passage = DoorPassage(self._joined, home, port, self.random_bytes(12).hex(), self._now_us, link)
        taken = await passage.open(hello)
        self._passages.add(passage)
        return passage, taken

    def members_of(self, target: str) -> tuple[str, ...]:
        """See `Ways`."""
        return tuple(self._relay.config.groups.get(target, (target,)))

    # --- internals -------------------------------------------------------------------------------------------------

    def _linked_home_of(self, device_id: str) -> str | None:
        last = self.directory.last_home_of(device_id)
        return last if last is not None and self._links.is_open(last) else None

    def _attached_at(self, device_id: str, relay: str) -> None:
        """A device attached to a relay, maybe this one: leave the passages to its previous relay."""
        for passage in tuple(self._passages):
            if device_id in passage.devices and passage.home != relay:
                task = asyncio.create_task(self._leave(passage, f"device {device_id} is at relay {relay} now"))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    async def _leave(self, passage: DoorPassage, why: str) -> None:
        """Cut a passage, at once if its home is gone. Otherwise the home has heard of it too, and ends the tunnel after its last reports:
        a claim may arrive before them, and a relay that drains does not repeat them for long."""
        with suppress(BackplaneError):
            await self.backplane.request(self.names.publishers(passage.home), b"", ASK_S)
            await asyncio.sleep(LAST_REPORTS_S)
        passage.tunnel.cut(why)

    async def _on_publisher(self, message: BackplaneMessage) -> None:
        """Answer another relay's door, which asks whether this relay knows a publisher."""
        key = message.data.decode(errors="replace")
        known = any([publisher.key == key for publisher in self._relay.publishers.known()])
        with suppress(BackplaneError):
            await self.backplane.publish(message.reply, b"1" if known else b"0")

    def _is_cut_off(self) -> bool:
        """Whether publishers may be at a relay that cannot reach this one, or could not until a publisher's lease ago."""
        return self._cut_off_us is not None and self._now_us() - self._cut_off_us < self._relay.config.publisher_lease_us

    @property
    def _address(self) -> str:
        """The address at which devices reach this relay; empty if unknown."""
        config = self._relay.config
        return config.cluster_address or ("" if is_wildcard(split_address(config.listen, "listen", port_zero=True)[0]) else config.listen)

    async def _on_address(self, message: BackplaneMessage) -> None:
        with suppress(BackplaneError):
            await self.backplane.publish(message.reply, b"" if self._drains else self._address.encode())

    async def _on_link(self, message: BackplaneMessage) -> None:
        with suppress(BackplaneError):
            await self.backplane.publish(message.reply, self._links.offer(message.data.decode(errors="replace")))

    async def _tick(self) -> None:
        busy_us = 0
        while True:
            if not self.backplane.connected or self.directory.members.missing(self._now_us()):
                self._cut_off_us = self._now_us()
            self._passages = {passage for passage in self._passages if not passage.tunnel.is_over}
            with suppress(BackplaneError):  # the lost connection was reported already
                await self.directory.tick()
            self._links.tick(busy_us)
            for tunnel in self._tunnels():
                tunnel.tick(busy_us)
            wait_s = until_next(TICK_S)
            due_us = self._now_us() + round(wait_s * 1e6)
            await asyncio.sleep(wait_s)
            busy_us = max(self._now_us() - due_us, self._joined.busy_us() + self._links.busy_us())

    def _tunnels(self) -> list[Tunnel]:
        return [passage.tunnel for passage in self._passages] + self._homes.tunnels()

    def _lost(self) -> None:
        """Do nothing: tunnels end by silence, or at the next message that cannot be sent."""

    def _regained(self) -> None:
        self.directory.claim_all()
