"""A proxy on the way that limits how many bytes a request may have. A stream is one request: it is reset when its sum gets there.

Rules
1. Only a stream counts that was reset by something that is not the relay, or that was answered with HTTP status 413 in place of a
   `welcome`. Any other end begins anew; but an error page whose status gRPC does not tell may be one or the other.
2. The limit lies between what the relay is known to have received of a stream and what was sent on it. `TRIES` streams in a row that agree
   on one are enough, if it lets nothing of use pass: it is below `SMALL_BYTES`, or media was sent and the relay took none.
3. A proxy that ends streams after a time ends quiet ones at the same sum as well. So the last of the tries begins with pings up to where
   the limit would be (`probes`): a sum that is passed is not a limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from avatar_relay.messages import Ping

TRIES = 3
PROBE_ID = 1 << 62
"""The pings of probes are numbered from here, all others from 0."""
SMALL_BYTES = 4_096
"""Heartbeats alone get there within minutes. A larger limit lets an idle stream live, and what was cut is resumed."""
LARGEST_BYTES = 128 << 10
"""A message with all that is joined in it is smaller: a limit beyond lets media pass."""
FRAME_BYTES = 5
"""What gRPC puts before a message."""
_RESET, _TOO_LARGE = "RST_STREAM", "status: 413"
"""What gRPC's texts of such ends hold."""


class RequestLimit:
    """What one client learned of such a limit from its streams, one at a time. Pure."""

    def __init__(self) -> None:
        self._cuts = 0
        """Streams in a row that agree on a limit …"""
        self._above, self._up_to = 0, 0
        """… of more than so many bytes, and at most so many."""
        self._taken = 0
        self._verdict: str | None = None
        self.begin()

    def begin(self) -> None:
        """A new stream."""
        if self._verdict is None:  # the last one did not end by itself
            self._cuts = 0
        self._sent = self._confirmed = 0
        self._pings: deque[tuple[int, int]] = deque(maxlen=1_024)
        self._media = False
        self._verdict = None
        self.counts = True
        """Whether it still matters what is sent: False once the relay received so much that no limit is in the way."""

    @property
    def probes(self) -> Iterator[Ping]:
        """Rule 3: the pings that the stream begins with, once it is welcomed. Their pongs tell no time."""
        up_to = min(self._up_to, SMALL_BYTES) if self._cuts == TRIES - 1 else 0
        ping_id = PROBE_ID
        while self._sent < up_to:
            yield Ping(ping_id, 0)
            ping_id += 1

    def sent(self, size: int, *, ping_id: int | None = None, media: bool = False) -> None:
        """A message of so many bytes was handed to gRPC; it may hold a ping, or media."""
        self._sent += size + FRAME_BYTES
        self._media |= media
        if ping_id is not None:
            self._pings.append((ping_id, self._sent))

    def answered(self, ping_id: int) -> bool:
        """The relay received all up to this ping. Returns whether that is one of a probe, which nobody else asked for."""
        known = any(ping_id == waiting_id for waiting_id, _ in self._pings)
        while known:
            waiting_id, self._confirmed = self._pings.popleft()
            known = waiting_id != ping_id
        self.counts = self._confirmed < LARGEST_BYTES
        return ping_id >= PROBE_ID

    def welcomed(self, taken: int = 0) -> None:
        """The relay received all so far. `taken`: how many payloads it has by now of the conversations of earlier streams."""
        self._confirmed = self._sent
        if taken > self._taken:
            self._cuts = 0
        self._taken = taken

    def ended(self, text: str) -> str:
        """The stream ended without a fault that the relay told; gRPC's text. Returns what is in the way, or an empty text.

        May be asked again.
        """
        if self._verdict is None:
            self._verdict = self._judge(text)
        return self._verdict

    def _judge(self, text: str) -> str:
        if self._confirmed == 0 and _RESET in text and _TOO_LARGE not in text:
            return ""
        is_useless = self._media or self._confirmed < SMALL_BYTES
        if not (self.counts and is_useless and (_RESET in text or _TOO_LARGE in text)):
            self._cuts = 0
            return ""
        above, up_to = max(self._above, self._confirmed), min(self._up_to, self._sent)
        agrees = self._cuts > 0 and above < up_to
        self._cuts = self._cuts + 1 if agrees else 1
        self._above, self._up_to = (above, up_to) if agrees else (self._confirmed, self._sent)
        if self._cuts < TRIES:
            return ""
        return (
            f"a proxy limits the size of requests: {TRIES} streams in a row were reset after {self._above:,} bytes, before"
            f" {self._up_to:,} were through; it must not limit it (nginx: client_max_body_size 0), see docs/proxies.md"
        )
