"""The vendor sessions of one account: optionally opened in advance, shared by all devices.

`SessionStock` decides what is done and when; the pool does it, each opening and closing in its own task.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import assert_never

from avatar_relay.media import AudioFormat
from avatar_relay.reasons import Fault, Reason
from relay_server.background import Start
from relay_server.sources.avatarkit.faults import Recovery, SdkError, SdkFailure, fault_of, judge
from relay_server.sources.avatarkit.live import LiveSession
from relay_server.sources.avatarkit.observer import SdkObserver
from relay_server.sources.avatarkit.sdk import Sdk
from relay_server.sources.avatarkit.session_stock import Close, Leased, Open, SessionRefused, SessionState, SessionStock, StockRules, Wait
from relay_server.sources.source import SourceError

logger = logging.getLogger(__name__)


class Pool:
    """The sessions of one account; run by `running`. Belongs to one event loop."""

    def __init__(
        self,
        sdk: Sdk,
        rules: StockRules,
        *,
        start_timeout_s: float,
        now_us: Callable[[], int],
        observer: SdkObserver | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = sdk.name
        self.now_us = now_us
        self._sdk = sdk
        self._stock = SessionStock(rules, jitter)
        self._start_timeout_s = start_timeout_s
        self._observer = observer or SdkObserver()
        self._live: dict[int, LiveSession] = {}
        self._opened_us: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiters: set[asyncio.Event] = set()
        self._changed = asyncio.Event()
        self._closed = False

    def count(self, standing: SessionState | None = None) -> int:
        """The number of sessions, in one state or in all."""
        return self._stock.count(standing)

    async def lease(self, device: str, audio_format: AudioFormat) -> LiveSession:
        """Get a session for a conversation on a device; waits for one, at most as long as a start may take. Safe to cancel.

        Raises `SdkError` if a session was tried and failed, and `SourceError` if none is available.
        """
        try:
            async with asyncio.timeout(self._start_timeout_s):
                opening = await self._until_free(device, audio_format)
        except TimeoutError:
            text = f"{self.name}: no session within {self._start_timeout_s:g} s: all are in use, or the last attempts failed"
            raise SourceError(Fault(Reason.LIMIT_REACHED, text, retry_after_ms=1_000)) from None
        if isinstance(opening, LiveSession):
            self._observer.session_used(self.name, warm=True)
            return opening
        live = await self._open(opening)
        self._observer.session_used(self.name, warm=False)
        return live

    def give_back(self, live: LiveSession) -> None:
        """Return a session after a conversation, also midway; it serves others, unless it failed."""
        self._spawn(self._take_back(live))

    def succeeded(self) -> None:
        """All motion of a conversation arrived: reset the backoff."""
        self._stock.worked()

    def note(self, failure: SdkFailure, *, unasked: bool = False) -> Fault:
        """Count the failure of a request or session, and hold off if it would recur. Returns the fault to report.

        `unasked`: the session was not opened for a conversation. Then the next one is always delayed; otherwise a session that is refused
        or closed at once would be requested repeatedly.
        """
        verdict, fault = judge(failure), fault_of(self.name, failure)
        self._observer.failed(self.name, fault.reason)
        logger.warning("%s: %s", fault.reason, fault.text)
        if unasked or verdict.recovery in (Recovery.HOLD, Recovery.BACK_OFF):
            self._stock.failed(self.now_us(), verdict.hold_us, fault)
        return fault

    async def run(self) -> None:
        """Maintain the warm sessions, and close idle ones, until cancelled or closed."""
        while not self._closed:
            self._changed.clear()
            for effect in self._stock.tick(self.now_us()):
                match effect:
                    case Open():
                        self._spawn(self._open_warm(effect))
                    case Close(number):
                        self._spawn(self._close(number))
                    case _:
                        assert_never(effect)
            await self._wait(self._changed, self._stock.next_deadline_us())

    async def close(self) -> None:
        """Close all sessions permanently."""
        self._closed = True
        self._wake()
        for number in list(self._live):
            self._stock.closing(number)
            self._spawn(self._close(number))
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _take_back(self, live: LiveSession) -> None:
        await live.give_up()
        if live.failure is None:
            self._stock.released(live.number, self.now_us())
        self._wake()

    async def _until_free(self, device: str, audio_format: AudioFormat) -> LiveSession | Open:
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            while True:
                changed.clear()
                answer = self._stock.take(device, audio_format, self.now_us())
                match answer:
                    case Leased(number):
                        return self._live[number]
                    case Open():
                        return answer
                    case SessionRefused(fault):
                        raise SourceError(fault)
                    case Wait(close, until_us):
                        if close is not None:
                            self._spawn(self._close(close.number))
                        await self._wait(changed, until_us)
                    case _:
                        assert_never(answer)
        finally:
            self._waiters.discard(changed)

    async def _wait(self, changed: asyncio.Event, until_us: int | None) -> None:
        wait_s = None if until_us is None else max(until_us - self.now_us(), 1_000) / 1e6
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):  # not wait_for: that one may swallow a cancellation, and leak a session
                await changed.wait()

    async def _open(self, opening: Open) -> LiveSession:
        number = opening.number
        live = LiveSession(number, self._sdk, opening.audio_format, self._observer, lambda: self._on_gone(number))
        self._live[number] = live
        began_us = self.now_us()
        try:
            await live.open(self._start_timeout_s)
        except BaseException:
            self._discard(number)
            raise
        if self._closed:
            self._discard(number)
            raise SdkError(SdkFailure("connectionClosed", detail="the relay stops"))
        now_us = self._opened_us[number] = self.now_us()
        self._stock.opened(number, now_us)
        self._observer.session_opened(self.name, now_us - began_us)
        self._wake()
        return live

    async def _open_warm(self, opening: Open) -> None:
        try:
            await self._open(opening)
        except SdkError as error:
            self.note(error.failure, unasked=True)
            self._wake()

    def _on_gone(self, number: int) -> None:
        """A session failed: if it is idle, no conversation would notice, so the failure is noted here."""
        live = self._live.get(number)
        if live is not None and live.failure is not None and number in self._opened_us:
            if self._stock.standing(number) is SessionState.IDLE:
                self.note(live.failure, unasked=True)
            self._discard(number)

    def _discard(self, number: int) -> None:
        if self._stock.standing(number) is not SessionState.CLOSING:
            self._stock.closing(number)
            self._spawn(self._close(number))

    async def _close(self, number: int) -> None:
        live = self._live.get(number)
        try:
            if live is not None:
                await live.close()
        finally:
            self._live.pop(number, None)
            self._stock.gone(number)
            opened_us = self._opened_us.pop(number, None)
            if opened_us is not None:
                self._observer.session_closed(self.name, self.now_us() - opened_us)
            self._wake()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=f"{self.name} pool")
        self._tasks.add(task)
        task.add_done_callback(self._on_spawned_end)

    def _on_spawned_end(self, task: asyncio.Task[None]) -> None:
        """Task boundary: an unexpected error of one session does not affect others."""
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            logger.error("%s: a session could not be opened or closed", self.name, exc_info=bug)

    def _wake(self) -> None:
        self._changed.set()
        for waiter in self._waiters:
            waiter.set()


@asynccontextmanager
async def running(pool: Pool, start: Start) -> AsyncIterator[Pool]:
    """A running pool, maintained in a task from `start`; all its sessions are closed on exit."""
    upkeep = start(f"{pool.name} session pool", pool.run())
    try:
        yield pool
    finally:
        upkeep.cancel()
        await asyncio.gather(upkeep, return_exceptions=True)
        await pool.close()
