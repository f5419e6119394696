"""The thread of the network: an event loop with the link, and the ticks of playback.

Asyncio and gRPC live here, and the player is fed and ticked on this thread only. Other threads read snapshots (`status`, `relay_time`),
and the main one may ask to stop. The player goes on while no relay is there.
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
"""How often the player is ticked where nothing comes; each message that comes ticks it too."""
IDLE_TICK_S = 0.25
"""The same while there is no conversation."""
JOIN_S = 0.002
"""A tick for a message waits this long for others …"""
PLAYING_JOIN_S = 0.01
"""… and this long while something is played: a player that plays has some sound in hand."""
_SHORTEST_SLEEP_S = 0.001
LEAVE_S = 4.0
"""How long leaving may take: acknowledgements, goodbye, and the thread's end."""


class Ticking(Protocol):
    """Playback, as seen from its clock."""

    @property
    def state(self) -> PlayerState:
        """What it does."""
        ...

    def tick(self, now_us: int) -> Sequence[Output | Volume | DeviceSettings | Parts]:
        """Go on to `now_us`; returns what is to be sent."""
        ...


class LinkThread:
    """Runs until `stop`, or until the relay refuses for good; calls `on_end` when it is over, on its own thread."""

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
        """`make_link(on_handled)` is called on the thread's own loop; `on_finished` after each conversation that is over,
        `on_tick` with each tick."""
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
        """Until the next tick of an idle player."""
        self._broken: Exception | None = None
        """What a tick failed with that no task awaited."""
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self.end: StreamEnd | None = None
        """How it ended; None while it runs, and where it crashed."""
        self.crashed = False

    def start(self) -> None:
        """Begin to attach."""
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye and end; returns when that is done, after `LEAVE_S` at the latest. For another thread; also if it never began."""
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
        """Whether it has begun to attach."""
        return self._thread.ident is not None

    @property
    def status(self) -> LinkStatus:
        """The link now."""
        return LinkStatus() if self._link is None else self._link.status

    @property
    def relay_time(self) -> RelayTime | None:
        """The relay's clocks as last learned; None before the first pong."""
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
        """Tick where nothing that was handled has ticked for `TICK_S`, or for `IDLE_TICK_S`."""
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
        """Wait for `IDLE_TICK_S`, or until something was handled."""
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
        """Tick once for all that comes together: sound and motion of a moment often come one behind the other."""
        if self._coming is None:
            join_s = PLAYING_JOIN_S if self._playback.state is PlayerState.PLAYING else JOIN_S
            self._coming = asyncio.get_running_loop().call_later(join_s, self._tick_by_timer)

    def _tick_by_timer(self) -> None:
        """A timer's error would be logged by the loop and change nothing: it is handed to the task that ends the thread."""
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
