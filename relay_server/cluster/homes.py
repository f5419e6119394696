"""The home's end of a tunnel that carries a publisher's stream, and the acceptance of tunnels."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

from avatar_relay.errors import PeerError
from avatar_relay.ids import is_valid_id
from avatar_relay.messages import AtRelay, PublisherHello, PublishOpen, ToPublisher
from avatar_relay.reasons import Fault, Reason
from relay_server.access.caller import EVERYBODY
from relay_server.backplane.backplane import BackplaneError, BackplaneMessage
from relay_server.cluster.acknowledgements import may_wait, merged
from relay_server.cluster.frames import JOINED_VERSION, OLDEST_VERSION, RecordKind, TunnelBrokenError, TunnelRecord
from relay_server.cluster.joined import JoinedTunnels, OwnSubjects
from relay_server.cluster.passages import TAKEN
from relay_server.cluster.paths import LinkPath, TunnelPath
from relay_server.cluster.send_window import size_of
from relay_server.cluster.tunnel import Tunnel
from relay_server.connections.relay import Relay
from relay_server.links.links import Links
from relay_server.service.event_loop import at_turn_end
from relay_server.service.publisher import admitted, encode, live_media_of, requests_in

logger = logging.getLogger(__name__)

MAX_JOINED_RECORDS = 64
MAX_KEPT_BYTES = 8 << 20
"""Limit of what a home keeps of a publisher that must wait for room. Its door stops long before, unless it is of an earlier version."""


class HomeEnd:
    """The home's end of a tunnel: a publisher's port, fed from the tunnel."""

    def __init__(
        self, relay: Relay, joined: JoinedTunnels, path: TunnelPath, owner: str, now_us: Callable[[], int], *, may_wait: bool
    ) -> None:
        """`may_wait`: it may be a publisher without hello, which must wait for room at a device."""
        self._relay = relay
        self._joined = joined
        self._port = relay.connect_publisher(owner)
        self._may_wait = may_wait
        self.tunnel = Tunnel(path, take=self._keep if may_wait else self._take, ended=self._ended, now_us=now_us)
        self._kept: deque[TunnelRecord] = deque()
        """Records of a publisher that may wait; the tunnel must hear heartbeats meanwhile."""
        self._kept_bytes = 0
        self._arrived = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._collected: list[ToPublisher] = []
        """The port's messages, not sent yet."""
        self._says = False
        """`_say` runs soon."""

    async def open(self) -> None:
        """Listen, and begin to send responses. Raises `BackplaneError`."""
        await self.tunnel.open()
        self._port.wake = self._collect
        self._collect()
        if self._may_wait:
            self._reader = asyncio.create_task(self._take_kept())

    def finish(self) -> None:
        """Send the last messages of a stream that was ended."""
        if self._port.ended:
            self._say()

    def _keep(self, record: TunnelRecord) -> None:
        self._kept.append(record)
        self._kept_bytes += size_of([record])
        if self._kept_bytes > MAX_KEPT_BYTES:
            raise TunnelBrokenError(f"{self._kept_bytes} bytes wait for room at a device")
        self._arrived.set()

    async def _take_kept(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._kept:
                    record = self._kept.popleft()
                    self._kept_bytes -= size_of([record])
                    if (taking := self._take(record)) is not None:
                        await taking
        except Exception:
            logger.exception("a record could not be handled")
            self.tunnel.cut("a record could not be handled; it is logged there")

    def _take(self, record: TunnelRecord) -> Awaitable[None] | None:
        """Handle a record. The door has authenticated its caller and checked the permissions, those of media when it was opened."""
        kind, data = record
        if self._port.ended:
            return None
        if kind is RecordKind.SAID_ALL:
            self._port.finish_sending()
        if kind not in (RecordKind.REQUEST, RecordKind.PART_OPEN):
            return None
        try:
            if (media := live_media_of(data)) is not None:
                taking = self._port.send_media(media)
            elif self._may_wait:
                taking = self._take_slowly(kind, data)
            else:
                taking = None
                for message in self._messages(kind, data):
                    self._port.take(message)
                    self._tell_parts(message)
        except PeerError as error:
            self._port.end(error.fault)
            return None
        return None if taking is None else self._until_taken(taking)

    async def _until_taken(self, taking: Awaitable[None]) -> None:
        try:
            await taking
        except PeerError as error:
            self._port.end(error.fault)

    async def _take_slowly(self, kind: RecordKind, data: bytes) -> None:
        for message in self._messages(kind, data):
            await self._port.send(message)
            self._tell_parts(message)

    def _tell_parts(self, message: AtRelay) -> None:
        """After hello, and before the welcome."""
        if isinstance(message, PublisherHello) and (parts := self._relay.publishers.parts_of(self._port)):
            self.tunnel.send([TunnelRecord(RecordKind.PARTS, " ".join(parts).encode())])

    def _messages(self, kind: RecordKind, data: bytes) -> Iterator[AtRelay]:
        """The messages of a request that are handled. Raises `PeerError`."""
        for request, its_data in requests_in(data):
            message = admitted(self._relay, self._port, EVERYBODY, request, its_data)
            if isinstance(message, PublishOpen):
                message = None if self._has_moved(message) else replace(message, is_part=kind is RecordKind.PART_OPEN)
            if message is not None:
                yield message

    def _has_moved(self, message: PublishOpen) -> bool:
        """Whether a device of a new conversation is not here any more: then nothing is opened, and the door looks for it again."""
        away = [device_id for device_id in message.targets if not self._relay.has(device_id)]
        if not away or message.held is not None or self._port.publisher is None or self._port.publisher.by_hand:
            return False
        fault = Fault(Reason.DEVICE_UNKNOWN, f"device {away[0][:64]!r} is not at relay {self._joined.names.relay} any more", "targets")
        self._relay.publishers.refuse(self._port, fault, away[0][:64], message.open.conversation_id)
        return True

    def _collect(self) -> None:
        """Take the port's messages. Called when it has some, or was ended. Those that may wait are sent at the next tick, or with another
        one; others at the end of this turn of the event loop."""
        is_due = self._port.ended
        while (message := self._port.next()) is not None:
            if not self._collected:
                self._joined.at_tick(self._say)
            self._collected.append(message)
            is_due |= not may_wait(message)
        if is_due and not self._says:
            self._says = True
            at_turn_end(self._say)

    def _say(self) -> None:
        """Send what was collected, and the end of a stream that was ended."""
        self._says = False
        if self.tunnel.is_over:
            return
        collected, self._collected = self._collected, []
        try:
            records = [TunnelRecord(RecordKind.RESPONSE, encode(message)) for message in merged(collected)]
            for at in range(0, len(records), MAX_JOINED_RECORDS):
                self.tunnel.send(records[at : at + MAX_JOINED_RECORDS])
        except Exception:
            logger.exception("a message to a publisher could not be sent")
            self.tunnel.cut("a message could not be sent; it is logged there")
        if self._port.ended:
            self.tunnel.end(self._port.fault)

    def _ended(self, _fault: Fault | None) -> None:
        """The tunnel ended. If it broke, the publisher may still be connected: its state is kept for at least the lease of a device."""
        if self.tunnel.broke:
            self._port.lease_us = max(self._port.lease_us, self._relay.config.device_lease_us)
        self._port.close()
        if self._reader is not None:
            self._reader.cancel()


class Homes:
    """Accepts the tunnels of other relays' doors."""

    def __init__(self, relay: Relay, joined: JoinedTunnels, links: Links, now_us: Callable[[], int]) -> None:
        self._relay = relay
        self._links = links
        self._joined = joined
        self._backplane, self._names = joined.backplane, joined.names
        self._now_us = now_us
        self._ends: set[HomeEnd] = set()

    async def open(self) -> None:
        """Listen for requests to open a tunnel. Raises `BackplaneError`."""
        await self._backplane.subscribe(self._names.opening(self._names.relay), self._on_opening)

    def tunnels(self) -> list[Tunnel]:
        """The open tunnels."""
        self._ends = {end for end in self._ends if not end.tunnel.is_over}
        return [end.tunnel for end in self._ends]

    def finish(self) -> None:
        """Send the last messages of ended streams."""
        for end in tuple(self._ends):
            end.finish()

    async def _on_opening(self, message: BackplaneMessage) -> None:
        try:
            answer = await self._take(message.data)
            await self._backplane.publish(message.reply, answer.encode())
        except BackplaneError as error:
            logger.info("a tunnel could not be taken: %s", error)

    async def _take(self, data: bytes) -> str:
        """Accept a tunnel. Returns `TAKEN` with the protocol version, or the reason for a refusal."""
        asked = _read(data)
        if asked is None:
            return f"relay {self._names.relay} cannot read the opening of a tunnel"
        newest, door, tunnel_id = self._joined.tunnel_version, asked["door"], asked["tunnel"]
        version = spoken_version(asked.get("version"), asked.get("oldest"), newest)
        if version is None:
            theirs = str(asked.get("version"))[:16]
            return f"relay {self._names.relay} speaks version {newest} of the tunnel, and relay {door} version {theirs}"
        owner, is_linked = str(asked.get("owner")), "link" in asked
        path = self._path(version, door, tunnel_id, owner, str(asked["link"]) if is_linked else None)
        if path is None:
            return f"relay {self._names.relay} has lost the connection with relay {door}"
        end = HomeEnd(self._relay, self._joined, path, owner, self._now_us, may_wait=version < JOINED_VERSION and not is_linked)
        await end.open()
        self._ends.add(end)
        return f"{TAKEN.decode()}{version}"

    def _path(self, version: int, door: str, tunnel_id: str, owner: str, link_id: str | None) -> TunnelPath | None:
        """The path of an accepted tunnel; None if its link is gone."""
        if link_id is not None:
            link = self._links.accepted(link_id)
            return None if link is None else LinkPath(link, tunnel_id)
        if version < JOINED_VERSION:
            return OwnSubjects(self._joined, owner, listen=self._names.up(tunnel_id), speak=self._names.down(tunnel_id))
        return self._joined.path(door, tunnel_id, owner)


def spoken_version(newest: object, oldest: object, newest_here: int) -> int | None:
    """The tunnel version for a door that supports `oldest` to `newest`; `oldest` None: only `newest`. None if none is supported here."""
    oldest = newest if oldest is None else oldest
    if not isinstance(newest, int) or not isinstance(oldest, int) or oldest > newest_here or newest < OLDEST_VERSION:
        return None
    return min(newest, newest_here)


def _read(data: bytes) -> dict[str, Any] | None:
    try:
        asked = json.loads(data)
    except (ValueError, RecursionError):
        return None
    is_named = isinstance(asked, dict) and all(isinstance(name := asked.get(key), str) and is_valid_id(name) for key in ("tunnel", "door"))
    return asked if is_named else None
