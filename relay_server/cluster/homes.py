"""The home's end of a tunnel that carries a publisher's stream, and the acceptance of tunnels."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from avatar_relay.errors import PeerError
from avatar_relay.ids import is_valid_id
from avatar_relay.messages import PublisherHello, PublishOpen, ToPublisher
from avatar_relay.reasons import Fault, Reason
from relay_server.access.caller import EVERYBODY
from relay_server.backplane.backplane import BackplaneError, BackplaneMessage
from relay_server.cluster.acknowledgements import may_wait, merged
from relay_server.cluster.frames import JOINED_VERSION, OLDEST_VERSION, RecordKind, TunnelBrokenError, TunnelRecord
from relay_server.cluster.joined import JoinedPath, JoinedTunnels
from relay_server.cluster.passages import OPEN_S, TAKEN
from relay_server.cluster.paths import OwnSubjects, TunnelPath
from relay_server.cluster.send_window import size_of
from relay_server.cluster.tunnel import Tunnel
from relay_server.connections.relay import Relay
from relay_server.service.publisher import admitted, encode, live_media_of, requests_in

logger = logging.getLogger(__name__)

MAX_JOINED_RECORDS = 64
MAX_KEPT_BYTES = 8 << 20
"""Limit of what a home keeps of a publisher that must wait for room. Its door stops long before, unless it is of an earlier version."""


class HomeEnd:
    """The home's end of a tunnel: a publisher's port, fed from the tunnel."""

    def __init__(self, relay: Relay, joined: JoinedTunnels, path: TunnelPath, owner: str, now_us: Callable[[], int]) -> None:
        self._relay = relay
        self._joined = joined
        self._port = relay.connect_publisher(owner)
        self._may_wait = not isinstance(path, JoinedPath)
        """It may be a publisher without hello, which must wait for room at a device. The tunnel must hear heartbeats meanwhile."""
        self.tunnel = Tunnel(path, take=self._keep if self._may_wait else self._take, ended=self._ended, now_us=now_us)
        self._kept: deque[TunnelRecord] = deque()
        self._kept_bytes = 0
        self._arrived = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._collected: list[ToPublisher] = []
        """The port's messages, not sent yet."""
        self._due = asyncio.Event()
        self.writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen, and start to write responses. Raises `BackplaneError`."""
        await self.tunnel.open()
        self.writer = asyncio.create_task(self._write())
        if self._may_wait:
            self._reader = asyncio.create_task(self._take_kept())

    @property
    def is_ending(self) -> bool:
        """Whether the publisher's stream was ended, and its last messages are not sent yet."""
        return self._port.ended and not self.tunnel.is_over

    async def _keep(self, record: TunnelRecord) -> None:
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
                    await self._take(record)
        except Exception:
            logger.exception("a record could not be handled")
            await self.tunnel.cut("a record could not be handled; it is logged there")

    async def _take(self, record: TunnelRecord) -> None:
        """Handle a record. The door has authenticated its caller and checked the permissions, those of media when it was opened."""
        if self._port.ended:
            return
        if record.kind is RecordKind.SAID_ALL:
            self._port.finish_sending()
        if record.kind not in (RecordKind.REQUEST, RecordKind.PART_OPEN):
            return
        try:
            if (media := live_media_of(record.data)) is not None:
                if (taking := self._port.send_media(media)) is not None:
                    await taking
                return
            for request, data in requests_in(record.data):
                if (message := admitted(self._relay, self._port, EVERYBODY, request, data)) is None:
                    continue
                if isinstance(message, PublishOpen):
                    if self._has_moved(message):
                        continue
                    message = replace(message, is_part=record.kind is RecordKind.PART_OPEN)
                await self._port.send(message)
                if isinstance(message, PublisherHello) and (parts := self._relay.publishers.parts_of(self._port)):
                    await self.tunnel.send([TunnelRecord(RecordKind.PARTS, " ".join(parts).encode())])  # before the welcome
        except PeerError as error:
            self._port.end(error.fault)

    def _has_moved(self, message: PublishOpen) -> bool:
        """Whether a device of a new conversation is not here any more: then nothing is opened, and the door looks for it again."""
        away = [device_id for device_id in message.targets if not self._relay.has(device_id)]
        if not away or message.held is not None or self._port.publisher is None or self._port.publisher.by_hand:
            return False
        fault = Fault(Reason.DEVICE_UNKNOWN, f"device {away[0][:64]!r} is not at relay {self._joined.names.relay} any more", "targets")
        self._relay.publishers.refuse(self._port, fault, away[0][:64], message.open.conversation_id)
        return True

    async def _write(self) -> None:
        """Send the port's messages. Those that may wait are sent at the next tick, or before another one."""
        port = self._port
        port.wake = self._collect
        self._collect()
        try:
            while not port.ended or self._collected:
                await self._due.wait()
                self._due.clear()
                self._collect()
                collected, self._collected = self._collected, []
                records = [TunnelRecord(RecordKind.RESPONSE, encode(message)) for message in merged(collected)]
                for at in range(0, len(records), MAX_JOINED_RECORDS):
                    await self.tunnel.send(records[at : at + MAX_JOINED_RECORDS])
        except Exception:
            logger.exception("a message to a publisher could not be sent")
            await self.tunnel.cut("a message could not be sent; it is logged there")
        await self.tunnel.end(port.fault)

    def _collect(self) -> None:
        """Take the port's messages. Called when it has some, or was ended."""
        while (message := self._port.next()) is not None:
            if not self._collected:
                self._joined.at_tick(self._due.set)
            self._collected.append(message)
            if not may_wait(message):
                self._due.set()
        if self._port.ended:
            self._due.set()

    def _ended(self, _fault: Fault | None) -> None:
        """The tunnel ended. If it broke, the publisher may still be connected: its state is kept for at least the lease of a device."""
        if self.tunnel.broke:
            self._port.lease_us = max(self._port.lease_us, self._relay.config.device_lease_us)
        self._port.close()
        for task in (self.writer, self._reader):
            if task is not None:
                task.cancel()


class Homes:
    """Accepts the tunnels of other relays' doors."""

    def __init__(self, relay: Relay, joined: JoinedTunnels, now_us: Callable[[], int]) -> None:
        self._relay = relay
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

    async def finish(self) -> None:
        """Wait until the tunnels of ended streams have sent their last messages."""
        writers = [end.writer for end in self._ends if end.writer is not None and end.is_ending]
        if writers:
            await asyncio.wait(writers, timeout=OPEN_S)

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
        owner = str(asked.get("owner"))
        path: TunnelPath = self._joined.path(door, tunnel_id, owner)
        if version < JOINED_VERSION:
            path = OwnSubjects(self._backplane, listen=self._names.up(tunnel_id), speak=self._names.down(tunnel_id))
        end = HomeEnd(self._relay, self._joined, path, owner, self._now_us)
        await end.open()
        self._ends.add(end)
        return f"{TAKEN.decode()}{version}"


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
