"""The relay's event loop: asyncio's, but a stream's gRPC operation resumes its waiter within the event that completed it.

asyncio resumes the waiter of a future in the next iteration of the loop. For each message read or written, that is another poll of the
selector and another handle, a fifth of what a live payload costs. And operations that complete together wake the loop once. What is sent
to another relay is written at the end of an iteration, for the same reason.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any

MAX_AT_ONCE = 32
"""Waiters resumed before the loop must get to its timers and other callbacks: gRPC hands over all completed operations in one event, and
a resumed stream may complete more meanwhile."""

MAX_WAKE_UPS = 4_096
"""Bytes read at once from the socket on which gRPC's thread wakes the loop."""


class Operations:
    """Tells the loop which futures are gRPC's: its operations ask the loop for a future, without saying what for."""

    __slots__ = ("begins",)

    def __init__(self) -> None:
        self.begins = False
        """Set before an operation is started, which must create its future, or fail, before control returns to the loop; cleared by the
        future, or by the one who set it."""


class RelayLoop(asyncio.SelectorEventLoop):
    """See above. Futures other than those of announced operations are asyncio's."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = Operations()
        self.at_once = MAX_AT_ONCE
        """Waiters that may be resumed before the next iteration."""
        self.at_end: list[Callable[[], None]] = []
        """Called at the end of this iteration. They raise nothing."""

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        while self.at_end:
            at_end, self.at_end = self.at_end, []
            for act in at_end:
                act()

    time = staticmethod(time.monotonic)  # the method that calls it costs a call for each reading

    def create_future(self) -> asyncio.Future[Any]:
        """See `asyncio`; for an operation, a future that resumes its waiter at once."""
        if self.operations.begins:
            self.operations.begins = False
            operation = _Operation(loop=self)
            operation.waiter = operation.context = None
            return operation
        return asyncio.Future(loop=self)

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """See `asyncio`; gRPC's wake-ups are read at once."""
        if type(getattr(getattr(callback, "func", None), "__self__", None)).__name__ == "PollerCompletionQueue":
            fd.__class__ = _WakeUps
        super().add_reader(fd, callback, *args)

    def refill(self) -> None:
        """Allow more waiters to be resumed, after other callbacks had their turn."""
        self.at_once = MAX_AT_ONCE


class _WakeUps(socket.socket):
    """The socket on which gRPC's thread writes a byte for each completed operation.

    gRPC reads one byte, then handles all operations that are complete. Each further byte would be another iteration of the loop, for
    nothing. An operation is queued before its byte is written, so none is missed.
    """

    __slots__ = ()

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Read all bytes that wait."""
        return super().recv(max(bufsize, MAX_WAKE_UPS), flags)


class _Operation(asyncio.Future[Any]):
    """A gRPC operation, awaited by one task or `add_done_callback`. gRPC sets its result in a callback of the loop, outside of any task.

    Failures and cancellation take asyncio's usual way: the waiter is registered with asyncio only then.
    """

    __slots__ = ("context", "waiter")  # without them, each operation would also have a dictionary
    waiter: Callable[[Any], object] | None
    context: Context | None

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """See `asyncio.Future`."""
        if self.waiter is not None or self.done():
            super().add_done_callback(fn, context=context)
        else:
            self.waiter, self.context = fn, context

    def set_result(self, result: Any, /) -> None:
        """See `asyncio.Future`. The waiter has run when this returns, unless too many did since the loop's last iteration."""
        loop: Any = self._loop
        if not loop.at_once:
            self._register()
        waiter, context, self.waiter = self.waiter, self.context, None
        _set_result(self, result)
        if waiter is None:
            return
        loop.at_once -= 1
        if not loop.at_once:
            loop.call_soon(loop.refill)
        try:
            if context is None:
                waiter(self)
            else:
                context.run(waiter, self)
        except Exception as error:  # gRPC's other operations go on, as with a callback of the loop
            loop.call_exception_handler({"message": "a waiter of an operation failed", "exception": error, "future": self})

    def set_exception(self, exception: type | BaseException, /) -> None:
        """See `asyncio.Future`."""
        self._register()
        super().set_exception(exception)

    def cancel(self, msg: Any = None) -> bool:
        """See `asyncio.Future`."""
        self._register()
        return super().cancel(msg)

    def _register(self) -> None:
        if self.waiter is not None:
            super().add_done_callback(self.waiter, context=self.context)
            self.waiter = None


_set_result = asyncio.Future.set_result
"""Found once: `super()` makes an object for each call."""


def operations() -> Operations:
    """The running loop's operations. With another loop than the relay's, announcing them has no effect."""
    loop = asyncio.get_running_loop()
    return loop.operations if isinstance(loop, RelayLoop) else Operations()


def at_turn_end(act: Callable[[], None]) -> None:
    """Call `act`, which raises nothing, at the end of the running loop's iteration; in its next one with another loop than the relay's."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, RelayLoop):
        loop.at_end.append(act)
    else:
        loop.call_soon(act)
