"""The thread that runs one child process by the policy of `supervision`."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from edge_client.children.child import Child
from edge_client.children.supervision import Action, ChildLimits, ChildState, Restarts, Standing, Supervision

logger = logging.getLogger(__name__)

CHECK_S = 0.2
_KILL_S = 1.0

C = TypeVar("C", bound=Child)


def _unwanted(child: Child, how: str) -> bool:
    return False


class Supervisor(Generic[C]):
    """Starts, watches, kills and restarts a child, until `close`.

    `start_child` creates the child. `on_end(child, how)` is called at each one's end, before it is closed; if it returns True the end was
    wanted, and the next child is started at once. Both run on the supervisor's thread, named `NAME-supervisor`, and must be quick. An
    `OSError` of `start_child` is an ordinary failure.
    """

    def __init__(self, name: str, limits: ChildLimits, start_child: Callable[[], C], on_end: Callable[[C, str], bool] = _unwanted) -> None:
        self._name = name
        self._start_child = start_child
        self._on_end = on_end
        self._policy = Supervision(limits)
        self._thread = threading.Thread(target=self._run, name=f"{name}-supervisor", daemon=True)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = False
        self._grace_s = 0.0
        self._replace = ""
        self._hurry = False
        self._resting = False
        self._standing = Standing()
        self.started_once = threading.Event()
        """Set when a child was started for the first time, or could not be."""

    @property
    def standing(self) -> Standing:
        """The state of the child; from any thread."""
        return self._standing

    @property
    def restarts(self) -> Restarts:
        """Number of failures with a restart; from any thread."""
        return self._policy.restarts

    def start(self) -> None:
        """Start the thread. It starts the first child at once."""
        self._thread.start()

    def replace(self, reason: str) -> None:
        """Kill and restart the child, for a reason found by the caller; from any thread."""
        self._replace = reason
        os.eventfd_write(self._wake, 1)

    def hurry(self) -> None:
        """Start the child at once if it waits to be restarted; from any thread."""
        self._hurry = True
        os.eventfd_write(self._wake, 1)

    def rest(self, resting: bool) -> None:
        """While `resting`, start no child again after it has ended; from any thread, also in `on_end`."""
        self._resting = resting
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Start no further child; from any thread, also in `on_end`. `close` must still be called."""
        self._closing = True
        os.eventfd_write(self._wake, 1)

    def close(self, grace_s: float = 2.0) -> None:
        """Ask the child to end, kill it after `grace_s`, and end the thread. Takes at most `grace_s` plus one second."""
        self._grace_s = grace_s
        self.stop()
        self._thread.join()
        os.close(self._wake)

    def _run(self) -> None:
        child: C | None = None
        while not self._closing:
            child = self._step(child)
            self._tell()
            self._wait(child, CHECK_S)
        if child is not None:
            self._finish(child)

    def _step(self, child: C | None) -> C | None:
        now_us = time.monotonic_ns() // 1_000
        how = child.exit_text() if child is not None else None
        if child is not None and how is not None:
            wanted = self._on_end(child, how)
            self._policy.ended(now_us, how, wanted=wanted)
            child.close()
            child = None
            if self._closing:
                return None
        if child is None and self._resting:
            return None
        if self._replace:
            self._policy.replace(self._replace)
            self._replace = ""
        if self._hurry:
            self._hurry = False
            self._policy.hurry(now_us)
        match self._policy.act(now_us, child.signs() if child is not None else None):
            case Action.START:
                return self._start(now_us)
            case Action.KILL if child is not None:
                child.kill()
        if child is not None:
            child.make_room()
        return child

    def _start(self, now_us: int) -> C | None:
        try:
            child = self._start_child()
        except OSError as error:
            self._policy.ended(now_us, f"it cannot be started: {error}")
            return None
        else:
            self._policy.started()
            return child
        finally:
            self.started_once.set()

    def _tell(self) -> None:
        standing = self._policy.standing
        if standing == self._standing:
            return
        self._standing = standing
        log = logger.warning if standing.state is ChildState.FAILING else logger.info
        log("the %s process is %s", self._name, standing)

    def _wait(self, child: C | None, timeout_s: float) -> None:
        """Wait until the child ends, this is woken, or the time is over."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if child is not None:
            poll.register(child.pid_descriptor, select.POLLIN)
        if any(descriptor == self._wake for descriptor, _ in poll.poll(timeout_s * 1e3)):
            os.eventfd_read(self._wake)

    def _finish(self, child: C) -> None:
        """End the child; one that does not end although killed is abandoned."""
        child.ask_to_end()
        for limit_s in (self._grace_s, _KILL_S):
            until = time.monotonic() + limit_s
            while (how := child.exit_text()) is None and time.monotonic() < until:
                self._wait(child, until - time.monotonic())
            if how is not None:
                break
            child.kill()
        self._on_end(child, how or "it does not end although it was killed")
        child.close()
