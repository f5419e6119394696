"""The publisher: one stream to the relay, reconnected when lost, with all conversations on it.

Rules of the stream:
1. The first message is `hello`; nothing else is sent before the relay's `welcome`. One task writes, one reads.
2. A stream that ends or is silent for `PEER_TIMEOUT_US` is cut, and the next attempt follows after a wait (`avatar_relay.backoff`);
   not after a final refusal. For `PATIENCE_US` nothing fails: verbs accept data up to their bounds, and sending continues when
   there is a stream again (see `publisher_session`).
3. After that all unfinished conversations fail, and verbs raise. Attempts continue until the publisher is closed.
4. Leaving `async with` ends open conversations, waits up to `CLOSE_TIMEOUT_S` until all data was sent, and closes. Leaving it
   with an exception closes at once; the relay then ends open conversations after the publisher's lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from avatar_relay.backoff import FOREIGN_REFUSAL_S, PUBLISHER_BACKOFF, Attempts, asked_to_wait_s
from avatar_relay.checks import FieldError, as_addresses, check_function, check_int, check_text, check_type, wrong_type
from avatar_relay.ids import ID_RULE, is_valid_id, mint_conversation_id
from avatar_relay.limits import DEVICE_LEASE_US, PROTOCOL_VERSION, PUBLISHER_LEASE_US
from avatar_relay.media import AudioFormat, MotionFormat, OnPlaying, Pacing, TraceContext
from avatar_relay.messages import ConversationError, GoAway, PublisherHello, PublisherWelcome
from avatar_relay.publisher.avatar import Avatar
from avatar_relay.publisher.avatar_context import AvatarSettings
from avatar_relay.publisher.early_media import HOLD_US
from avatar_relay.publisher.errors import ConnectionLostError, PublisherClosedError, PublisherError
from avatar_relay.publisher.in_process import InProcessLink, InProcessRelay
from avatar_relay.publisher.publisher_session import PublisherSession
from avatar_relay.publisher.relay_link import Connector, RelayLink
from avatar_relay.publisher.writer import Writer
from avatar_relay.reasons import Fault, Reason
from avatar_relay.relay_list import MAX_RELAYS, RelayList
from avatar_relay.stream_numbers import StreamNumbers
from avatar_relay.tracing import current_context

if TYPE_CHECKING:
    import grpc

BUFFER_BYTES = 2 << 20
"""Bound of the data that waits at the publisher, per conversation and kind: a minute of 16 kHz audio, three of motion."""
PATIENCE_US = DEVICE_LEASE_US
"""How long a relay may be away: as long as devices wait with the data that they hold."""
CLOSE_TIMEOUT_S = 30.0
_SOFTWARE = f"avatar-relay {version('avatar-relay')}"
_US_PER_S = 1_000_000

logger = logging.getLogger(__name__)


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class Publisher:
    """Publishes conversations over one stream. Use as `async with`; belongs to one event loop.

    `random_bytes` makes ids, `jitter` (0 to 1) spreads reconnects, `now_us` is a monotonic clock: all three for tests. `trace` returns the
    trace context of a new conversation; by default that of the span that is active at its opening. `publisher_id` is kept over reconnects;
    by default it is random. Invalid arguments raise `TypeError` or `ValueError`.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        publisher_id: str | None = None,
        buffer_bytes: int = BUFFER_BYTES,
        media_tick_us: int = 0,
        trace: Callable[[str], TraceContext] | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        jitter: Callable[[], float] = random.random,
        now_us: Callable[[], int] = _monotonic_us,
        relays: RelayList | None = None,
    ) -> None:
        for name, function in (("connector", connector), ("random_bytes", random_bytes), ("jitter", jitter), ("now_us", now_us)):
            if not callable(function):
                raise wrong_type(name, "a function", function)
        if trace is not None:
            check_function(trace, "trace")
        if publisher_id is not None and not is_valid_id(check_text(publisher_id, "publisher_id")):
            raise FieldError("publisher_id", f"is {publisher_id[:80]!r}; it must be {ID_RULE}")
        media_tick_us = check_int(media_tick_us, "media_tick_us", 0, _US_PER_S)
        self.publisher_id = publisher_id or f"publisher-{random_bytes(6).hex()}"
        self.buffer_bytes = check_int(buffer_bytes, "buffer_bytes", 1, sys.maxsize)
        self.now_us = now_us
        self._connector = connector
        self._relays = relays or RelayList(("",), lambda: 0.0)
        self._trace = trace
        self._random_bytes = random_bytes
        self._attempts = Attempts(PUBLISHER_BACKOFF, jitter)
        self.session = PublisherSession(hold_us=HOLD_US if media_tick_us else 0)
        """All conversations; used by avatars."""
        self._token = ""
        self._numbers = StreamNumbers(random_bytes(4))
        self._connected = False
        self._streams = 0
        self._patient = False
        """The stream was lost recently and may come back: nothing fails yet."""
        self._failure: ConnectionLostError | None = None
        self._goaway_ms = 0
        """How long the relay asked to wait when it ended the stream."""
        self._changed = asyncio.Event()
        self._writer = Writer(self.session, now_us=now_us, media_tick_us=media_tick_us, wrote=self._changed.set)
        self.wake = self._writer.wake
        """Wake the writer: there may be something to send. Used by avatars."""
        self._runner: asyncio.Task[None] | None = None

    @classmethod
    def connect(
        cls,
        address: str | Sequence[str],
        *,
        publisher_id: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | Path | None = None,
        trace: Callable[[str], TraceContext] | None = None,
        media_tick_us: int = 0,
    ) -> Self:
        """A publisher over gRPC to `address` (HOST:PORT), in plaintext without `credentials`.

        Of several addresses one is drawn and kept; when it fails, the next one follows.

        `media_tick_us`: media may wait that long (up to a second), so that many live conversations share one message; 0: it is sent at
        once. With a tick, media that no device can play within two seconds waits for more of its conversation, up to 0.2 s (`early_media`).
        `token` authenticates the publisher at the relay: the text, or the file that holds it, which is read again for each stream.
        """
        relays = RelayList(as_addresses(address, "address", MAX_RELAYS), random.random)
        if credentials is not None:
            import grpc  # late: a caller with credentials has already imported it

            check_type(credentials, grpc.ChannelCredentials, "credentials")
        if not (token is None or isinstance(token, str | Path)):
            raise TypeError(f"token must be a str or a Path, not {type(token).__name__}")  # the error does not show a token

        from avatar_relay.publisher.grpc_link import GrpcConnector  # late: it imports gRPC

        connector = GrpcConnector(relays, credentials, token)
        return cls(connector.open, publisher_id=publisher_id, trace=trace, media_tick_us=media_tick_us, relays=relays)

    @classmethod
    def in_process(
        cls, relay: InProcessRelay, *, publisher_id: str | None = None, trace: Callable[[str], TraceContext] | None = None
    ) -> Self:
        """A publisher to a relay in this process, without a wire."""
        if not callable(getattr(relay, "connect_publisher", None)):
            raise wrong_type("relay", "a relay of this process", relay)

        async def connector() -> RelayLink:
            return InProcessLink(relay)

        return cls(connector, publisher_id=publisher_id, trace=trace)

    async def __aenter__(self) -> Self:
        """Connect. Raises `ConnectionLostError` if that does not succeed within the publisher's lease."""
        self._runner = asyncio.create_task(self._run(), name=f"publisher {self.publisher_id}")
        try:
            async with asyncio.timeout(PUBLISHER_LEASE_US / _US_PER_S):
                while not self._connected and not self._is_refused:
                    await self._until_changed()
        except TimeoutError:
            pass
        except BaseException:
            await self._stop()
            raise
        if not self._connected:
            await self._stop()
            raise self._why_not_connected("the relay does not answer: is it running, and is the address right?")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close (rule 4)."""
        try:
            if kind is None:
                await self._finish()
        finally:
            await self._stop()

    def avatar(
        self,
        *targets: str,
        audio_format: AudioFormat,
        motion_format: MotionFormat | None = None,
        pacing: Pacing = Pacing.BURST,
        on_playing: OnPlaying = OnPlaying.REPLACE,
    ) -> Avatar:
        """An avatar on one or more devices or groups, each a separate argument; nothing is sent before its first audio.

        Raises `TypeError`, and `ValueError` for invalid names.
        """
        return Avatar(self, AvatarSettings(targets, audio_format, motion_format, pacing, on_playing))

    async def flush(self) -> None:
        """Wait until the relay has all data handed over so far, as the devices' credit allows. Raises `ConnectionLostError`.

        A ping behind the data proves it: data that was merely sent may be lost when the stream is closed.
        """
        self.check()
        self.session.outbox.hurry()
        self.wake()
        while True:
            while not (self._connected and self.session.outbox.is_empty):
                await self._until_changed()
                self.check()
            ping_id, stream = self._writer.ping(), self._streams
            while self.session.last_pong_id < ping_id and self._streams == stream and self._connected:
                await self._until_changed()
                self.check()
            if self.session.last_pong_id >= ping_id:
                return

    @property
    def is_connected(self) -> bool:
        """Whether there is a stream to the relay now."""
        return self._connected

    # --- for avatars -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise `PublisherClosedError`, or `ConnectionLostError` if there is no stream and none is expected."""
        if self._runner is None:
            raise PublisherClosedError("the publisher is not open: use it within `async with`")
        if not self._connected and not self._patient:
            raise self._why_not_connected("there is no stream to the relay at present")

    def mint_id(self) -> str:
        """A new conversation id."""
        return mint_conversation_id(self._random_bytes)

    def trace(self, conversation_id: str) -> TraceContext:
        """The context of the conversation's trace."""
        return current_context() if self._trace is None else check_type(self._trace(conversation_id), TraceContext, "trace's result")

    # --- lifecycle of the stream ---------------------------------------------------------------------------------------

    @property
    def _is_refused(self) -> bool:
        """Whether further attempts are useless: each relay refused, or another stream of this publisher took over."""
        failure = self._failure
        return failure is not None and failure.final and (self._relays.all_refused or failure.reason is Reason.REPLACED)

    @property
    def _is_handed_on(self) -> bool:
        """Whether the relay ended the stream because it is draining."""
        return self._failure is not None and self._failure.reason is Reason.DRAINING

    def _why_not_connected(self, otherwise: str) -> ConnectionLostError:
        """The cause as a new error each time, because one that is raised repeatedly gathers tracebacks."""
        if self._failure is None:
            return ConnectionLostError(otherwise)
        known = self._failure
        return ConnectionLostError(str(known), final=known.final, fault=known.fault, foreign=known.foreign)

    async def _run(self) -> None:
        """Task boundary: any bug in here ends the publisher with a clear failure."""
        try:
            await self._keep_connected()
        except Exception as error:
            logger.exception("publisher=%s stopped", self.publisher_id)
            self._failure = ConnectionLostError(f"the publisher stopped because of an internal error: {error}", final=True)
            self._connected = self._patient = False
            self.session.fail_all(_lost("the publisher stopped because of an internal error"))
            self._changed.set()

    async def _keep_connected(self) -> None:
        patience_ends_us = 0
        while True:
            began_us = self.now_us()
            try:
                # A task of its own: in Python 3.11 a task group that fails leaves its task marked as cancelled, and a later
                # `asyncio.timeout` in that task would end it instead of timing out.
                await asyncio.create_task(self._one_stream())
            except ConnectionLostError as error:
                self._failure = error
            now_us = self.now_us()
            wait_s = self._next_relay(now_us)
            if self._connected:
                level = logging.INFO if self._is_handed_on else logging.WARNING  # a draining relay is no problem
                logger.log(level, "stream to the relay lost: publisher=%s cause=%s", self.publisher_id, self._failure)
                patience_ends_us = now_us + PATIENCE_US
                self._attempts.lost(now_us - began_us)
                self._connected, self._patient = False, True
                self.session.cut()
            if self._is_refused or now_us >= patience_ends_us:
                self._patient = False
                why = str(self._failure) if self._is_refused else "the relay could not be reached again in time"
                self.session.fail_all(_lost(why))
            self._changed.set()
            if self._is_refused:
                return
            await asyncio.sleep(max(self._attempts.wait_s(), wait_s))

    def _next_relay(self, now_us: int) -> float:
        """Choose the relay of the next attempt; returns the minimum wait before it, in seconds."""
        failure = self._failure
        fault = None if failure is None else failure.fault
        asked_s = asked_to_wait_s(self._goaway_ms, 0 if fault is None else fault.retry_after_ms)
        if failure is not None and failure.foreign and not self._attempts.is_eager:
            asked_s = max(asked_s, FOREIGN_REFUSAL_S)
        stay, refused = self._connected and not self._is_handed_on, failure is not None and failure.final
        return self._relays.ended(now_us, asked_s, stay=stay, refused=refused)

    async def _one_stream(self) -> None:
        """Connect and exchange messages until the stream is lost. Always raises `ConnectionLostError`."""
        link = await self._connector()
        lost: list[ConnectionLostError] = []
        try:
            await self._shake_hands(link)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(link))
                tasks.create_task(self._writer.write(link))
                tasks.create_task(self._writer.beat())
        except* ConnectionLostError as group:
            lost = [error for error in group.exceptions if isinstance(error, ConnectionLostError)]
        finally:
            await link.close()
        raise lost[0]

    async def _shake_hands(self, link: RelayLink) -> None:
        within_s = self._attempts.within_s
        try:
            async with asyncio.timeout(within_s):
                await link.send(PublisherHello(self.publisher_id, PROTOCOL_VERSION, _SOFTWARE, self._token, self._numbers.next()))
                welcome = await link.receive()
        except TimeoutError:
            self._attempts.unanswered()
            raise ConnectionLostError(f"the relay did not answer `hello` within {within_s:.1f} s") from None
        if not isinstance(welcome, PublisherWelcome):
            raise ConnectionLostError(f"the relay answered `hello` with {type(welcome).__name__}, not with `welcome`")
        if self._token:
            self.session.resumed(welcome.taken, self.now_us())
        self._token = welcome.session_token
        self._streams += 1
        self._attempts.welcomed()
        self._relays.welcomed()
        self._failure, self._goaway_ms = None, 0
        self._connected = True
        self._writer.welcome(welcome.limits)
        self._changed.set()

    async def _read(self, link: RelayLink) -> None:
        now_s = asyncio.get_running_loop().time
        while True:
            message, self._writer.heard_s = await link.receive(), now_s()
            if message is None:
                raise ConnectionLostError("the relay ended the stream")
            if isinstance(message, GoAway):
                self._goaway_ms = message.retry_after_ms
                logger.info("the relay will end the stream: publisher=%s reason=%s", self.publisher_id, message.reason)
            if isinstance(message, ConversationError):
                fault = message.fault
                logger.warning("conversation=%s device=%s: %s: %s", message.conversation_id, message.device_id, fault.reason, fault.text)
            self.session.handle(message, self.now_us())
            if self.session.outbox.has_work:
                self._writer.wake()
            self._changed.set()

    async def _until_changed(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _finish(self) -> None:
        """End open conversations and wait until their data was sent."""
        if not self._connected and (not self._patient or self.session.has_nothing_to_say):
            return
        try:
            self.session.end_all(self.now_us())
            self._writer.wake()
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.flush()
        except TimeoutError:
            logger.warning("publisher=%s closed before all was sent: the devices took it too slowly", self.publisher_id)
        except PublisherError as error:
            logger.warning("publisher=%s closed before all was sent: %s", self.publisher_id, error)

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)
        self._connected = self._patient = False
        self.session.abandon(_lost("the publisher was closed"))


def _lost(text: str) -> Fault:
    return Fault(Reason.PUBLISHER_LOST, text)
