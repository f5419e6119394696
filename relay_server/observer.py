"""Who looks on while the relay works: tracing and metrics implement this. Called where effects are performed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from avatar_relay.media import ConversationOpen, Cursor, Kind, TraceContext
from avatar_relay.messages import Finished, PlayerEventBody
from avatar_relay.reasons import Fault
from relay_server.core.payload_batch import PayloadBatch


class RelayObserver(Protocol):
    """Is told what happens, on the relay's event loop. Must return at once and raise nothing."""

    def begin(self, open_: ConversationOpen) -> ConversationOpen:
        """A conversation is about to open; gives back what goes to the devices, perhaps with a trace context below its own."""
        ...

    def context(self, conversation_id: str) -> TraceContext:
        """The trace that a conversation belongs to; empty where it is not traced."""
        ...

    def conversation_opened(self, open_: ConversationOpen, publisher_id: str, device_ids: tuple[str, ...]) -> None:
        """A conversation is open; `open_.trace_context` is the parent of its spans."""
        ...

    def conversation_ended(self, conversation_id: str, last: Cursor) -> None:
        """All media of a conversation was published."""
        ...

    def tick(self) -> None:
        """Time passes; a few times a second."""
        ...

    def payloads_received(self, conversation_id: str, kind: Kind, payloads: int, size_bytes: int) -> None:
        """Payloads of one kind, or fragments of them, were taken from a publisher in one message."""
        ...

    def payloads_sent(self, device_id: str, conversation_id: str, batches: Sequence[PayloadBatch], now_us: int) -> None:
        """Runs left for a device in one message, now by the clock that they were received by."""
        ...

    def payloads_dropped(self, device_id: str, conversation_id: str, kind: Kind, payloads: int, size_bytes: int, reason: str) -> None:
        """Payloads were not used; `device_id` is empty where the relay dropped them."""
        ...

    def player_event(self, device_id: str, conversation_id: str, body: PlayerEventBody) -> None:
        """A player told something else than dropped or finished."""
        ...

    def finished(self, device_id: str, conversation_id: str, body: Finished) -> None:
        """Playback is over: once per conversation and device; once more with an empty `device_id` for a group."""
        ...

    def finished_ignored(self, device_id: str, conversation_id: str) -> None:
        """A second finished event came, and was ignored."""
        ...

    def conversation_error(self, conversation_id: str, device_id: str, fault: Fault) -> None:
        """Something is wrong with a conversation."""
        ...

    def device_attached(self, device_id: str, *, resumed: bool) -> None:
        """A device's stream is up."""
        ...

    def device_detached(self, device_id: str, reason: str) -> None:
        """A device's stream ended."""
        ...

    def device_lost(self, device_id: str, reason: str) -> None:
        """A device's session ended."""
        ...

    def message_unknown(self, leg: str) -> None:
        """A message that this version does not know came on leg `device` or `publisher`."""
        ...

    def stream_failed(self, leg: str, fault: Fault) -> None:
        """A stream ended with a fault."""
        ...


class NullRelayObserver:
    """Looks away."""

    def begin(self, open_: ConversationOpen) -> ConversationOpen:
        """Gives back what it got."""
        return open_

    def context(self, conversation_id: str) -> TraceContext:
        """Empty."""
        del conversation_id
        return TraceContext()

    def conversation_opened(self, open_: ConversationOpen, publisher_id: str, device_ids: tuple[str, ...]) -> None:
        """Nothing."""

    def conversation_ended(self, conversation_id: str, last: Cursor) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Nothing."""

    def payloads_received(self, conversation_id: str, kind: Kind, payloads: int, size_bytes: int) -> None:
        """Nothing."""

    def payloads_sent(self, device_id: str, conversation_id: str, batches: Sequence[PayloadBatch], now_us: int) -> None:
        """Nothing."""

    def payloads_dropped(self, device_id: str, conversation_id: str, kind: Kind, payloads: int, size_bytes: int, reason: str) -> None:
        """Nothing."""

    def player_event(self, device_id: str, conversation_id: str, body: PlayerEventBody) -> None:
        """Nothing."""

    def finished(self, device_id: str, conversation_id: str, body: Finished) -> None:
        """Nothing."""

    def finished_ignored(self, device_id: str, conversation_id: str) -> None:
        """Nothing."""

    def conversation_error(self, conversation_id: str, device_id: str, fault: Fault) -> None:
        """Nothing."""

    def device_attached(self, device_id: str, *, resumed: bool) -> None:
        """Nothing."""

    def device_detached(self, device_id: str, reason: str) -> None:
        """Nothing."""

    def device_lost(self, device_id: str, reason: str) -> None:
        """Nothing."""

    def message_unknown(self, leg: str) -> None:
        """Nothing."""

    def stream_failed(self, leg: str, fault: Fault) -> None:
        """Nothing."""
