"""The backplane of a worker: what it sends to another worker of its supervisor takes a Unix socket, all else the backplane within.

A socket costs neither the work of a NATS server nor the turns of the event loop that its client needs. Each worker listens on a socket
named by its subject, in a folder that only this user can enter, so its peers need no other proof. Messages of one subject never take both
ways between two workers: a worker listens before any other one knows its subject, and a socket that is gone is a worker that ended.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from relay_server.backplane.backplane import Backplane, BackplaneError, BackplaneMessage, Subscription, Take, take_message

logger = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 64 << 20
"""Limit of unsent data to one worker. Beyond it messages are refused."""
CLOSE_S = 1.0
_SIZE = struct.Struct("<I")


def socket_path(folder: Path, worker: str) -> Path:
    """The socket of one run of a worker; `worker` is what its name has after the common prefix."""
    return folder / f"joined-{worker}"


class WorkerSockets:
    """See above. A message is its size (u32, little-endian) and its bytes. Belongs to one event loop."""

    def __init__(self, within: Backplane, prefix: str, folder: Path) -> None:
        """Subjects that begin with `prefix` are those of workers; their sockets are in `folder`."""
        self._within = within
        self._prefix = prefix
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._writers: dict[str, StreamWriter] = {}
        """For each subject, the connection to the worker that listens to it."""
        self._reading: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """See `Backplane`. Workers that have lost the backplane within do not know where devices are."""
        return self._within.connected

    async def start(self, lost: Callable[[], None], regained: Callable[[], None]) -> None:
        """See `Backplane`."""
        await self._within.start(lost, regained)

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """See `Backplane`."""
        if not subject.startswith(self._prefix):
            await self._within.publish(subject, data, reply)
            return
        writer = self._writers.get(subject)
        if writer is None or writer.is_closing():
            writer = self._writers[subject] = await self._connect(subject)
        if writer.transport.get_write_buffer_size() + len(data) > MAX_UNSENT_BYTES:
            raise BackplaneError(f"a worker reads too slowly: {MAX_UNSENT_BYTES} bytes wait")
        writer.write(_SIZE.pack(len(data)) + data)

    async def subscribe(self, subject: str, take: Take) -> Subscription:
        """See `Backplane`. A worker subscribes once to the subject that is its own."""
        if subject.startswith(self._prefix):
            path = socket_path(self._folder, subject.removeprefix(self._prefix))
            self._server = await asyncio.start_unix_server(partial(self._read, subject, take), path)
        return await self._within.subscribe(subject, take)

    async def request(self, subject: str, data: bytes, within_s: float) -> bytes:
        """See `Backplane`."""
        return await self._within.request(subject, data, within_s)

    async def stop(self) -> None:
        """See `Backplane`."""
        if self._server is not None:
            self._server.close()
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        for writer in self._writers.values():
            await _close(writer)
        await self._within.stop()

    async def _connect(self, subject: str) -> StreamWriter:
        if (before := self._writers.pop(subject, None)) is not None:
            await _close(before)
        try:
            _, writer = await asyncio.open_unix_connection(socket_path(self._folder, subject.removeprefix(self._prefix)))
        except OSError as error:
            raise BackplaneError(f"the worker has ended: {error.strerror}") from error
        return writer

    async def _read(self, subject: str, take: Take, reader: StreamReader, writer: StreamWriter) -> None:
        """Handle the messages of one worker until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self._reading.add(task)
        try:
            while True:
                (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
                await take_message(take, BackplaneMessage(subject, await reader.readexactly(size)))
        except (IncompleteReadError, OSError):
            pass
        finally:
            self._reading.discard(task)
            await _close(writer)


async def _close(writer: StreamWriter) -> None:
    """Close a connection; what the other worker does not read in time is lost."""
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await writer.wait_closed()
    writer.transport.abort()
