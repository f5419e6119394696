"""The context of an avatar: its settings, the part of its publisher that it uses, and how its calls wait and drop motion."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from avatar_relay.checks import FieldError, check_text, check_type
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.media import AudioFormat, ConversationOpen, Expression, Kind, MotionFormat, OnPlaying, Pacing, TraceContext
from avatar_relay.messages import Dropped
from avatar_relay.publisher.conversation_record import Record
from avatar_relay.publisher.errors import InvalidMediaError
from avatar_relay.publisher.publisher_session import PublisherSession
from avatar_relay.reasons import DropReason, Fault, Reason

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AvatarSettings:
    """Settings shared by all conversations of an avatar. Raises `TypeError` or `ValueError` if one is invalid."""

    targets: tuple[str, ...]
    audio_format: AudioFormat
    motion_format: MotionFormat | None
    pacing: Pacing
    on_playing: OnPlaying

    def __post_init__(self) -> None:
        if not self.targets:
            raise InvalidMediaError(Fault(Reason.TARGETS_MISSING, "an avatar needs at least one device or group", "targets"))
        for index, target in enumerate(self.targets):
            if not is_valid_id(check_text(target, f"targets[{index}]")):
                raise FieldError(f"targets[{index}]", f"is {target[:80]!r}; the name of a device or group is {ID_RULE}")
        check_type(self.audio_format, AudioFormat, "audio_format")
        if self.motion_format is not None:
            check_type(self.motion_format, MotionFormat, "motion_format")
        check_type(self.pacing, Pacing, "pacing")
        check_type(self.on_playing, OnPlaying, "on_playing")

    def opening(self, conversation_id: str, trace: TraceContext, expression: Expression) -> ConversationOpen:
        """The parameters that open a conversation."""
        return ConversationOpen(conversation_id, self.audio_format, self.motion_format, self.pacing, self.on_playing, trace, expression)


def drop_motion(session: PublisherSession, record: Record | None, conversation_id: str, frames: Sequence[bytes]) -> bool:
    """Count and report motion that is dropped here. Returns False."""
    reason = DropReason.CONVERSATION_UNKNOWN if record is None else record.conversation.motion_refusal
    payloads, size = sum(1 for frame in frames if frame), sum(map(len, frames))
    logger.info("motion dropped: conversation=%s payloads=%d bytes=%d reason=%s", conversation_id, payloads, size, reason)
    if record is not None and reason is not None and payloads:
        session.tell_dropped(record, Dropped(Kind.MOTION, payloads, size, reason))
    return False


class CallLock(asyncio.Lock):
    """A lock for calls that may have to wait for room; another call may do without it while there are none."""

    calls = 0
    """Calls that hold it or wait for it."""

    async def acquire(self) -> Literal[True]:
        """See `asyncio.Lock`."""
        self.calls += 1
        try:
            return await super().acquire()
        except BaseException:
            self.calls -= 1
            raise

    def release(self) -> None:
        """See `asyncio.Lock`."""
        self.calls -= 1
        super().release()


class AvatarContext(Protocol):
    """The part of the publisher that an avatar uses."""

    session: PublisherSession
    """The session that holds all conversations."""
    buffer_bytes: int
    """Bound of the waiting data per conversation and kind."""

    def check(self) -> None:
        """Raise `PublisherClosedError` or `ConnectionLostError` if nothing can be sent now."""
        ...

    def now_us(self) -> int:
        """Monotonic clock."""
        ...

    def wake(self) -> None:
        """Wake the writer: there may be something to send."""
        ...

    def mint_id(self) -> str:
        """A new conversation id."""
        ...

    def trace(self, conversation_id: str) -> TraceContext:
        """Trace context of the conversation; empty if there is none."""
        ...
