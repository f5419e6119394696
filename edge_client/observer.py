"""Interface through which tracing and metrics observe playback.

Calls come from the thread that feeds the engine; they must be quick and never raise.
"""

from __future__ import annotations

from avatar_relay.media import ConversationOpen, Kind, Payload
from avatar_relay.messages import Dropped, Finished


class PlaybackObserver:
    """Ignores everything; override what is of interest. Times are monotonic, in µs."""

    def opened(self, message: ConversationOpen, now_us: int) -> None:
        """A conversation was opened; `message.trace_context` is its trace context."""

    def received(self, conversation_id: str, payload: Payload, now_us: int) -> None:
        """A whole payload was accepted."""

    def decoded(self, conversation_id: str, kind: Kind, seq: int, now_us: int) -> None:
        """A payload was decoded."""

    def buffered(self, conversation_id: str, now_us: int) -> None:
        """Enough is buffered to start, or to continue after a stall."""

    def first_sample_heard(self, conversation_id: str, time_us: int) -> None:
        """The first sample was heard at `time_us`."""

    def finished(self, conversation_id: str, body: Finished, now_us: int) -> None:
        """Playback is over."""

    def dropped(self, conversation_id: str, body: Dropped, now_us: int) -> None:
        """Payloads were not used."""

    def underrun(self, count: int, cause: str) -> None:
        """`count` more underruns with this cause: `starved` or `device_dry`."""


NULL = PlaybackObserver()
"""Ignores everything."""
