"""The context of an avatar: its settings, and the part of its publisher that it uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from avatar_relay.checks import FieldError, check_text, check_type
from avatar_relay.ids import ID_RULE, is_valid_id
from avatar_relay.media import AudioFormat, ConversationOpen, Expression, MotionFormat, OnPlaying, Pacing, TraceContext
from avatar_relay.publisher.errors import InvalidMediaError
from avatar_relay.publisher.publisher_session import PublisherSession
from avatar_relay.reasons import Fault, Reason


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


class AvatarContext(Protocol):
    """The part of the publisher that an avatar uses."""

    @property
    def session(self) -> PublisherSession:
        """The session that holds all conversations."""
        ...

    def check(self) -> None:
        """Raise `PublisherClosedError` or `ConnectionLostError` if nothing can be sent now."""
        ...

    @property
    def buffer_bytes(self) -> int:
        """Bound of the waiting data per conversation and kind."""
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
