"""The network thread: an event loop with the link, and the ticks of playback.

Asyncio and gRPC run here, and the player is fed and ticked only on this thread. Other threads read snapshots (`status`, `relay_time`), and
the main thread may request a stop. The player continues while no relay is connected.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from avatar_relay.device_state import DeviceSettings, Parts
from avatar_relay.messages import ConversationError, Finished, Volume
from edge_client.link.clock_probe import RelayTime
from edge_client.link.device_link import DeviceLink, LinkClocks, LinkStatus
from edge_client.link.retry import StreamEnd
from edge_client.playback.events import ConversationEvent, Output, PlayerState

logger = logging.getLogger(__name__)

TICK_S = 0.02
"""Tick interval of the player while no messages arrive; each received message causes a tick too."""
IDLE_TICK_S = 0.25
"""Tick interval while there is no conversation."""
JOIN_S = 0.002
"""A tick for a message waits this long for further messages."""
PLAYING_JOIN_S = 0.01
"""The same while something is played: some sound is buffered then."""
_SHORTEST_SLEEP_S = 0.001
LEAVE_S = 4.0
"""Time limit for leaving: acknowledgements, goodbye, and the thread's end."""


class Ticking(Protocol):
    """Interface of playback that the ticks use."""

    @property
    def state(self) -> PlayerState:
        """The state of the player."""
        ...

    def tick(self, now_us: int) -> Sequence[Output | Volume | DeviceSettings | Parts]:
        """Advance to `now_us`; returns what to send."""
        ...


class LinkThread:
    """Runs until `stop`, or until the relay's refusal is final; then calls `on_end` on its own thread."""

    def __init__(
        self,
        *,
        make_link: Callable[[Callable[[], None]], DeviceLink],
        playback: Ticking,
        clocks: LinkClocks,
        on_finished: Callable[[], None],
        on_end: Callable[[], None],
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        """`make_link(on_handled)` is called on the thread's own loop.

        `on_finished` is called after each conversation that is over, `on_tick` with each tick.
        """
        self._make_link = make_link
        self._playback = playback
        self._on_tick = on_tick
        self._clocks = clocks
        self._on_finished = on_finished
        self._on_end = on_end
        self._link: DeviceLink | None = None
        self._ticked_s = float("-inf")
        self._coming: asyncio.TimerHandle | None = None
        self._resting: asyncio.Future[None] | None = None
        """Pending until the next tick of an idle player."""
        self._broken: Exception | None = None
        """The error of a tick that no task awaited."""
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self.end: StreamEnd | None = None
        """How it ended; None while it runs, and if it crashed."""
        self.crashed = False

    def start(self) -> None:
        """Start to attach."""
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye and end; returns when that is done, after `LEAVE_S` at the latest.

        Call it from another thread, also if it never started.
        """
        self._stopped.set()
        if self._thread.ident is None:
            return
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            try:
                self._loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                logger.debug("the link had ended already")
        self._thread.join(LEAVE_S)

    @property
    def started(self) -> bool:
        """Whether it has started to attach."""
        return self._thread.ident is not None

    @property
    def status(self) -> LinkStatus:
        """The current state of the link."""
        return LinkStatus() if self._link is None else self._link.status

    @property
    def relay_time(self) -> RelayTime | None:
        """The relay's clocks as last estimated; None before the first pong."""
        return None if self._link is None else self._link.relay_time

    def _run(self) -> None:
        try:
            self.end = asyncio.run(self._live())
        except Exception:
            self.crashed = True
            logger.exception("the link crashed")
        finally:
            self._on_end()

    async def _live(self) -> StreamEnd:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if self._stopped.is_set():
            self._stop.set()
        link = self._link = self._make_link(self._handled)
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(self._tick_on())
            end = await link.run(self._stop)
            ticker.cancel()
        return end

    async def _tick_on(self) -> None:
        """Tick if no handled message has caused a tick for `TICK_S`, or for `IDLE_TICK_S`."""
        loop = asyncio.get_running_loop()
        while self._broken is None:
            if loop.time() - self._ticked_s >= TICK_S:
                self._tick()
            if self._playback.state is PlayerState.IDLE:
                await self._rest(loop)
            else:
                await asyncio.sleep(max(self._ticked_s + TICK_S - loop.time(), _SHORTEST_SLEEP_S))
        raise self._broken

    async def _rest(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for `IDLE_TICK_S`, or until a message was handled."""
        resting = self._resting = loop.create_future()
        timer = loop.call_later(IDLE_TICK_S, self._wake)
        try:
            await resting
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)

    def _handled(self) -> None:
        """Tick once for messages that arrive together: sound and motion of the same moment often follow each other closely."""
        if self._coming is None:
            join_s = PLAYING_JOIN_S if self._playback.state is PlayerState.PLAYING else JOIN_S
            self._coming = asyncio.get_running_loop().call_later(join_s, self._tick_by_timer)

    def _tick_by_timer(self) -> None:
        """Tick from a timer. The loop would only log a timer's error: it is passed to the task that ends the thread."""
        try:
            self._tick()
        except Exception as error:
            self._broken = error
        self._wake()

    def _tick(self) -> None:
        if self._link is None:
            return
        self._ticked_s = asyncio.get_running_loop().time()
        if self._coming is not None:
            self._coming.cancel()
            self._coming = None
        self._on_tick()
        for output in self._playback.tick(self._clocks.monotonic_us()):
            if isinstance(output, ConversationError):
                logger.warning("conversation %s: %s: %s", output.conversation_id, output.fault.reason, output.fault.text)
            self._link.post(output)
            if isinstance(output, ConversationEvent) and isinstance(output.body, Finished):
                self._on_finished()
