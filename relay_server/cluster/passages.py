"""The two ends of a tunnel that carries a publisher's stream: the door's, and the home's."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from avatar_relay import wire
from avatar_relay.errors import PeerError
from avatar_relay.limits import MAX_MESSAGE_BYTES
from avatar_relay.messages import AtRelay, Opened, PublishedMedia, PublisherHello, PublisherWelcome, PublishOpen, Taken
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import publisher_service_pb2 as pb
from relay_server.access.caller import EVERYBODY, Caller
from relay_server.backplane.backplane import Backplane, BackplaneError, BackplaneMessage
from relay_server.cluster.frames import OLDEST_VERSION, TUNNEL_VERSION, RecordKind, TunnelRecord
from relay_server.cluster.names import ClusterNames
from relay_server.cluster.tunnel import Tunnel
from relay_server.cluster.ways import PassageUser
from relay_server.connections.publishers import PublisherPort
from relay_server.connections.relay import Relay
from relay_server.service.calls import parse
from relay_server.service.publisher import allowed, encode

logger = logging.getLogger(__name__)

OPEN_S = 0.5
"""How long a home may take to accept a tunnel, and again to answer hello."""
MAX_JOINED_RECORDS = 64
TAKEN = b"="
"""Prefix of the answer if the tunnel is accepted; otherwise the answer is the reason for the refusal."""


class DoorPassage:
    """The door's end of a tunnel, for one publisher's stream."""

    def __init__(
        self, backplane: Backplane, names: ClusterNames, home: str, port: PassageUser, tunnel_id: str, now_us: Callable[[], int]
    ) -> None:
        self._backplane = backplane
        self._names = names
        self.home = home
        self.devices: set[str] = set()
        """Devices whose conversations were opened through this tunnel."""
        self._port = port
        self._tunnel_id = tunnel_id
        self._waiting: list[TunnelRecord] = []
        self._welcome: asyncio.Future[tuple[Taken, ...]] = asyncio.get_running_loop().create_future()
        up, down = names.up(tunnel_id), names.down(tunnel_id)
        self.tunnel = Tunnel(backplane, listen=down, speak=up, take=self._take, ended=self._ended, now_us=now_us)

    async def open(self, hello: PublisherHello | None) -> tuple[Taken, ...]:
        """Open the tunnel; return the cursors of the publisher's conversations at the home. Raises `BackplaneError`."""
        versions = {"version": TUNNEL_VERSION, "oldest": OLDEST_VERSION}
        asked = {**versions, "tunnel": self._tunnel_id, "door": self._names.relay, "owner": self._port.owner}
        try:
            await self.tunnel.open()
            answer = await self._backplane.request(self._names.opening(self.home), json.dumps(asked).encode(), OPEN_S)
            if not answer.startswith(TAKEN):
                raise BackplaneError(answer.decode(errors="replace"))
            if hello is None:
                self._welcome.set_result(())
                return ()
            self.say(hello, b"")
            await self.flush()
            async with asyncio.timeout(OPEN_S):
                return await self._welcome
        except TimeoutError:
            await self.close()
            raise BackplaneError(f"relay {self.home} did not answer in time") from None
        except BackplaneError:
            await self.close()
            raise

    def say(self, message: AtRelay, data: bytes) -> None:
        """See `Passage`."""
        if not data:
            assert not isinstance(message, PublishedMedia)  # media always comes with its bytes
            data = wire.publish_request_to_wire(message).SerializeToString()
        is_part = isinstance(message, PublishOpen) and message.is_part
        self._waiting.append(TunnelRecord(RecordKind.PART_OPEN if is_part else RecordKind.REQUEST, data))

    def say_all(self) -> None:
        """See `Passage`."""
        self._waiting.append(TunnelRecord(RecordKind.SAID_ALL, b""))

    async def flush(self) -> None:
        """See `Passage`."""
        if self._waiting:
            records, self._waiting = self._waiting, []
            await self.tunnel.send(records)

    async def close(self) -> None:
        """See `Passage`."""
        await self.flush()
        await self.tunnel.end()

    async def _take(self, record: TunnelRecord) -> None:
        if record.kind is RecordKind.PARTS:
            self._port.has_parts(record.data.decode().split())
        if record.kind is not RecordKind.RESPONSE:
            return
        message = wire.publish_response_from_wire(pb.PublishResponse.FromString(record.data))
        if isinstance(message, PublisherWelcome):
            if not self._welcome.done():
                self._welcome.set_result(message.taken)
        elif message is not None:
            if isinstance(message, Opened):
                self.devices.update(message.device_ids)
            self._port.hear(self.home, message)

    def _ended(self, fault: Fault | None) -> None:
        is_new = not self._welcome.done()
        if is_new:
            self._welcome.set_exception(BackplaneError("it ended the tunnel" if fault is None else fault.text))
            self._welcome.exception()  # retrieved, even if no task waits any more
        if not is_new or (fault is not None and fault.reason is Reason.REPLACED):
            self._port.passage_ended(self.home, fault)


class HomeEnd:
    """The home's end of a tunnel: a publisher's port, fed from the tunnel."""

    def __init__(
        self, relay: Relay, backplane: Backplane, names: ClusterNames, tunnel_id: str, owner: str, now_us: Callable[[], int]
    ) -> None:
        self._relay = relay
        self._names = names
        self._port = relay.connect_publisher(owner)
        up, down = names.up(tunnel_id), names.down(tunnel_id)
        self.tunnel = Tunnel(backplane, listen=up, speak=down, take=self._take, ended=self._ended, now_us=now_us)
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen, and start to write responses. Raises `BackplaneError`."""
        await self.tunnel.open()
        self._writer = asyncio.create_task(self._write())

    async def _take(self, record: TunnelRecord) -> None:
        """Handle a record. The door has authenticated its caller and checked the permissions."""
        if self._port.ended:
            return
        if record.kind is RecordKind.SAID_ALL:
            self._port.finish_sending()
        if record.kind not in (RecordKind.REQUEST, RecordKind.PART_OPEN):
            return
        try:
            for request, data in requests_of(record.data):
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
        fault = Fault(Reason.DEVICE_UNKNOWN, f"device {away[0][:64]!r} is not at relay {self._names.relay} any more", "targets")
        self._relay.publishers.refuse(self._port, fault, away[0][:64], message.open.conversation_id)
        return True

    async def _write(self) -> None:
        port = self._port
        while (message := port.next()) is not None or not port.ended:
            if message is None:
                await port.changed()
                continue
            records = [TunnelRecord(RecordKind.RESPONSE, encode(message))]
            while len(records) < MAX_JOINED_RECORDS and (message := port.next()) is not None:
                records.append(TunnelRecord(RecordKind.RESPONSE, encode(message)))
            await self.tunnel.send(records)
        await self.tunnel.end(port.fault)

    def _ended(self, _fault: Fault | None) -> None:
        """The tunnel ended. If it broke, the publisher may still be connected: its state is kept for at least the lease of a device."""
        if self.tunnel.broke:
            self._port.lease_us = max(self._port.lease_us, self._relay.config.device_lease_us)
        self._port.close()
        if self._writer is not None:
            self._writer.cancel()


class Homes:
    """Accepts the tunnels of other relays' doors."""

    def __init__(self, relay: Relay, backplane: Backplane, names: ClusterNames, now_us: Callable[[], int]) -> None:
        self._relay = relay
        self._backplane = backplane
        self._names = names
        self._now_us = now_us
        self._ends: set[HomeEnd] = set()

    async def open(self) -> None:
        """Listen for requests to open a tunnel. Raises `BackplaneError`."""
        await self._backplane.subscribe(self._names.opening(self._names.relay), self._on_opening)

    def tunnels(self) -> list[Tunnel]:
        """The open tunnels."""
        self._ends = {end for end in self._ends if not end.tunnel.is_over}
        return [end.tunnel for end in self._ends]

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
        version = spoken_version(asked.get("version"), asked.get("oldest"))
        if version is None:
            door, theirs = str(asked.get("door"))[:64], str(asked.get("version"))[:16]
            return f"relay {self._names.relay} speaks version {TUNNEL_VERSION} of the tunnel, and relay {door} version {theirs}"
        end = HomeEnd(self._relay, self._backplane, self._names, str(asked.get("tunnel")), str(asked.get("owner")), self._now_us)
        await end.open()
        self._ends.add(end)
        return f"{TAKEN.decode()}{version}"


def spoken_version(newest: object, oldest: object) -> int | None:
    """The tunnel version for a door that supports `oldest` to `newest`; `oldest` None: only `newest`. None if none is supported here."""
    oldest = newest if oldest is None else oldest
    if not isinstance(newest, int) or not isinstance(oldest, int) or oldest > TUNNEL_VERSION or newest < OLDEST_VERSION:
        return None
    return min(newest, TUNNEL_VERSION)


def requests_of(data: bytes) -> Sequence[tuple[pb.PublishRequest, bytes]]:
    """The requests in a publisher's message, each with its own bytes. Raises `FaultError` if it ends the stream."""
    if len(data) > wire.UNCOUNTED_BYTES:
        wire.check_entries(data)
    return wire.requests_in(parse(pb.PublishRequest, data, MAX_MESSAGE_BYTES), data)


def admitted(relay: Relay, port: PublisherPort, caller: Caller, request: pb.PublishRequest, data: bytes) -> AtRelay | None:
    """The message in a request, if its caller is permitted to send it; None if it was refused in-band, or is unknown.

    Raises `FaultError` if it ends the stream.
    """
    try:
        message = wire.publish_request_from_wire(request, data)
    except wire.WireError as error:
        if error.conversation_id is None:
            raise
        relay.publishers.faulty(port, error.conversation_id, error.fault, opens=request.HasField("open"))
        return None
    return message if isinstance(message, PublishedMedia) else allowed(relay, port, caller, message)


def _read(data: bytes) -> dict[str, Any] | None:
    try:
        asked = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return asked if isinstance(asked, dict) else None
