"""An in-process backplane with network faults: delays, lost messages, partitions, lost connections."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from relay_server.backplane.backplane import BackplaneError, BackplaneMessage, NobodyError, Take, take_message


class MemoryBus:
    """Connects all relays of a test. Messages from one relay to another keep their order, as on NATS."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.delay_s = (0.0, 0.0)
        """Range from which the delay of each message is drawn."""
        self.lost_share = 0.0
        """Share of messages that are lost."""
        self.vanished = 0
        self.limit_bytes: int | None = None
        """Limit of a subscription's unhandled messages; what exceeds it is lost, as with NATS."""
        self.links: dict[str, Any] = {}
        """The `MemoryLinks` of each relay."""
        self._nodes: dict[str, MemoryBackplane] = {}
        self._apart: frozenset[str] = frozenset()

    def node(self, name: str) -> MemoryBackplane:
        """Create a relay's connection; a second one of the same name replaces the first."""
        self._nodes[name] = MemoryBackplane(self, name)
        return self._nodes[name]

    @contextmanager
    def partition(self, *names: str) -> Iterator[None]:
        """Separate these relays from all others, without notifying either side."""
        self._apart = frozenset(names)
        try:
            yield
        finally:
            self._apart = frozenset()

    @contextmanager
    def cut_off(self, *names: str) -> Iterator[None]:
        """Disconnect these relays; they are notified."""
        for name in names:
            self._nodes[name].lose()
        try:
            yield
        finally:
            self.regain(*names)

    def regain(self, *names: str) -> None:
        """Connect relays again that are disconnected."""
        for name in names:
            if not self._nodes[name].connected:
                self._nodes[name].regain()

    def are_apart(self, one: str, other: str) -> bool:
        """Whether a partition separates two relays."""
        return (one in self._apart) != (other in self._apart)

    def listeners(self, sender: str, subject: str) -> list[MemorySubscription]:
        """Subscriptions that receive what `sender` publishes on `subject`."""
        nodes = [node for node in self._nodes.values() if node.connected and not self.are_apart(sender, node.name)]
        return [one for node in nodes for one in node.subscriptions if _matches(one.subject, subject)]

    def send(self, sender: str, message: BackplaneMessage) -> int:
        """Deliver a message; returns the number of receivers."""
        found = self.listeners(sender, message.subject)
        for subscription in found:
            too_much = self.limit_bytes is not None and subscription.waiting_bytes + len(message.data) > self.limit_bytes
            if too_much or self.chance.random() < self.lost_share:
                self.vanished += 1
            else:
                subscription.waiting_bytes += len(message.data)
                subscription.queue.put_nowait((asyncio.get_running_loop().time() + self.chance.uniform(*self.delay_s), message))
        return len(found)


class MemorySubscription:
    """A relay's subscription to one subject."""

    def __init__(self, node: MemoryBackplane, subject: str, take: Take) -> None:
        self.subject = subject
        self.queue: asyncio.Queue[tuple[float, BackplaneMessage]] = asyncio.Queue()
        self.waiting_bytes = 0
        self._node = node
        self._take = take
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        """See `Subscription`."""
        self._node.subscriptions.discard(self)
        if asyncio.current_task() is not self._task:
            self._task.cancel()

    async def _run(self) -> None:
        while self in self._node.subscriptions or not self.queue.empty():
            due_s, message = await self.queue.get()
            await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))
            self.waiting_bytes -= len(message.data)
            await take_message(self._take, message)


class MemoryBackplane:
    """One relay's connection."""

    def __init__(self, bus: MemoryBus, name: str) -> None:
        self.name = name
        self.connected = False
        self.subscriptions: set[MemorySubscription] = set()
        self.bus = bus
        self._numbers = defaultdict[str, int](int)

    async def start(self, lost: Callable[[], None], regained: Callable[[], None]) -> None:
        """See `Backplane`."""
        self.connected, self._lost, self._regained = True, lost, regained

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """See `Backplane`."""
        self._check()
        self.bus.send(self.name, BackplaneMessage(subject, bytes(data), reply))

    async def subscribe(self, subject: str, take: Take) -> MemorySubscription:
        """See `Backplane`."""
        subscription = MemorySubscription(self, subject, take)
        self.subscriptions.add(subscription)
        return subscription

    async def request(self, subject: str, data: bytes, within_s: float) -> bytes:
        """See `Backplane`."""
        self._check()
        self._numbers["inbox"] += 1
        inbox = f"inbox.{self.name}.{self._numbers['inbox']}"
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def take(message: BackplaneMessage) -> None:
            if not answer.done():
                answer.set_result(message.data)

        subscription = await self.subscribe(inbox, take)
        try:
            if not self.bus.send(self.name, BackplaneMessage(subject, bytes(data), inbox)):
                raise NobodyError(f"nobody listens to {subject}")
            async with asyncio.timeout(within_s):
                return await answer
        except TimeoutError:
            raise BackplaneError(f"no answer on {subject} within {within_s:g} s") from None
        finally:
            await subscription.end()

    async def stop(self) -> None:
        """See `Backplane`."""
        self.connected = False
        for subscription in tuple(self.subscriptions):
            await subscription.end()

    def lose(self) -> None:
        """Lose the connection."""
        self.connected = False
        self._lost()

    def regain(self) -> None:
        """Restore the connection, with all subscriptions."""
        self.connected = True
        self._regained()

    def _check(self) -> None:
        if not self.connected:
            raise BackplaneError("there is no connection")


def _matches(pattern: str, subject: str) -> bool:
    parts, found = pattern.split("."), subject.split(".")
    return len(parts) == len(found) and all(part in ("*", other) for part, other in zip(parts, found, strict=True))
