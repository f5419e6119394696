"""Interface for observing the use of vendor sessions; implemented by the metrics."""

from __future__ import annotations

from avatar_relay.reasons import DropReason, Reason


class SdkObserver:
    """Called on the event loop; this one does nothing. Methods must return at once and raise nothing."""

    def session_opened(self, source: str, start_us: int) -> None:
        """A session is connected, and billed from now on; connecting took `start_us`."""

    def session_closed(self, source: str, open_us: int) -> None:
        """A session that was connected for `open_us` is closed."""

    def session_used(self, source: str, *, warm: bool) -> None:
        """A conversation got a session: an existing one (`warm`), or a new one."""

    def failed(self, source: str, reason: Reason) -> None:
        """A session or a request failed."""

    def dropped(self, source: str, payloads: int, reason: DropReason) -> None:
        """Motion messages were dropped."""
