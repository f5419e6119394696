"""What a publisher knows of one of its conversations. Pure, except for its callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from avatar_relay.media import Cursor
from avatar_relay.messages import ConversationError, Dropped, Finished, Pause, PlayerEvent, Resume
from avatar_relay.publisher.playback_tracker import PlaybackTracker
from avatar_relay.publisher.published_conversation import PublishedConversation
from avatar_relay.reasons import Fault, FinishReason, Reason

Told = PlayerEvent | ConversationError
"""Events that a conversation's owner receives."""


@dataclass(slots=True, eq=False)
class Record:
    """A conversation with its playback state. `moved` is called after each change, `told` with each event."""

    conversation: PublishedConversation
    playback: PlaybackTracker
    moved: Callable[[], None]
    told: Callable[[Told], None]
    targets: tuple[str, ...] = ()
    stopped: Fault | None = None
    """Why it accepts no more data; None if it was not stopped, or its owner stopped it."""
    held: dict[str, Cursor] = field(default_factory=dict)
    """The cursor that each device holds."""
    steered: Pause | Resume | None = None
    """The last of these that was sent; it may have been lost with a stream."""
    again_until_us: int = 0
    """It is being opened again, and retried until then; 0 if not."""
    taken_from: set[str] = field(default_factory=set)
    """Devices on which another publisher opened a conversation that replaced this one."""
    dropped: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """Payloads and bytes that relays reported as dropped, by device and `Dropped.count_id`."""

    @property
    def conversation_id(self) -> str:
        """Its id."""
        return self.conversation.conversation_id

    @property
    def is_over(self) -> bool:
        """Whether its outcome is known."""
        return self.playback.outcome is not None

    @property
    def is_taken_over(self) -> bool:
        """Whether other publishers replaced it on all its devices, which have not all reported its end."""
        return bool(self.targets) and self.taken_from.issuperset(self.targets)

    @property
    def cut_short(self) -> FinishReason | None:
        """Why a relay ended it with less than all of its data; None if none is known to have done so."""
        if self.stopped is None:
            return None if self.conversation.end_was_sent else FinishReason.PUBLISHER_LOST
        return FinishReason.PUBLISHER_LOST if self.stopped.reason is Reason.PUBLISHER_LOST else FinishReason.FAILED

    def news(self, event: PlayerEvent) -> PlayerEvent | None:
        """What is new in an event: a relay reports the total of what it dropped again to a publisher that reconnects."""
        body = event.body
        if isinstance(body, Finished):
            return replace(event, body=body.cut_short(self.cut_short))
        if not isinstance(body, Dropped) or not body.count_id:
            return event
        key = event.device_id, body.count_id
        payloads, size = self.dropped.get(key, (0, 0))
        if body.total_payloads <= payloads:
            return None
        self.dropped[key] = body.total_payloads, body.total_bytes
        return replace(event, body=replace(body, payloads=body.total_payloads - payloads, bytes=body.total_bytes - size))
