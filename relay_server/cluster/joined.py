"""The messages of all tunnels between two relays, joined: what is sent to a relay within one turn of the event loop is one message.

Each relay receives from all others on one subject. A joined message that is lost leaves a gap in each of its tunnels.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from relay_server.backplane.backplane import Backplane, BackplaneError, BackplaneMessage
from relay_server.cluster.frames import TunnelBrokenError, join, parts_in
from relay_server.cluster.names import ClusterNames
from relay_server.cluster.paths import PathUser
from relay_server.cluster.send_window import SentBytes

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
        self._users: dict[str, PathUser] = {}
        self._sent = WeakValueDictionary[tuple[str, str], SentBytes]()
        self._waiting: dict[str, list[tuple[str, bytes]]] = {}
        """For each relay, tunnels and their messages."""
        self._waiting_bytes = 0
        self._shares = Counter[str]()
        """The waiting bytes of each identity, or tunnel if there are no identities."""
        self._busy_s = 0.0
        self._due = asyncio.Event()
        self._at_tick: list[Callable[[], None]] = []
        self._sending = asyncio.Lock()

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
            for relay, entries in waiting.items():
                try:
                    for message in join(entries):
                        await self.backplane.publish(self.names.joined(relay), message)
                except BackplaneError as error:
                    await self._cut(entries, f"the backplane failed: {error}")
                except Exception:
                    logger.exception("messages to relay %s could not be sent", relay)
                    await self._cut(entries, "messages could not be sent; it is logged there")

    async def _cut(self, entries: Sequence[tuple[str, bytes]], why: str) -> None:
        for tunnel_id in dict.fromkeys(tunnel_id for tunnel_id, _ in entries):
            if (user := self._users.get(tunnel_id)) is not None:
                await user.cut(why)

    def busy_us(self) -> int:
        """How long messages were being handled since the last call, in µs. Heartbeats may have waited behind them."""
        busy_s, self._busy_s = self._busy_s, 0.0
        return round(busy_s * 1e6)

    def listen(self, tunnel_id: str, user: PathUser) -> None:
        """`user` hears the messages of a tunnel."""
        self._users[tunnel_id] = user

    def forget(self, tunnel_id: str) -> None:
        """Ignore further messages of a tunnel."""
        self._users.pop(tunnel_id, None)

    def add(self, relay: str, tunnel_id: str, owner: str, messages: Sequence[bytes]) -> None:
        """Send messages of a tunnel with the next joined one. Raises `BackplaneError` if there is no connection, or too much waits."""
        if not self.backplane.connected:
            raise BackplaneError("there is no connection")
        size = sum(map(len, messages))
        share = self._shares[owner or tunnel_id] + size
        if share > SHARE_WAITING_BYTES or self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise BackplaneError(f"{share} bytes of it would wait, {self._waiting_bytes + size} in all")
        self._shares[owner or tunnel_id] = share
        self._waiting_bytes += size
        self._waiting.setdefault(relay, []).extend([(tunnel_id, message) for message in messages])
        self._due.set()

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
            if (user := self._users.get(tunnel_id)) is not None:
                await user.hear(part)
        took_s = now_s() - began_s
        self._busy_s += took_s
        if took_s > TURN_S:
            await asyncio.sleep(0)  # a queue of such messages would not let heartbeats be sent


class JoinedPath:
    """The path of one tunnel's messages, joined with those of other tunnels between the same relays."""

    def __init__(self, joined: JoinedTunnels, relay: str, tunnel_id: str, owner: str) -> None:
        self._joined = joined
        self._relay = relay
        self._tunnel_id = tunnel_id
        self._owner = owner

    async def open(self, user: PathUser) -> None:
        """See `TunnelPath`."""
        self._joined.listen(self._tunnel_id, user)

    async def publish(self, messages: Sequence[bytes], *, last: bool = False) -> None:
        """See `TunnelPath`."""
        del last
        self._joined.add(self._relay, self._tunnel_id, self._owner, messages)

    async def close(self) -> None:
        """See `TunnelPath`."""
        self._joined.forget(self._tunnel_id)
