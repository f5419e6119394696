"""One link over a socket: the proof of both ends, then messages of tunnels, each with its size (u32), the size of its tunnel's id (u8),
and the id. Sizes are little-endian."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from relay_server.backplane.backplane import BackplaneError
from relay_server.links.beats import BEAT_US, SILENCE_US
from relay_server.links.links import TunnelEnd
from relay_server.links.proof import MAX_HELLO_BYTES, Proof, ProofError
from relay_server.service.event_loop import at_turn_end

logger = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 64 << 20
"""Limit of unsent data. Beyond it messages are refused."""
MAX_PART_BYTES = 1 << 20
"""Limit of a received message."""
_HEARTBEAT = bytes(5)
"""An empty message of no tunnel."""
_HEAD = struct.Struct("<IB")


class SocketLink(asyncio.BufferedProtocol):
    """See above, and `Link`. What is sent within one turn of the event loop is written at once.

    It reads into a buffer that it is given. asyncio would allocate 256 KiB for each read, which glibc maps and unmaps, for five times its
    cost.
    """

    def __init__(self, now_us: Callable[[], int], buffer: memoryview) -> None:
        """`buffer`: links of one event loop may share one, as each read is handled at once."""
        self.relay = self.link_id = ""
        """The other relay, and see `Link`; once the other end has proved itself."""
        self._proof: Proof | None = None
        self._now_us = now_us
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.proved: asyncio.Future[None] = self._loop.create_future()
        """Done when the other end has proved itself; raises `ProofError` if the link ends before."""
        self.proved.add_done_callback(_retrieve)
        self.gone = asyncio.Event()
        """Set when the link has ended."""
        self.heard_us = self._said_us = now_us()
        self.busy_s = 0.0
        """How long messages were being handled."""
        self._buffer = buffer
        self._received = bytearray()
        """The beginning of an incomplete message."""
        self._users: dict[str, TunnelEnd] = {}
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._later: deque[tuple[str, bytes]] = deque()
        """Received messages behind one that waits."""
        self._waiting: asyncio.Task[None] | None = None

    # --- the proof -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing before `begin`: TLS may come first."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()
        if self.ended:
            transport.abort()

    def begin(self, transport: asyncio.Transport, proof: Proof) -> None:
        """Begin the proof; `transport` is that of TLS, if there is TLS."""
        self.transport, self._proof = transport, proof
        transport.write(proof.begin())
        transport.resume_reading()

    def _prove(self, proof: Proof, data: bytes) -> bytes:
        """Handle data of an end that has proved nothing yet; returns what follows the proof."""
        assert self.transport is not None
        self._received += data
        try:
            while not proof.is_done and (answer := proof.hear(self._received)):
                self.transport.write(answer)
            if not proof.is_done and len(self._received) > MAX_HELLO_BYTES:
                raise ProofError("it sends too much")
        except ProofError as error:
            self.end(str(error))
            return b""
        if not proof.is_done:
            return b""
        rest, self._received, self._proof = bytes(self._received), bytearray(), None
        self.relay, self.link_id = proof.relay, proof.link_id
        if not self.proved.done():
            self.proved.set_result(None)
        return rest

    # --- messages --------------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the link has ended."""
        return self.gone.is_set()

    def tick(self, busy_us: int) -> None:
        """Send a heartbeat, or end the link if nothing was heard, while it has tunnels. `busy_us`: see `Links.tick`."""
        now_us = self._now_us()
        self.heard_us = min(now_us, self.heard_us + busy_us)
        if not self._users:
            return
        if now_us - self.heard_us > SILENCE_US:
            self.end(f"relay {self.relay} said nothing for {(now_us - self.heard_us) // 1_000} ms")
        elif now_us - self._said_us >= BEAT_US:
            self._unsent.append(_HEARTBEAT)
            self.flush()

    def listen(self, tunnel_id: str, user: TunnelEnd) -> None:
        """See `Link`."""
        if not self._users:
            self.heard_us = self._now_us()
        self._users[tunnel_id] = user

    def forget(self, tunnel_id: str) -> None:
        """See `Link`. A link is not used again if its tunnels have ended because nothing was heard."""
        self._users.pop(tunnel_id, None)
        if not self._users and self._now_us() - self.heard_us > SILENCE_US // 2:
            self.end("its tunnels heard nothing")

    def send(self, tunnel_id: str, messages: Sequence[bytes]) -> None:
        """See `Link`."""
        if self.ended or self.transport is None or self.transport.is_closing():
            raise BackplaneError("the connection has ended")
        size = sum(map(len, messages))
        if self.transport.get_write_buffer_size() + self._unsent_bytes + size > MAX_UNSENT_BYTES:
            raise BackplaneError(f"relay {self.relay} reads too slowly: {MAX_UNSENT_BYTES} bytes wait")
        if not self._unsent:
            at_turn_end(self.flush)
        name = tunnel_id.encode()
        for message in messages:
            self._unsent += (_HEAD.pack(len(message), len(name)), name, message)
        self._unsent_bytes += size

    def flush(self) -> None:
        """Write what was sent."""
        self._said_us = self._now_us()
        unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if unsent and self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"".join(unsent))

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        data = bytes(self._buffer[:nbytes])
        if self._proof is not None and not (data := self._prove(self._proof, data)):
            return
        began_s = self._loop.time()
        self.heard_us = self._now_us()
        if self._received:
            self._received += data
            data = bytes(self._received)
        at, size = 0, len(data)
        while (begin := at + _HEAD.size) <= size:
            message_size, name_size = _HEAD.unpack_from(data, at)
            if message_size > MAX_PART_BYTES:
                self.end(f"relay {self.relay} sent a message of {message_size} bytes")
                return
            middle = begin + name_size
            if middle + message_size > size:
                break
            at = middle + message_size
            self._take(data[begin:middle].decode("ascii", "replace"), data[middle:at])
        if at < size or self._received:
            self._received = bytearray(data[at:])
        self.busy_s += self._loop.time() - began_s

    def _take(self, tunnel_id: str, message: bytes) -> None:
        if self._waiting is not None:
            self._later.append((tunnel_id, message))
        elif (user := self._users.get(tunnel_id)) is not None and (hearing := user.hear(message)) is not None:
            self._waiting = asyncio.create_task(self._take_later(hearing))
            if self.transport is not None:
                self.transport.pause_reading()

    async def _take_later(self, hearing: Awaitable[None]) -> None:
        """Wait for a message, and handle those behind it in their order."""
        await hearing
        while self._later:
            tunnel_id, message = self._later.popleft()
            if (user := self._users.get(tunnel_id)) is not None and (more := user.hear(message)) is not None:
                await more
        self._waiting = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # --- the end ---------------------------------------------------------------------------------------------------

    def end(self, why: str) -> None:
        """End the link at once, and cut its tunnels. Idempotent."""
        if self.ended:
            return
        self.gone.set()
        if self.transport is not None:
            self.transport.abort()
        if not self.proved.done():
            self.proved.set_exception(ProofError(why))
        if self._users:
            logger.warning("the connection with relay %s has ended: %s", self.relay, why)
        for user in tuple(self._users.values()):
            user.cut(why)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.end(f"the connection with relay {self.relay} is gone" + (f": {exc}" if exc is not None else ""))


def _retrieve(proved: asyncio.Future[None]) -> None:
    """Retrieve the exception, so that asyncio does not log it if nothing waits for it any more."""
    if not proved.cancelled():
        proved.exception()
