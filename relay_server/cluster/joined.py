"""The messages of all tunnels between two relays, joined: what is sent to a relay within one turn of the event loop is one message.

Each relay receives from all others on one subject. A joined message that is lost leaves a gap in each of its tunnels. Messages of tunnels
with subjects of their own are sent here too, one by one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from weakref import WeakValueDictionary

from relay_server.backplane.backplane import Backplane, BackplaneError, BackplaneMessage, Subscription
from relay_server.cluster.frames import TunnelBrokenError, join, parts_in
from relay_server.cluster.names import ClusterNames
from relay_server.cluster.send_window import SentBytes
from relay_server.links.links import TunnelEnd

logger = logging.getLogger(__name__)

TICK_S = 0.05
"""Acknowledgements and credit of all tunnels are sent at this interval, unless another message takes them along. Media, events and
commands do not wait."""
TURN_S = 0.001
"""After a joined message that took longer to handle, other tasks run before the next one."""
MAX_WAITING_BYTES = 64 << 20
"""Limit of unsent messages. Beyond it the tunnels that send break."""
SHARE_WAITING_BYTES = 8 << 20
"""The part of it for one identity, or for one tunnel if there are no identities."""


class JoinedTunnels:
    """One relay's joined messages, to and from all others. `run` must run in a task. Belongs to one event loop."""

    def __init__(self, backplane: Backplane, names: ClusterNames, tunnel_version: int) -> None:
        """`tunnel_version` is the newest that this relay supports."""
        self.backplane = backplane
        self.names = names
        self.tunnel_version = tunnel_version
        self._users: dict[str, TunnelEnd] = {}
        self._sent = WeakValueDictionary[tuple[str, str], SentBytes]()
        self._waiting: dict[str, list[_Entry]] = {}
        """Unsent messages of each subject."""
        self._waiting_bytes = 0
        self._shares = Counter[str | TunnelEnd]()
        """The waiting bytes of each identity, or tunnel if there are no identities."""
        self._busy_s = 0.0
        self._due = asyncio.Event()
        self._at_tick: list[Callable[[], None]] = []
        self._sending = asyncio.Lock()
        self._ending = set[asyncio.Task[None]]()

    async def open(self) -> None:
        """Listen. Raises `BackplaneError`."""
        await self.backplane.subscribe(self.names.joined(self.names.relay), self._on_message)

    def path(self, relay: str, tunnel_id: str, owner: str) -> JoinedPath:
        """The path of a tunnel to `relay`, for a publisher with the identity `owner`."""
        return JoinedPath(self, relay, tunnel_id, owner)

    def sent_bytes(self, relay: str, owner: str) -> SentBytes:
        """What publishers of an identity have sent to `relay`; separate for each tunnel if `owner` is empty."""
        return self._sent.setdefault((relay, owner), SentBytes()) if owner else SentBytes()

    async def run(self) -> None:
        """Send messages until cancelled."""
        while True:
            await self._due.wait()
            await self.flush()

    async def flush(self) -> None:
        """Send all waiting messages. What cannot be sent ends its tunnels, and no others."""
        async with self._sending:
            self._due.clear()
            waiting, self._waiting, self._waiting_bytes = self._waiting, {}, 0
            self._shares.clear()
            for subject, entries in waiting.items():
                try:
                    for message in _messages(entries):
                        await self.backplane.publish(subject, message)
                except BackplaneError as error:
                    _cut(entries, f"the backplane failed: {error}")
                except Exception:
                    logger.exception("messages on %s could not be sent", subject)
                    _cut(entries, "messages could not be sent; it is logged there")

    def busy_us(self) -> int:
        """How long messages were being handled since the last call, in µs. Heartbeats may have waited behind them."""
        busy_s, self._busy_s = self._busy_s, 0.0
        return round(busy_s * 1e6)

    def listen(self, tunnel_id: str, user: TunnelEnd) -> None:
        """`user` hears the messages of a tunnel."""
        self._users[tunnel_id] = user

    def forget(self, tunnel_id: str) -> None:
        """Ignore further messages of a tunnel."""
        self._users.pop(tunnel_id, None)

    def add(self, subject: str, user: TunnelEnd, owner: str, messages: Sequence[bytes], *, tunnel_id: str = "") -> None:
        """Send messages of a tunnel; with a `tunnel_id` they are joined. Raises `BackplaneError` if there is no connection, or too much
        waits."""
        if not self.backplane.connected:
            raise BackplaneError("there is no connection")
        size = sum(map(len, messages))
        share = self._shares[owner or user] + size
        if share > SHARE_WAITING_BYTES or self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise BackplaneError(f"{share} bytes of it would wait, {self._waiting_bytes + size} in all")
        self._shares[owner or user] = share
        self._waiting_bytes += size
        self._waiting.setdefault(subject, []).extend([(user, tunnel_id, message) for message in messages])
        self._due.set()

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription, in a task."""
        task = asyncio.create_task(subscription.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def at_tick(self, act: Callable[[], None]) -> None:
        """Call `act` within `TICK_S`, together with those of other tunnels."""
        if not self._at_tick:
            asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self._at_tick.append(act)

    def _tick(self) -> None:
        acts, self._at_tick = self._at_tick, []
        for act in acts:
            act()

    async def _on_message(self, message: BackplaneMessage) -> None:
        try:
            parts = parts_in(message.data)
        except TunnelBrokenError as error:
            logger.warning("a joined message of another relay is ignored: %s", error)
            return
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        for tunnel_id, part in parts:
            if (user := self._users.get(tunnel_id)) is not None and (hearing := user.hear(part)) is not None:
                await hearing
        took_s = now_s() - began_s
        self._busy_s += took_s
        if took_s > TURN_S:
            await asyncio.sleep(0)  # a queue of such messages would not let heartbeats be sent


class JoinedPath:
    """The path of one tunnel's messages, joined with those of other tunnels between the same relays."""

    finds_silence = False

    def __init__(self, joined: JoinedTunnels, relay: str, tunnel_id: str, owner: str) -> None:
        self._joined = joined
        self._subject = joined.names.joined(relay)
        self._tunnel_id = tunnel_id
        self._owner = owner
        self._user: TunnelEnd | None = None

    async def open(self, user: TunnelEnd) -> None:
        """See `TunnelPath`."""
        self._user = user
        self._joined.listen(self._tunnel_id, user)

    def publish(self, messages: Sequence[bytes]) -> None:
        """See `TunnelPath`."""
        assert self._user is not None
        self._joined.add(self._subject, self._user, self._owner, messages, tunnel_id=self._tunnel_id)

    def close(self) -> None:
        """See `TunnelPath`."""
        self._joined.forget(self._tunnel_id)


class OwnSubjects:
    """Two subjects for one tunnel: all that version 1 has. A tunnel whose home may stop reading for a while needs them too."""

    finds_silence = False

    def __init__(self, joined: JoinedTunnels, owner: str, *, listen: str, speak: str) -> None:
        self._joined = joined
        self._owner = owner
        self._listen = listen
        self._speak = speak
        self._user: TunnelEnd | None = None
        self._subscription: Subscription | None = None

    async def open(self, user: TunnelEnd) -> None:
        """See `TunnelPath`."""

        async def take(message: BackplaneMessage) -> None:
            if (hearing := user.hear(message.data)) is not None:
                await hearing

        self._user = user
        self._subscription = await self._joined.backplane.subscribe(self._listen, take)

    def publish(self, messages: Sequence[bytes]) -> None:
        """See `TunnelPath`."""
        assert self._user is not None
        self._joined.add(self._speak, self._user, self._owner, messages)

    def close(self) -> None:
        """See `TunnelPath`."""
        if self._subscription is not None:
            self._joined.unsubscribe(self._subscription)
            self._subscription = None


_Entry = tuple[TunnelEnd, str, bytes]
"""A tunnel, its id if its messages are joined, and a message."""


def _messages(entries: Sequence[_Entry]) -> Iterable[bytes]:
    """What is published: a subject's messages are all joined, or none."""
    if entries[0][1]:
        return join([(tunnel_id, message) for _, tunnel_id, message in entries])
    return [message for _, _, message in entries]


def _cut(entries: Sequence[_Entry], why: str) -> None:
    for user in dict.fromkeys(user for user, _, _ in entries):
        user.cut(why)
