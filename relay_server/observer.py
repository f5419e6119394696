"""Observes the relay: tracing and metrics implement this. Called where effects are performed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from avatar_relay.media import ConversationOpen
from relay_server.core.events import Notice, PayloadsReceived
from relay_server.core.payload_batch import PayloadBatch


class RelayObserver:
    """Observes on the relay's event loop; this one does nothing. Methods must return at once and raise nothing."""

    def begin(self, open_: ConversationOpen) -> ConversationOpen:
        """A conversation is about to open; returns what goes to the devices, perhaps with a trace context below its own."""
        return open_

    def certificate(self, expires_in_s: Callable[[], int]) -> None:
        """The relay has a certificate; the function says how long it is still valid, from any thread."""

    def tick(self) -> None:
        """Time passes; a few times a second."""

    def notice(self, notice: Notice) -> None:
        """Something happened."""

    def payloads_received(self, notice: PayloadsReceived) -> None:
        """Payloads of one kind, or fragments of them, were taken from a publisher in one message."""

    def payloads_sent(self, device_id: str, conversation_id: str, batches: Sequence[PayloadBatch], now_us: int) -> None:
        """Batches left for a device in one message, now by the clock that they were received by."""
