"""The guard: admits the caller of every RPC of every service, and ends the RPCs of callers that lose their permission."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from avatar_relay.credentials import METADATA_KEY, token_in
from avatar_relay.errors import ConfigError
from avatar_relay.reasons import Fault, Reason
from relay_server.access.admission import Admission, AdmittedCall, PresentedCredentials
from relay_server.access.caller import AdmittedAs, set_caller
from relay_server.access.identities import Directory
from relay_server.access.own_thread import OwnThread
from relay_server.access.peers import host_of
from relay_server.access.rate_limits import RateLimits
from relay_server.access.refusal_log import RefusalLog
from relay_server.access.store import AccessFile
from relay_server.errors import RequestError
from relay_server.rpc_errors import Context, abort

logger = logging.getLogger(__name__)

LOOK_AFTER_S = 1.0
"""How often the access file and the open RPCs are checked."""
FAILURES_LOGGED_PER_MINUTE = 2
"""For failures to read the access file, which is tried each second."""


class Guard:
    """Guards one or more gRPC servers. Belongs to one event loop."""

    def __init__(
        self,
        file: AccessFile,
        groups: Mapping[str, tuple[str, ...]],
        *,
        now_us: Callable[[], int],
        unix_time_us: Callable[[], int],
        cut: Callable[[str], object] = lambda peer: None,
    ) -> None:
        """Read `file`. `cut` closes the connection of a gRPC peer if its RPC does not end otherwise. Raises `ConfigError`."""
        self._file = file
        self._cut = cut
        self._thread = OwnThread("access file")
        self._reading: asyncio.Task[Directory | None] | None = None
        self._admission = Admission(file.load(), groups)
        self._now_us = now_us
        self._unix_time_us = unix_time_us
        self._inside: dict[asyncio.Task[Any], tuple[AdmittedCall, str]] = {}
        self._expelled: dict[asyncio.Task[Any], Fault] = {}
        self._logged = RateLimits(1)
        self._refusals = RefusalLog(logger, now_us)

    async def run(self) -> None:
        """Check the file and the open RPCs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_AFTER_S)
            await self.look_after()

    async def look_after(self) -> None:
        """Read the file if it changed, and end the RPCs of callers that are no longer allowed.

        An invalid file changes nothing. A file that cannot be read is tried again at the next check. If the disk hangs, RPCs
        with expired credentials still end.
        """
        self._reading = self._reading or asyncio.create_task(self._changed_directory())
        await asyncio.wait({self._reading}, timeout=LOOK_AFTER_S)
        if self._reading.done():
            directory, self._reading = self._reading.result(), None
            if directory is not None:
                self._admission.replace(directory)
                logger.info("access file reloaded: %d identities", len(directory.identities))
        for task, (entrant, peer) in list(self._inside.items()):
            if task in self._expelled:
                self._cut(peer)  # it had a second: its stream hangs in a write
            elif (fault := self._admission.expulsion(entrant, self._unix_s())) is not None:
                self._refusals.write(entrant.key, "shown out: %s at %s: %s", entrant.key, peer, fault.reason)
                self._expelled[task] = fault
                task.cancel()

    async def read_again(self) -> None:
        """Read the file now if it changed."""
        directory = await self._changed_directory()
        if directory is not None:
            self._admission.replace(directory)

    async def _changed_directory(self) -> Directory | None:
        try:
            return await self._thread.do(self._file.load_if_changed)
        except ConfigError as error:
            logger.error("the access file is invalid, the previous one stays in effect: %s", error)
        except Exception as error:  # no descriptor, memory or thread left, or a failing disk: says nothing about the file's content
            if not self._logged.take(self._file, FAILURES_LOGGED_PER_MINUTE, self._now_us()):
                text = str(error) or type(error).__name__
                logger.error("the access file cannot be read, the previous one stays in effect; retrying each second: %s", text)
        return None

    @asynccontextmanager
    async def admit(self, method: str, context: Context) -> AsyncIterator[AdmittedAs]:
        """Admit the caller of an RPC for the block, or abort the RPC; yields what its requests are counted by.

        A caller that loses its permission is cancelled within the block, and its RPC is aborted with the reason.
        """
        entrant = await self._enter(method, context)
        with self._staying(entrant, context.peer()):
            try:
                yield AdmittedAs(entrant.key or host_of(context.peer()), known=bool(entrant.key))
            except asyncio.CancelledError:
                await self._tell_expelled(context)
                raise

    async def _enter(self, method: str, context: Context) -> AdmittedCall:
        try:
            return self._admission.enter(method, _shown(context), context.peer(), self._now_us(), self._unix_s())
        except RequestError as error:
            self._log_refusal(method, context.peer(), error.fault)
            await abort(context, error.fault)

    @contextmanager
    def _staying(self, entrant: AdmittedCall, peer: str) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._inside[task] = (entrant, peer)
        set_caller(entrant.caller)
        try:
            yield
        finally:
            self._inside.pop(task, None)
            self._expelled.pop(task, None)
            self._admission.leave(entrant)

    async def _tell_expelled(self, context: Context) -> None:
        """Abort the RPC with the reason for which it was cancelled; nothing if its caller cancelled it."""
        task = asyncio.current_task()
        fault = self._expelled.get(task) if task is not None else None
        if task is not None and fault is not None:
            task.uncancel()
            await abort(context, fault)

    def _log_refusal(self, method: str, peer: str, fault: Fault) -> None:
        if fault.reason is not Reason.LIMIT_REACHED:
            self._refusals.write(host_of(peer), "not let in: %s for %s: %s: %s", peer, method, fault.reason, fault.text)

    def _unix_s(self) -> int:
        return self._unix_time_us() // 1_000_000


def _shown(context: Context) -> PresentedCredentials:
    """The credentials that a caller presents. Two tokens count as a malformed one."""
    said = [value for key, value in context.invocation_metadata() or () if key == METADATA_KEY]
    token = None if not said else ""
    if len(said) == 1 and isinstance(said[0], str):
        token = token_in(said[0]) or ""
    authentication = context.auth_context()
    names = authentication.get("x509_subject_alternative_name") or authentication.get("x509_common_name") or ()
    return PresentedCredentials(token, tuple(name.decode(errors="replace") for name in names))
