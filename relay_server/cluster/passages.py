"""The door's end of a tunnel that carries a publisher's stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

from avatar_relay import wire
from avatar_relay.messages import (
    AtRelay,
    Opened,
    Ping,
    Pong,
    PublishedMedia,
    PublisherHello,
    PublisherWelcome,
    PublishOpen,
    Taken,
)
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import publisher_service_pb2 as pb
from relay_server.backplane.backplane import BackplaneError
from relay_server.cluster.frames import OLDEST_VERSION, RecordKind, TunnelRecord
from relay_server.cluster.joined import JoinedTunnels, OwnSubjects
from relay_server.cluster.paths import LinkPath, TunnelPath
from relay_server.cluster.send_window import SendWindow, size_of
from relay_server.cluster.tunnel import Tunnel
from relay_server.cluster.ways import PassageUser
from relay_server.links.links import Link

OPEN_S = 0.5
"""How long a home may take to accept a tunnel, and again to answer hello."""
TAKEN = b"="
"""Prefix of the answer if the tunnel is accepted; otherwise the answer is the reason for the refusal."""
_PING = TunnelRecord(RecordKind.REQUEST, wire.publish_request_to_wire(Ping(0, 0)).SerializeToString())


class DoorPassage:
    """The door's end of a tunnel, for one publisher's stream."""

    def __init__(
        self, joined: JoinedTunnels, home: str, port: PassageUser, tunnel_id: str, now_us: Callable[[], int], link: Link | None
    ) -> None:
        """`link`: carries the tunnel; without one, the backplane does."""
        self._link = link
        self._joined = joined
        self.home = home
        self.devices: set[str] = set()
        """Devices whose conversations were opened through this tunnel."""
        self._port = port
        self._tunnel_id = tunnel_id
        self._waiting: list[TunnelRecord] = []
        self._waiting_pings = 0
        self._window = SendWindow(joined.sent_bytes(home, port.owner))
        self._welcome: asyncio.Future[tuple[Taken, ...]] = asyncio.get_running_loop().create_future()
        up, down = joined.names.up(tunnel_id), joined.names.down(tunnel_id)
        path: TunnelPath = OwnSubjects(joined, port.owner, listen=down, speak=up) if link is None else LinkPath(link, tunnel_id)
        self.tunnel = Tunnel(path, take=self._take, ended=self._ended, now_us=now_us)

    async def open(self, hello: PublisherHello | None) -> tuple[Taken, ...]:
        """Open the tunnel; return the cursors of the publisher's conversations at the home. Raises `BackplaneError`."""
        try:
            if self._link is None:
                await self._open_tunnel(may_join=hello is not None)
            else:
                await self.tunnel.open()
                await self._ask_home(self._joined.tunnel_version, {"link": self._link.link_id})
            if hello is None:
                self._welcome.set_result(())
                return ()
            self.say(hello, b"")
            if (waiting := self.flush()) is not None:
                await waiting
            async with asyncio.timeout(OPEN_S):
                return await self._welcome
        except TimeoutError:
            self.close()
            if self._link is not None:
                self._link.end("a tunnel was not answered in time")
            raise BackplaneError(f"relay {self.home} did not answer in time") from None
        except (BackplaneError, asyncio.CancelledError):
            self.close()
            raise

    async def _open_tunnel(self, *, may_join: bool) -> None:
        """`may_join` False: a home may stop reading from a publisher without hello (typed by hand), which must not stop other tunnels."""
        await self.tunnel.open()
        path = self._joined.path(self.home, self._tunnel_id, self._port.owner)
        await path.open(self.tunnel)  # a home that joins may speak before its answer arrives
        is_joined = False
        try:
            answer = await self._ask_home(self._joined.tunnel_version if may_join else OLDEST_VERSION, {})
            is_joined = answer != TAKEN + b"%d" % OLDEST_VERSION and not self.tunnel.is_over
        finally:
            if not is_joined:
                path.close()
        if is_joined:
            self.tunnel.take_path(path)

    async def _ask_home(self, version: int, more: Mapping[str, str]) -> bytes:
        """Ask the home to accept the tunnel. Raises `BackplaneError`, also if it refuses."""
        joined = self._joined
        asked = {"version": version, "oldest": OLDEST_VERSION, "tunnel": self._tunnel_id, "door": joined.names.relay}
        asked |= {"owner": self._port.owner, **more}
        answer = await joined.backplane.request(joined.names.opening(self.home), json.dumps(asked).encode(), OPEN_S)
        if not answer.startswith(TAKEN):
            if self._link is not None:
                self._link.end("the other relay accepts no tunnel on it")  # it may have restarted, unnoticed here
            raise BackplaneError(answer.decode(errors="replace"))
        return answer

    def say(self, message: AtRelay, data: bytes) -> None:
        """See `Passage`."""
        if not data:
            assert not isinstance(message, PublishedMedia)  # media always comes with its bytes
            data = wire.publish_request_to_wire(message).SerializeToString()
        self._waiting_pings += isinstance(message, Ping)
        is_part = isinstance(message, PublishOpen) and message.is_part
        self._waiting.append(TunnelRecord(RecordKind.PART_OPEN if is_part else RecordKind.REQUEST, data))

    def forward(self, data: bytes) -> None:
        """See `Passage`."""
        self._waiting.append(TunnelRecord(RecordKind.REQUEST, data))

    def say_all(self) -> None:
        """See `Passage`."""
        self._waiting.append(TunnelRecord(RecordKind.SAID_ALL, b""))

    def flush(self) -> Awaitable[None] | None:
        """See `Passage`."""
        if not self._waiting:
            return None
        size = size_of(self._waiting)
        if not self._window.has_room(size):
            return self._send_when_room(size)
        self._send_waiting(size)
        return None

    async def _send_when_room(self, size: int) -> None:
        if self._window.needs_ping:
            self._window.pinged(own=True)
            self.tunnel.send([_PING])
        await self._window.room(size)
        if self._waiting:
            self._send_waiting(size_of(self._waiting))

    def _send_waiting(self, size: int) -> None:
        records, self._waiting = self._waiting, []
        for _ in range(self._waiting_pings):
            self._window.pinged(own=False)
        self._waiting_pings = 0
        if self._window.sent(size):
            self._window.pinged(own=True)
            records.append(_PING)
        self.tunnel.send(records)

    def close(self) -> None:
        """See `Passage`."""
        if self._waiting:
            self._send_waiting(size_of(self._waiting))
        self.tunnel.end()

    def _take(self, record: TunnelRecord) -> None:
        if record.kind is RecordKind.PARTS:
            self._port.has_parts(record.data.decode().split())
        if record.kind is not RecordKind.RESPONSE:
            return
        message = wire.publish_response_from_wire(pb.PublishResponse.FromString(record.data))
        if isinstance(message, PublisherWelcome):
            if not self._welcome.done():
                self._welcome.set_result(message.taken)
        elif isinstance(message, Pong) and self._window.answered():
            return
        elif message is not None:
            if isinstance(message, Opened):
                self.devices.update(message.device_ids)
            self._port.hear(self.home, message)

    def _ended(self, fault: Fault | None) -> None:
        self._window.close()
        is_new = not self._welcome.done()
        if is_new:
            self._welcome.set_exception(BackplaneError("it ended the tunnel" if fault is None else fault.text))
            self._welcome.exception()  # retrieved, even if no task waits any more
        if not is_new or (fault is not None and fault.reason is Reason.REPLACED):
            self._port.passage_ended(self.home, fault)
