"""One end of a tunnel between a door and a home: records in both directions over the backplane, until an end, a gap or a silence."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from avatar_relay import wire
from avatar_relay.reasons import Fault, Reason
from relay_server.backplane.backplane import BackplaneError
from relay_server.cluster.frames import FrameReader, FrameWriter, RecordKind, TunnelBrokenError, TunnelRecord
from relay_server.cluster.paths import TunnelPath
from relay_server.links.beats import BEAT_US, SILENCE_US

logger = logging.getLogger(__name__)

TakeRecord = Callable[[TunnelRecord], Awaitable[None] | None]
"""Handles a record; returns what must be awaited before the next one, or None: a coroutine for each record is expensive."""
_NO_RECORDS: Iterator[TunnelRecord] = iter(())


class Tunnel:
    """One end of a tunnel. `take` is called with each received record; `ended` once, with the other end's fault if there is one.

    If the tunnel breaks, the fault is MOVED: the peer may reconnect at once, and finds its devices again.
    """

    def __init__(self, path: TunnelPath, *, take: TakeRecord, ended: Callable[[Fault | None], None], now_us: Callable[[], int]) -> None:
        self._path = path
        self._take = take
        self._ended = ended
        self._now_us = now_us
        self._writer, self._reader = FrameWriter(), FrameReader()
        self._heard_us = self._said_us = now_us()
        self._was_heard = False
        """Otherwise the other end may not exist: nothing but its silence tells of a door that gave up before this end opened."""
        self.is_over = False
        self.broke = False
        """The tunnel is over without an end record from the other end."""

    async def open(self) -> None:
        """Listen. Raises `BackplaneError`."""
        await self._path.open(self)

    def take_path(self, path: TunnelPath) -> None:
        """Send on another path, which is open already, and listen on it alone."""
        before, self._path = self._path, path
        before.close()

    def send(self, records: Sequence[TunnelRecord]) -> None:
        """Send records, in one message if they fit; a heartbeat if there are none. Ignored after the end."""
        if self.is_over:
            return
        self._said_us = self._now_us()
        try:
            self._path.publish(self._writer.messages(records))
        except BackplaneError as error:
            self.cut(f"the backplane failed: {error}")
        except Exception:
            logger.exception("a message could not be sent")
            self.cut("a message could not be sent; it is logged there")

    def tick(self, busy_us: int = 0) -> None:
        """Send heartbeats, and end a tunnel whose other end is silent. Call it a few times a second.

        `busy_us`: how long this relay could not hear anything since the last call. That is no silence of the other end.
        """
        if self._path.finds_silence and self._was_heard:
            return
        now_us = self._now_us()
        self._heard_us = min(now_us, self._heard_us + busy_us)
        if now_us - self._heard_us > SILENCE_US:
            self.cut(f"the other relay said nothing for {(now_us - self._heard_us) // 1_000} ms")
        elif now_us - self._said_us >= BEAT_US:
            self.send(())

    def cut(self, why: str) -> None:
        """The tunnel broke: end it with MOVED. The other end learns it from the end record, or from the silence."""
        if not self.is_over:
            logger.info("a tunnel broke: %s", why)
            self.broke = True
            self.end(moved(why))

    def end(self, fault: Fault | None = None) -> None:
        """End the tunnel from this side. Idempotent."""
        if self.is_over:
            return
        data = b"" if fault is None else wire.fault_to_status(fault).SerializeToString()
        try:
            self._path.publish(self._writer.messages([TunnelRecord(RecordKind.END, data)]))
        except BackplaneError:
            pass  # the other end learns it from the silence
        except Exception:
            logger.exception("the end of a tunnel could not be sent")
        self._over(fault)

    def hear(self, message: bytes) -> Awaitable[None] | None:
        """See `TunnelEnd`."""
        if self.is_over:
            return None
        self._heard_us, self._was_heard = self._now_us(), True
        try:
            found = self._reader.records(message)
            if len(found) == 1 and found[0].kind is not RecordKind.END:
                taking, records = self._take(found[0]), _NO_RECORDS
            else:
                taking = self._take_all(records := iter(found))
        except Exception as error:
            self._failed(error)
            return None
        return None if taking is None else self._take_rest(taking, records)

    def _take_all(self, records: Iterator[TunnelRecord]) -> Awaitable[None] | None:
        """Handle records up to one that must be awaited; that is returned."""
        for record in records:
            if record.kind is RecordKind.END:
                self._over(_fault_in(record.data))
                return None
            if (taking := self._take(record)) is not None:
                return taking
        return None

    async def _take_rest(self, taking: Awaitable[None] | None, records: Iterator[TunnelRecord]) -> None:
        try:
            while taking is not None:
                await taking
                taking = self._take_all(records)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, TunnelBrokenError):
            self.cut(str(error))
        else:
            logger.error("a record could not be handled", exc_info=error)
            self.cut("a record could not be handled; it is logged there")

    def _over(self, fault: Fault | None) -> None:
        if not self.is_over:
            self.is_over = True
            try:
                self._ended(fault)
            except Exception:  # other tunnels must not notice
                logger.exception("the end of a tunnel could not be handled")
            self._path.close()


def moved(why: str) -> Fault:
    """The fault MOVED: a conversation's device must be looked up again."""
    return Fault(Reason.MOVED, f"the way to the device's relay is gone: {why}")


def _fault_in(data: bytes) -> Fault | None:
    if not data:
        return None
    try:
        return wire.fault_from_status(status_pb2.Status.FromString(data))
    except DecodeError:
        return moved("it ended with bytes that are no status")
