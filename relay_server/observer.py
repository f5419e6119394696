"""Observer interface of the relay, for tracing and metrics. Called while effects are performed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from avatar_relay.media import ConversationOpen
from relay_server.core.events import Notice, PayloadsReceived
from relay_server.core.payload_batch import PayloadBatch


class RelayObserver:
    """Observer that does nothing. Methods run on the relay's event loop, and must not block or raise."""

    def begin(self, open_: ConversationOpen) -> ConversationOpen:
        """Called before a conversation opens; returns the `open` for the devices, which may have a child trace context."""
        return open_

    def certificate(self, expires_in_s: Callable[[], int]) -> None:
        """Called if the relay has a certificate; `expires_in_s` returns its remaining validity, and may be called from any thread."""

    def tick(self) -> None:
        """Called a few times a second."""

    def notice(self, notice: Notice) -> None:
        """Called for each notice."""

    def payloads_received(self, notice: PayloadsReceived) -> None:
        """Called when payloads of one kind, or fragments of them, were accepted from a publisher in one message."""

    def payloads_sent(self, device_id: str, conversation_id: str, batches: Sequence[PayloadBatch], now_us: int) -> None:
        """Called when batches were sent to a device in one message; `now_us` and their `received_us` are of the same clock."""
