"""The backplane over NATS core, by `nats-py`. The only module that imports it; imported only by a relay in a cluster.

`nats-py` may raise anything: its own errors, those of a transport that is being replaced, and those of its parser if a server answers with
nonsense.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscriptionHandle

from avatar_relay.errors import ConfigError
from relay_server.backplane.backplane import BackplaneError, BackplaneMessage, NobodyError, Take, take_message

logger = logging.getLogger(__name__)

CONNECT_S = 5.0
RETRY_S = 0.1
CLOSE_S = 1.0
"""`nats-py` may wait forever for the end of a connection whose TLS handshake failed."""
PENDING_BYTES = 64 << 20
"""Limit of outgoing data during a reconnect, and of each subscription. Beyond it messages are lost; tunnels detect it by their numbers."""


class NatsSubscription:
    """A subscription to one subject."""

    def __init__(self, handle: NatsSubscriptionHandle) -> None:
        self._handle = handle

    async def end(self) -> None:
        """See `Subscription`."""
        with suppress(Exception):  # the connection is gone, and the subscription with it
            await self._handle.unsubscribe()


class NatsBackplane:
    """A connection to one of several NATS servers. Reconnects automatically."""

    def __init__(self, servers: Sequence[str], name: str, tls: ssl.SSLContext | None) -> None:
        """`servers`: URLs, `nats://` or `tls://`, with user and password if needed. `name` is shown by the servers."""
        self._servers = list(servers)
        self._name = name
        self._tls = tls
        self._client = Client()
        self._usable = False
        self._stopped = False

    @property
    def connected(self) -> bool:
        """See `Backplane`."""
        return self._usable

    async def start(self, lost: Callable[[], None], regained: Callable[[], None]) -> None:
        """See `Backplane`."""

        async def on_lost() -> None:
            if self._usable:
                self._usable = False
                logger.warning("the connection to NATS is lost")
                lost()

        async def on_regained() -> None:
            if self._stopped:
                raise asyncio.CancelledError
            self._usable = True
            logger.warning("connected to NATS again")
            regained()

        starts = True

        async def on_error(error: Exception) -> None:
            logger.info("NATS: %s", error or type(error).__name__)
            if self._stopped:
                raise asyncio.CancelledError  # a reconnection that lost its cancellation, as asyncio may, would go on forever
            if starts:
                raise error  # ends `connect`, which would wait forever for the end of a connection whose TLS handshake failed (nats.py#718)

        if self._tls is not None:
            logging.getLogger("asyncio").addFilter(_says_something)
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + CONNECT_S
        servers = random.sample(self._servers, len(self._servers))
        while starts:
            try:
                await self._client.connect(
                    servers,
                    name=self._name,
                    error_cb=on_error,
                    disconnected_cb=on_lost,
                    reconnected_cb=on_regained,
                    dont_randomize=True,
                    connect_timeout=1,
                    reconnect_time_wait=RETRY_S,  # type: ignore[arg-type]  # passed to `asyncio.sleep`
                    max_reconnect_attempts=-1,
                    ping_interval=1,
                    max_outstanding_pings=2,
                    pending_size=PENDING_BYTES,
                    tls=self._tls,
                )
                starts = False
            except Exception as error:
                await self._close()
                if now_s() >= until_s:
                    shown = ", ".join(server.rpartition("@")[2] for server in self._servers)
                    reason = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
                    raise ConfigError(f"cluster_nats: no NATS server answers at {shown}: {reason}") from error
                self._client = Client()
                servers.append(servers.pop(0))
                await asyncio.sleep(RETRY_S)
        self._usable = True

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """See `Backplane`."""
        if not self._usable:
            raise BackplaneError("there is no connection to NATS")
        try:
            await self._client.publish(subject, data, reply)
        except Exception as error:
            raise BackplaneError(str(error) or type(error).__name__) from error

    async def subscribe(self, subject: str, take: Take) -> NatsSubscription:
        """See `Backplane`."""

        async def on_message(message: Msg) -> None:
            await take_message(take, BackplaneMessage(message.subject, message.data, message.reply))

        try:
            return NatsSubscription(await self._client.subscribe(subject, cb=on_message, pending_bytes_limit=PENDING_BYTES))
        except Exception as error:
            raise BackplaneError(str(error) or type(error).__name__) from error

    async def request(self, subject: str, data: bytes, within_s: float) -> bytes:
        """See `Backplane`."""
        if not self._usable:
            raise BackplaneError("there is no connection to NATS")
        try:
            answer = await self._client.request(subject, data, timeout=within_s)
        except nats.errors.NoRespondersError as error:
            raise NobodyError(f"nobody listens to {subject}") from error
        except Exception as error:
            raise BackplaneError(str(error) or type(error).__name__) from error
        return bytes(answer.data)

    async def stop(self) -> None:
        """See `Backplane`."""
        self._usable = False
        await self._close()
        self._stopped = True

    async def _close(self) -> None:
        """Close the connection, in any state. Raises nothing."""
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await self._client.close()


def _says_something(record: logging.LogRecord) -> bool:
    """Whether a line of asyncio's log says something: `nats-py` causes this one at the end of each connection with TLS."""
    return "eof_received() has no effect when using ssl" not in record.getMessage()
