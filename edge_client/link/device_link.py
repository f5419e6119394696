"""The device's side of the protocol: one gRPC stream, reopened whenever it ends.

Life of a stream
1. `hello` is sent (with session token, cursors and the total credit). `avatar_relay.backoff` limits the time for connection and `welcome`
   together.
2. One task writes: messages of the outbox, several as one if the relay accepts that. One task reads: pings are answered, pongs go to the
   clock probe, acknowledgements to the outbox; everything else goes to the player, in order.
3. `edge_client.link.heartbeat` decides when to ping, and when a silent relay is dead.
4. When the stream ends, `edge_client.link.retry` decides what follows, and `avatar_relay.backoff` how long to wait.
5. To leave: wait up to `FLUSH_S` for events to be acknowledged, send `goodbye`, then close the stream from this side.

gRPC itself is behind `edge_client.link.attach_call`. All of it runs on one event loop; `DeviceLink.status` and `DeviceLink.relay_time` may
be read from any thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from avatar_relay import messages as m
from avatar_relay.backoff import DEVICE_BACKOFF, Attempts, BackoffPolicy
from avatar_relay.certificate_dates import clock_fault
from avatar_relay.device_state import DeviceSettings
from avatar_relay.limits import MAX_JOINED_WITH_DEVICE, PROTOCOL_VERSION
from avatar_relay.media import Codec, ConversationOpen, Credit, Cursor, MotionEncoding
from avatar_relay.relay_list import RelayList
from avatar_relay.request_limit import RequestLimit
from avatar_relay.stream_numbers import StreamNumbers
from edge_client.link.attach_call import AttachCall, AttachRefused, Endpoint
from edge_client.link.clock_probe import ClockProbe, RelayTime
from edge_client.link.heartbeat import Heartbeat
from edge_client.link.report_outbox import Posted, ReportOutbox
from edge_client.link.retry import RetryDecision, StreamEnd

logger = logging.getLogger(__name__)

SILENCE_STEP_S = 0.25
"""The relay's silence is detected at most this much later."""
FLUSH_S = 1.0
"""How long the relay may take to acknowledge the last events, and again to end the stream after `goodbye`."""
STOPPED = StreamEnd("CANCELLED", "the device was stopped", stopped=True)


class MessageHandler(Protocol):
    """Receiver of the stream's messages. Called on the link's event loop."""

    def handle(self, message: m.ToDevice, now_us: int) -> object:
        """Handle a message of the relay: welcome, conversations, media, commands."""
        ...

    def buffer_credit(self) -> Credit:
        """The total credit now; credit granted later is in addition to it."""
        ...

    def cursors(self) -> tuple[Cursor, ...]:
        """What is held of each conversation that is not over."""
        ...

    @property
    def volume(self) -> m.Volume:
        """The volume of the device."""
        ...

    @property
    def settings(self) -> DeviceSettings | None:
        """The settings set by operators; None if the device accepts none."""
        ...


@dataclass(frozen=True, slots=True)
class LinkClocks:
    """The two clocks: monotonic and wall, in µs."""

    monotonic_us: Callable[[], int]
    unix_us: Callable[[], int]


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """The constant parts of `hello`."""

    device_id: str
    software_version: str
    output_rate_hz: int
    codecs: tuple[Codec, ...] = tuple(Codec)
    motion_encodings: tuple[MotionEncoding, ...] = tuple(MotionEncoding)


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """State of the link at one instant, for people and overlays."""

    attached: bool = False
    text: str = "not connected yet"
    streams: int = 0
    """Streams that were welcomed so far."""
    tries: int = 0
    """Attempts since the last stream."""
    unknown_messages: int = 0
    """Messages of a kind that this version does not know."""
    refused_messages: int = 0
    """Messages that violated the contract."""


class DeviceLink:
    """Keeps the device attached until stopped."""

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        profile: DeviceProfile,
        player: MessageHandler,
        clocks: LinkClocks,
        uniform: Callable[[], float],
        policy: BackoffPolicy = DEVICE_BACKOFF,
        on_handled: Callable[[], None] = lambda: None,
    ) -> None:
        """`uniform` draws from [0, 1), for jitter and the numbers of streams.

        `on_handled` is called after each message that went to the player.
        """
        self._endpoint = endpoint
        self._relays = RelayList((endpoint.address, *endpoint.others), uniform)
        self._profile = profile
        self._player = player
        self._clocks = clocks
        self._attempts = Attempts(policy, uniform)
        self._limits: dict[str, RequestLimit] = {}
        self._on_handled = on_handled
        self._outbox = ReportOutbox()
        self._wake = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._session_token = ""
        self._numbers = StreamNumbers(int(uniform() * (1 << 32)).to_bytes(4, "big"))
        self._goaway = m.GoAway("")
        self._welcomed_time_us: int | None = None
        self._heartbeat = Heartbeat()
        self.probe = ClockProbe()
        self.status = LinkStatus()
        self.relay_time: RelayTime | None = None

    def post(self, message: Posted) -> None:
        """Queue a message for the relay; it is sent now or (events, errors) when there is a stream again. Some may wait for another
        message, such as the answer to the relay's next ping."""
        self._outbox.put(message)
        if not self._outbox.may_wait(joins=self._heartbeat.joins):
            self._wake.set()

    async def run(self, stop: asyncio.Event) -> StreamEnd:
        """Stay attached until `stop`, or until a refusal is final; returns how it ended. Cancellation ends the stream."""
        replaced = 0
        while True:
            tried = self._relays.address
            end = await self._attach_once(tried, stop)
            if end.code == "UNAVAILABLE" and self._endpoint.tls:
                end = replace(end, advice=clock_fault(self._clocks.unix_us() // 1_000_000))
            wait_s = self._next_relay(end)
            if end.verdict is RetryDecision.STOPPED or (end.verdict is RetryDecision.FINAL and self._relays.all_refused):
                self._tell(attached=False, text=end.describe())
                return end
            if end.welcomed:
                self._attempts.lost(self._lived_us())
                self._tell(tries=0)
            replaced = replaced + 1 if end.verdict is RetryDecision.STAND_BACK else 0
            wait_s = max(wait_s, end.stand_back_s(replaced)) + self._attempts.wait_s()
            news = logging.WARNING if end.describe() != self.status.text else logging.DEBUG  # once, not every few seconds for hours
            logger.log(news, "relay %s: %s; next try in %.1f s", tried, end.describe(), wait_s)
            self._tell(attached=False, text=end.describe(), tries=self.status.tries + 1)
            if await _is_set_within(stop, wait_s):
                return STOPPED

    def _next_relay(self, end: StreamEnd) -> float:
        """Choose the relay of the next attempt; returns the minimum wait before it, in seconds."""
        stay = (end.welcomed and not end.drains) or end.verdict in (RetryDecision.STAND_BACK, RetryDecision.STOPPED)
        asked_s = max(end.wait_at_least_s, end.foreign_wait_s(eager=self._attempts.is_eager))
        sent_to = end.sent_to if end.drains else ""
        is_final = end.verdict is RetryDecision.FINAL
        return self._relays.ended(self._clocks.monotonic_us(), asked_s, stay=stay, refused=is_final, sent_to=sent_to)

    # --- one stream ------------------------------------------------------------------------------------------------

    async def _attach_once(self, address: str, stop: asyncio.Event) -> StreamEnd:
        self._goaway = m.GoAway("")
        self._welcomed_time_us = None
        async with AttachCall(replace(self._endpoint, address=address), self._limits.setdefault(address, RequestLimit())) as call:
            end = await self._shake_hands(call, stop)
            if end is None:
                end = await self._stay(call, stop)
        welcomed = self._welcomed_time_us is not None
        said = self._goaway
        return replace(end, welcomed=welcomed, retry_after_ms=said.retry_after_ms, goaway_reason=said.reason, sent_to=said.address)

    async def _shake_hands(self, call: AttachCall, stop: asyncio.Event) -> StreamEnd | None:
        """Send hello and wait for welcome; returns how the stream ended, or None on success."""
        welcome = asyncio.create_task(self._ask_for_welcome(call))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({welcome, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return welcome.result() if welcome.done() else STOPPED
        finally:
            welcome.cancel()
            stopped.cancel()
            await asyncio.gather(welcome, stopped, return_exceptions=True)

    async def _ask_for_welcome(self, call: AttachCall) -> StreamEnd | None:
        asked_us = self._clocks.monotonic_us()
        match await self._first_answer(call):
            case StreamEnd() as end:
                return end
            case m.Welcome() as welcome:
                self._welcome(welcome, asked_us)
                return None
            case AttachRefused(error=error):
                return StreamEnd("INTERNAL", f"the relay's welcome cannot be read: {error.fault.text}")
            case _:
                return StreamEnd("INTERNAL", "the relay's first message is not a welcome")

    async def _first_answer(self, call: AttachCall) -> m.ToDevice | AttachRefused | StreamEnd | None:
        """The first answer, with a time limit that includes connecting: if packets are lost, gRPC itself would try for 20 s."""
        within_s = self._attempts.within_s
        try:
            async with asyncio.timeout(within_s):
                await call.write(self._hello())
                return await call.read()
        except TimeoutError:
            self._attempts.unanswered()
            return StreamEnd("DEADLINE_EXCEEDED", f"the relay did not answer for {within_s:.1f} s")

    def _hello(self) -> m.Hello:
        """Create `hello`. It includes everything merged so far, so nothing is awaited between the two."""
        credit = self._player.buffer_credit()
        self._outbox.begin_stream(credit)
        return m.Hello(
            device_id=self._profile.device_id,
            protocol_version=PROTOCOL_VERSION,
            software_version=self._profile.software_version,
            codecs=self._profile.codecs,
            output_rate_hz=self._profile.output_rate_hz,
            motion_encodings=self._profile.motion_encodings,
            buffer=credit,
            session_token=self._session_token,
            cursors=self._player.cursors(),
            volume=self._player.volume,
            settings=self._player.settings,
            slow_when_idle=True,
            takes_joined=True,
            stream_number=self._numbers.next(),
        )

    def _welcome(self, welcome: m.Welcome, asked_us: int) -> None:
        """Handle a welcome. It is also a pong to hello: the relay's time is known before the first conversation."""
        now_us = self._clocks.monotonic_us()
        self._learn_time(m.Pong(0, asked_us, welcome.server_time_us, welcome.server_time_us, welcome.server_unix_time_us), now_us)
        self._welcomed_time_us = now_us
        self._heartbeat.welcome(welcome)
        self._attempts.welcomed()
        self._relays.welcomed()
        if welcome.session_token != self._session_token:
            self._session_token = welcome.session_token
            self._outbox.begin_session()
        self._tell(attached=True, text=f"attached to {self._relays.address}", streams=self.status.streams + 1)
        logger.info("attached to %s as %s (stream %s)", self._relays.address, self._profile.device_id, self.status.streams)
        self._player.handle(welcome, now_us)
        self._on_handled()

    async def _stay(self, call: AttachCall, stop: asyncio.Event) -> StreamEnd:
        """Write and read until the relay ends the stream or the device has left. A bug in a task ends the program with its error."""
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._write(call))
            reader = group.create_task(self._read(call))
            leaver = group.create_task(self._leave(stop))
            await asyncio.wait({reader, leaver}, return_when=asyncio.FIRST_COMPLETED)
            ended = reader.done()
            for task in (writer, reader, leaver):
                task.cancel()
        return replace(reader.result(), stopped=stop.is_set()) if ended else STOPPED

    async def _read(self, call: AttachCall) -> StreamEnd:
        """Read and handle messages. The deadline is moved only occasionally: moving it for each message would cost as much as reading."""
        now_s, silence_s = asyncio.get_running_loop().time, self._heartbeat.silence_us / 1e6
        try:
            async with asyncio.timeout(silence_s) as limit:
                due_s = now_s() + silence_s
                while True:
                    message = await call.read()
                    if isinstance(message, StreamEnd):
                        return message
                    self._receive(message)
                    silence_s = self._heartbeat.silence_us / 1e6
                    if not silence_s <= due_s - now_s() <= silence_s + SILENCE_STEP_S:
                        due_s = now_s() + silence_s + SILENCE_STEP_S
                        limit.reschedule(due_s)
        except TimeoutError:
            if not limit.expired():
                raise
            return StreamEnd("DEADLINE_EXCEEDED", f"the relay was silent for {silence_s:g} s")

    async def _write(self, call: AttachCall) -> None:
        """The only writer. Ends with goodbye, or with the stream (the reader gets the reason)."""
        while True:
            self._wake.clear()
            self._heartbeat.busy = bool(self._player.cursors())
            while messages := self._next_messages(self._clocks.monotonic_us()):
                if not await call.write(*messages):
                    return
                if isinstance(messages[-1], m.Goodbye):
                    return await call.done_writing()
            await _is_set_within(self._wake, self._heartbeat.wait_us(self._clocks.monotonic_us()) / 1e6)

    def _next_messages(self, now_us: int) -> list[m.ToRelayFromDevice]:
        """The messages to send as one now; none if nothing is due. A ping is the last of them."""
        messages: list[m.ToRelayFromDevice] = []
        if self._outbox.may_wait(joins=self._heartbeat.joins) and self._heartbeat.wait_us(now_us):
            return messages
        most = MAX_JOINED_WITH_DEVICE - 1 if self._heartbeat.joins else 1
        while len(messages) < most and (message := self._outbox.take(now_us)) is not None:
            messages.append(message)
        asks = any(isinstance(message, m.Pong) for message in messages) and self._heartbeat.answered(now_us)
        if (asks and not isinstance(messages[-1], m.Goodbye)) or (not messages and not self._heartbeat.wait_us(now_us)):
            messages.append(self._heartbeat.ping(now_us))
        return messages

    async def _leave(self, stop: asyncio.Event) -> None:
        """Leave after `stop`: flush events, send goodbye, and wait for the relay to end the stream, each with a time limit."""
        await stop.wait()
        try:
            async with asyncio.timeout(FLUSH_S):
                while self._outbox.unacknowledged:
                    self._acknowledged.clear()
                    await self._acknowledged.wait()
        except TimeoutError:
            logger.warning("%s player events were not acknowledged before leaving", self._outbox.unacknowledged)
        self.post(m.Goodbye("shutdown"))
        await asyncio.sleep(FLUSH_S)

    # --- received messages -----------------------------------------------------------------------------------------

    def _receive(self, message: m.ToDevice | AttachRefused | None) -> None:
        now_us = self._clocks.monotonic_us()
        match message:
            case None:
                self._tell(unknown_messages=self.status.unknown_messages + 1)
            case AttachRefused():
                self._refuse(message)
            case m.Ping():
                self.post(m.Pong(message.ping_id, message.sent_time_us, now_us, self._clocks.monotonic_us(), self._clocks.unix_us()))
            case m.Pong():
                self._learn_time(message, now_us)
            case m.EventAck():
                self._outbox.acknowledge(message.event_id)
                self._acknowledged.set()
            case m.GoAway():
                self._goaway = message
                logger.info("the relay will end the stream: %s, retry after %s ms", message.reason, message.retry_after_ms)
            case m.Welcome():
                self._tell(refused_messages=self.status.refused_messages + 1)
                logger.warning("the relay sent a second welcome; ignored")
            case _:
                self._player.handle(message, now_us)
                self._on_handled()
                if isinstance(message, ConversationOpen):
                    self._heartbeat.busy = True  # heartbeats are frequent again
                    self._wake.set()

    def _learn_time(self, pong: m.Pong, now_us: int) -> None:
        self.probe.add(pong, now_us)
        if (estimate := self.probe.estimate(now_us)) is not None:
            self.relay_time = RelayTime(now_us, estimate, pong.sent_unix_time_us - pong.sent_time_us)

    def _refuse(self, refused: AttachRefused) -> None:
        """Report what cannot be read, and return the credit that it consumed."""
        fault, conversation_id = refused.error.fault, refused.error.conversation_id
        self._tell(refused_messages=self.status.refused_messages + 1)
        logger.warning("refused a message of the relay: %s: %s", fault.reason, fault.text)
        if conversation_id is not None:
            self.post(m.ConversationError(conversation_id, fault))
        if refused.credit != Credit():
            self.post(refused.credit)

    def _lived_us(self) -> int:
        return 0 if self._welcomed_time_us is None else self._clocks.monotonic_us() - self._welcomed_time_us

    def _tell(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
