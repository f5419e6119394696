"""Links between relays of a test, in memory, with what a TCP connection does: delays, stalls while the network is parted, and its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from relay_server.backplane.backplane import BackplaneError
from relay_server.links.beats import SILENCE_US
from relay_server.links.links import Link, TunnelEnd
from tests.lab.memory_backplane import MemoryBus

STALL_S = 0.05


class MemoryLink:
    """One end."""

    def __init__(self, bus: MemoryBus, own: str, relay: str, link_id: str) -> None:
        self.link_id = link_id
        self.other: MemoryLink
        self._bus = bus
        self._own, self._relay = own, relay
        self._users: dict[str, TunnelEnd] = {}
        self._ended = False
        self._heard_s = asyncio.get_running_loop().time()
        self._sent = deque[tuple[float, str, bytes]]()
        self._wakes = asyncio.Event()
        self._task = asyncio.create_task(self._deliver())

    @property
    def ended(self) -> bool:
        """Whether the link has ended."""
        return self._ended

    def listen(self, tunnel_id: str, user: TunnelEnd) -> None:
        """See `Link`."""
        if not self._users:
            self._heard_s = asyncio.get_running_loop().time()
        self._users[tunnel_id] = user

    def forget(self, tunnel_id: str) -> None:
        """See `Link`."""
        self._users.pop(tunnel_id, None)

    def send(self, tunnel_id: str, messages: Sequence[bytes]) -> None:
        """See `Link`."""
        if self._ended:
            raise BackplaneError("the connection has ended")
        due_s = asyncio.get_running_loop().time() + self._bus.chance.uniform(*self._bus.delay_s)
        self._sent.extend([(due_s, tunnel_id, bytes(message)) for message in messages])
        self._wakes.set()

    def end(self, why: str) -> None:
        """See `Link`. The other end hears what was sent, and then of the end."""
        if self._ended:
            return
        self._ended = True
        self._wakes.set()
        for user in tuple(self._users.values()):
            user.cut(why)

    def tick(self) -> None:
        """Send a heartbeat, and end the link after a silence, while it has tunnels."""
        if self._users and not self._ended:
            self.send("", [b""])
            if asyncio.get_running_loop().time() - self._heard_s > SILENCE_US / 1e6:
                self.end("the other end is silent")

    async def _deliver(self) -> None:
        while not self._ended or self._sent:
            await self._wakes.wait()
            self._wakes.clear()
            while self._sent:
                due_s, tunnel_id, message = self._sent.popleft()
                await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
                while self._bus.are_apart(self._own, self._relay):  # noqa: ASYNC110 - a partition notifies nobody
                    await asyncio.sleep(STALL_S)
                self.other._heard_s = asyncio.get_running_loop().time()
                user = None if self.other.ended else self.other._users.get(tunnel_id)
                if user is not None and (hearing := user.hear(message)) is not None:
                    await hearing
        self.other.end(f"the connection with relay {self._own} is gone")


class MemoryLinks:
    """See `Links`."""

    def __init__(self, bus: MemoryBus, name: str, *, usable: bool = True) -> None:
        """Not `usable`: as of a relay that has none, or of an earlier version."""
        self._bus = bus
        self._name = name
        self._usable = usable
        self._number = 0
        self._opened: dict[str, MemoryLink] = {}
        self._accepted: dict[str, MemoryLink] = {}
        bus.links[name] = self

    async def start(self) -> None:
        """See `Links`."""

    def offer(self, asker: str) -> bytes:
        """See `Links`."""
        del asker
        return b"memory" if self._usable else b""

    async def to(self, relay: str, ask: Callable[[], Awaitable[bytes]]) -> Link | None:
        """See `Links`."""
        if (link := self._opened.get(relay)) is not None and not link.ended:
            return link
        try:
            offered = await ask() if self._usable else b""
        except BackplaneError:
            return None
        if not offered or self._bus.are_apart(self._name, relay):
            return None
        self._number += 1
        link_id = f"{self._name}-{relay}-{self._number}-{id(self)}"
        here, there = MemoryLink(self._bus, self._name, relay, link_id), MemoryLink(self._bus, relay, self._name, link_id)
        here.other, there.other = there, here
        self._opened[relay] = here
        self._bus.links[relay]._accepted[link_id] = there
        return here

    def is_open(self, relay: str) -> bool:
        """See `Links`."""
        return (link := self._opened.get(relay)) is not None and not link.ended

    def accepted(self, link_id: str) -> Link | None:
        """See `Links`."""
        link = self._accepted.get(link_id)
        return None if link is None or link.ended else link

    def tick(self, busy_us: int) -> None:
        """See `Links`."""
        del busy_us
        for link in (*self._opened.values(), *self._accepted.values()):
            link.tick()

    def busy_us(self) -> int:
        """See `Links`."""
        return 0

    def break_all(self, why: str) -> None:
        """End all links of this relay."""
        for link in (*self._opened.values(), *self._accepted.values()):
            link.end(why)

    async def stop(self) -> None:
        """See `Links`."""
        self.break_all("this relay leaves")
