"""One connected vendor session: its requests, and the motion for the current one.

Callbacks of the SDK only route and enqueue, within the limits of the conversation whose request is current.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from avatar_relay.avatarkit import AvatarKitError, read_head
from avatar_relay.media import AudioFormat
from avatar_relay.reasons import DropReason
from relay_server.sources.avatarkit.faults import Recovery, SdkError, SdkFailure, judge
from relay_server.sources.avatarkit.observer import SdkObserver
from relay_server.sources.avatarkit.requests import Arrival, Requests
from relay_server.sources.avatarkit.sdk import Sdk

SEND_TIMEOUT_S = 10.0
"""A server that reads nothing for this long is considered gone."""
CLOSE_TIMEOUT_S = 5.0
_CONNECTION_LOST = frozenset({"connectionClosed", "connectionFailed"})

logger = logging.getLogger(__name__)


class Listener(Protocol):
    """The conversation whose request is current. Both methods return at once."""

    def on_motion(self, arrival: Arrival) -> None:
        """Handle the next motion message."""
        ...

    def on_failure(self, failure: SdkFailure) -> None:
        """Handle a failure: no more motion follows for this request."""
        ...


class LiveSession:
    """A vendor session. Belongs to one event loop, and to one conversation at a time."""

    def __init__(self, number: int, sdk: Sdk, audio_format: AudioFormat, observer: SdkObserver, on_gone: Callable[[], None]) -> None:
        """`on_gone` is called when the session turns out to be unusable."""
        self.number = number
        self.audio_format = audio_format
        self.failure: SdkFailure | None = None
        """Why the session is unusable."""
        self._sdk = sdk
        self._observer = observer
        self._on_gone = on_gone
        self._vendor = sdk.session(audio_format, self)
        self._requests = Requests()
        self._listener: Listener | None = None
        self._asked = False
        """Whether the SDK has a request open, which begins with the first attempt to send."""

    async def open(self, timeout_s: float) -> None:
        """Connect. Raises `SdkError`; if it raises or is cancelled, call `close` to release partial state."""
        try:
            async with asyncio.timeout(timeout_s):
                connection_id = await self._vendor.start()
        except TimeoutError:
            raise SdkError(SdkFailure("startTimedOut", detail=f"after {timeout_s:g} s")) from None
        if self.failure is not None:
            raise SdkError(self.failure)
        logger.info("%s session=%d open: connection=%s", self._sdk.name, self.number, connection_id[:64])

    def begin(self, listener: Listener) -> None:
        """Begin a request for a conversation; `listener` receives its motion."""
        self._requests.begin()
        self._listener = listener

    async def send(self, data: bytes, *, end: bool) -> None:
        """Send sound of the current request. Raises `SdkError`."""
        if self.failure is not None:
            raise SdkError(self.failure)
        self._asked = True
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                req_id = await self._vendor.send_audio(data, end=end)
        except TimeoutError:
            self._gone(SdkFailure("sendTimedOut"))
            raise SdkError(SdkFailure("sendTimedOut")) from None
        if not self._requests.req_id:
            logger.info("%s session=%d request=%s begins", self._sdk.name, self.number, req_id)
            for routed in self._requests.named(req_id):
                self._hand_on(routed)

    def finish(self) -> None:
        """End the current request after all its motion."""
        self._asked = False
        self._listener = None
        self._drop_parked(self._requests.close())

    async def give_up(self) -> None:
        """Abandon the current request; its late motion is dropped. Raises nothing."""
        asked = self._asked
        self.finish()
        if not asked or self.failure is not None:
            return
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                self._requests.forget(await self._vendor.interrupt())
        except TimeoutError:
            self._gone(SdkFailure("sendTimedOut"))
        except SdkError as error:
            self._gone(error.failure)

    async def close(self) -> None:
        """Close the session. Raises nothing. Idempotent."""
        self._gone(SdkFailure("connectionClosed"))
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._vendor.close()
        except TimeoutError:
            logger.warning("%s session=%d did not close within %g s", self._sdk.name, self.number, CLOSE_TIMEOUT_S)

    # --- callbacks of the SDK: enqueue only ------------------------------------------------------------------------

    def on_frames(self, data: bytes) -> None:
        """See `SdkListener`."""
        try:
            head = read_head(data)
        except AvatarKitError as error:
            self._observer.dropped(self._sdk.name, 1, DropReason.UNDECODABLE)
            self._tell(SdkFailure("motionUndecodable", detail=str(error)))
            return
        self._hand_on(self._requests.route(Arrival(head, data)))

    def on_failure(self, failure: SdkFailure) -> None:
        """See `SdkListener`. After a ServerError the session remains usable, unless the code means that it is over."""
        lives = failure.phase == "websocket_runtime" and failure.close_code is None and failure.code not in _CONNECTION_LOST
        if not lives or judge(failure).recovery in (Recovery.HOLD, Recovery.AT_ONCE):
            self._gone(failure)
        elif not failure.req_id or failure.req_id == self._requests.req_id or not self._requests.req_id:
            self._tell(failure)

    def on_closed(self) -> None:
        """See `SdkListener`."""
        self._gone(SdkFailure("connectionClosed", detail="closed without a reason"))

    def _gone(self, failure: SdkFailure) -> None:
        """Mark the session as unusable; only the first failure counts."""
        if self.failure is None:
            self.failure = failure
            self._tell(failure)
            self._on_gone()

    def _tell(self, failure: SdkFailure) -> None:
        if self._listener is not None:
            self._listener.on_failure(failure)

    def _hand_on(self, routed: Arrival | DropReason | None) -> None:
        if isinstance(routed, DropReason):
            self._observer.dropped(self._sdk.name, 1, routed)
        elif routed is not None and self._listener is not None:
            self._listener.on_motion(routed)

    def _drop_parked(self, count: int) -> None:
        if count:
            self._observer.dropped(self._sdk.name, count, DropReason.CONVERSATION_CLOSED)
