"""Carries bidirectional streams: a task reads, a writer writes, the handler waits for the writer, and a fault ends all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from traceback import clear_frames
from typing import Any

import grpc

from avatar_relay.errors import PeerError
from avatar_relay.reasons import Fault, Reason
from relay_server.connections.ports import Port, do_nothing
from relay_server.rpc_errors import Context, abort
from relay_server.service.event_loop import operations
from relay_server.service.write_watch import WRITES_WITHIN_S, StreamWrites, WriteWatch

logger = logging.getLogger(__name__)

CANCELLATION_SHOWS_WITHIN_S = 0.1
"""grpc.aio also returns EOF if the peer cancelled or vanished; the handler, and the reader with it, is then cancelled shortly after.
A stream that still runs after this time was half-closed properly."""

Take = Callable[[bytes], Awaitable[None] | None]
"""Handles a message; returns what must be awaited before the next is read, or None: a coroutine for each message is expensive."""


async def _read(context: Context) -> Any:
    return await context.read()


FIRST_READ: ContextVar[Callable[[Context], Awaitable[Any]]] = ContextVar("first_read", default=_read)
"""How the first message of a stream is read. Set by the interceptor, which limits concurrent reads: see `RequestReader`."""


async def carry(
    context: Context,
    port: Port[Any],
    watch: WriteWatch,
    *,
    take: Take,
    encode: Callable[[Any], bytes],
    said_all: Callable[[], None],
    failed: Callable[[Fault], None],
) -> None:
    """Carry a stream until the peer or the relay ends it.

    `take` raises `PeerError` if the message ends the stream; `encode` encodes the port's messages;
    `said_all` is called when the peer half-closes the stream; `failed` is called with the fault that ended the stream;
    `watch` is shared by streams.
    Cancellation (the peer is gone) is propagated. If the peer reads nothing for `WRITES_WITHIN_S` to 1.5 times that,
    its port is closed at once; its RPC ends when the write ends, because no gRPC operation can follow a blocked one.
    """

    def give_up() -> None:
        port.end(Fault(Reason.PEER_SILENT, f"nothing was read for {WRITES_WITHIN_S:g} s", retry_after_ms=1_000))
        port.close()

    reader = _Reader(context, port, take, said_all)
    writes = watch.begin(give_up)
    writer = _Writer(context, port, encode, writes)
    try:
        await writer.ended
    finally:
        watch.end(writes)
        writer.stop()
        reader.stop()
        port.close()
        if port.fault is not None:
            failed(port.fault)
    if port.fault is not None:
        await abort(context, port.fault)


class _Writer:
    """Writes the port's messages one at a time, until the port is ended and has no more.

    A write begins within the call that wakes the port: a task would cost another event loop iteration for each message.
    So a coroutine is stepped here: until it waits for gRPC, again when gRPC answers, and when the port is woken.
    """

    def __init__(self, context: Context, port: Port[Any], encode: Callable[[Any], bytes], writes: StreamWrites) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nothing more is written; raises the exception of a failed write."""
        self._context = context
        self._port = port
        self._encode = encode
        self._writes = writes
        self._operations = operations()
        self._step = self._run().send
        port.wake = self._go
        self._go()

    def stop(self) -> None:
        """Begin no more writes. A pending one ends by itself."""
        self._port.wake = do_nothing
        self.ended.cancel()

    def _go(self, answer: Any = None) -> None:
        """Write available messages. Called when the port is woken, and when `answer`, a pending write's future, is done. Never raises."""
        writes = self._writes
        if writes.under_way and answer is None:
            return
        writes.under_way = True  # also while `next` wakes its own port
        try:
            if (answer := self._step(None)) is not None:
                answer.add_done_callback(self._go)
                return
        except asyncio.CancelledError:  # by gRPC, with the RPC
            self.ended.cancel()
        except Exception as error:
            if not self.ended.done():
                self.ended.set_exception(error)
        writes.under_way = self._operations.begins = False
        if self._port.ended and not self.ended.done():
            self.ended.set_result(None)

    async def _run(self) -> None:
        """Write until a write fails. Awaits gRPC, or `_PAUSE` while there is nothing to write."""
        while True:
            while not self.ended.done() and (message := self._port.next()) is not None:
                data = self._encode(message)
                self._operations.begins = True
                await self._context.write(data)
                self._writes.count += 1
            await _PAUSE


class _Pause:
    """Ends a step of a coroutine, with None. Its iterator is C: a generator would be another call for each write."""

    __await__ = staticmethod(partial(iter, (None,)))


_PAUSE = _Pause()


class _Reader:
    """Reads until the peer half-closes the stream, or until stopped.

    It is never cancelled during a read, because grpc.aio would leak its memory (grpc#43360). A pending read ends with
    its RPC, and the task with it.
    """

    def __init__(self, context: Context, port: Port[Any], take: Take, said_all: Callable[[], None]) -> None:
        self._context = context
        self._port = port
        self._take = take
        self._said_all = said_all
        self._reads = False
        self._stopped = False
        self._operations = operations()
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Handle no more messages."""
        self._stopped = True
        if not self._reads:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            self._reads = True
            data: Any = await FIRST_READ.get()(self._context)
            while True:
                self._reads = self._operations.begins = False
                if self._stopped:
                    return
                if data is grpc.aio.EOF:
                    await asyncio.sleep(CANCELLATION_SHOWS_WITHIN_S)
                    self._said_all()
                    return
                if (taking := self._take(data)) is not None:
                    await taking
                self._reads = self._operations.begins = True
                data = await self._context.read()
        except PeerError as error:
            self._port.end(error.fault)
            clear_frames(error.__traceback__)  # they hold the message
        except grpc.aio.BaseError:
            self._port.end()  # the stream broke; gRPC also cancels the handler
        except Exception:
            logger.exception("a message could not be handled")
            self._port.end(Fault(Reason.MESSAGE_INVALID, "the relay could not handle a message; it is logged there"))
        finally:
            self._operations.begins = False
