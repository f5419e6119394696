"""What an avatar needs: its settings, and its publisher as far as it concerns it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from avatar_relay.media import AudioFormat, MotionFormat, OnPlaying, Pacing, TraceContext
from avatar_relay.publisher.publisher_session import PublisherSession


@dataclass(frozen=True, slots=True)
class AvatarSettings:
    """What all conversations of an avatar have in common."""

    targets: tuple[str, ...]
    audio_format: AudioFormat
    motion_format: MotionFormat | None
    pacing: Pacing
    on_playing: OnPlaying


class AvatarContext(Protocol):
    """What an avatar needs of its publisher."""

    @property
    def exchange(self) -> PublisherSession:
        """All conversations."""
        ...

    def check(self) -> None:
        """Raise `PublisherClosedError` or `ConnectionLostError` where nothing can be said now."""
        ...

    @property
    def buffer_bytes(self) -> int:
        """What may wait per conversation and kind."""
        ...

    def now_us(self) -> int:
        """Monotonic clock."""
        ...

    def wake(self) -> None:
        """There may be something to send."""
        ...

    def mint_id(self) -> str:
        """A new conversation id."""
        ...

    def trace(self, conversation_id: str) -> TraceContext:
        """The context of the conversation's trace; empty where none is kept."""
        ...
