"""Metrics of vendor sessions: cost and failures. Names of sources and reasons are labels; ids and texts never are."""

from __future__ import annotations

from avatar_relay.reasons import DropReason, Reason
from avatar_relay.tracing import REASON, Telemetry
from relay_server.sources.avatarkit.observer import SdkObserver

_SOURCE = "avatar.source"


class SdkTelemetry(SdkObserver):
    """Records the events as metrics."""

    def __init__(self, telemetry: Telemetry) -> None:
        meter = telemetry.meter
        self._open = meter.create_up_down_counter("avatar.source.sessions", "{session}", "Vendor sessions that are open, and paid for")
        self._paid = meter.create_counter("avatar.source.session.time", "s", "Time that closed vendor sessions were open")
        self._start = meter.create_histogram("avatar.source.session.start", "s", "Token, WebSocket and handshake of a vendor session")
        self._used = meter.create_counter("avatar.source.conversations", "{conversation}", "Conversations that got a vendor session")
        self._failed = meter.create_counter("avatar.source.failures", "{failure}", "Vendor sessions and requests that failed")
        self._dropped = meter.create_counter("avatar.source.dropped", "{message}", "Motion messages of a vendor that were not used")

    def session_opened(self, source: str, start_us: int) -> None:
        """See `SdkObserver`."""
        self._open.add(1, {_SOURCE: source})
        self._start.record(start_us * 1e-6, {_SOURCE: source})

    def session_closed(self, source: str, open_us: int) -> None:
        """See `SdkObserver`."""
        self._open.add(-1, {_SOURCE: source})
        self._paid.add(open_us * 1e-6, {_SOURCE: source})

    def session_used(self, source: str, *, warm: bool) -> None:
        """See `SdkObserver`."""
        self._used.add(1, {_SOURCE: source, "avatar.source.warm": warm})

    def failed(self, source: str, reason: Reason) -> None:
        """See `SdkObserver`."""
        self._failed.add(1, {_SOURCE: source, REASON: reason.value})

    def dropped(self, source: str, payloads: int, reason: DropReason) -> None:
        """See `SdkObserver`."""
        self._dropped.add(payloads, {_SOURCE: source, REASON: reason.value})
