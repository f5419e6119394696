"""Who looks on while vendor sessions are used: metrics implement this."""

from __future__ import annotations

from typing import Protocol

from avatar_relay.reasons import DropReason, Reason


class SdkObserver(Protocol):
    """Is told what happens, on the event loop. Must return at once and raise nothing."""

    def session_opened(self, source: str, start_us: int) -> None:
        """A session is connected, and paid for from now on; it took `start_us`."""
        ...

    def session_closed(self, source: str, open_us: int) -> None:
        """A session that was connected for `open_us` is closed."""
        ...

    def session_used(self, source: str, *, warm: bool) -> None:
        """A conversation got a session: one that was there already, or a new one."""
        ...

    def failed(self, source: str, reason: Reason) -> None:
        """A session or a request failed."""
        ...

    def dropped(self, source: str, payloads: int, reason: DropReason) -> None:
        """Motion messages were not used."""
        ...


class NullSdkObserver:
    """Looks away."""

    def session_opened(self, source: str, start_us: int) -> None:
        """Nothing."""

    def session_closed(self, source: str, open_us: int) -> None:
        """Nothing."""

    def session_used(self, source: str, *, warm: bool) -> None:
        """Nothing."""

    def failed(self, source: str, reason: Reason) -> None:
        """Nothing."""

    def dropped(self, source: str, payloads: int, reason: DropReason) -> None:
        """Nothing."""
