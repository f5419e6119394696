"""Detects a proxy on the way that limits a request's size. A stream is one request: it is reset when its total size reaches the limit.

Rules
1. Only streams count that were reset by a third party, or that were answered with HTTP status 413 instead of a
   `welcome`. Any other end restarts the count; an error page whose status gRPC does not report may be either.
2. The limit is between the bytes that the relay is known to have received of a stream and those sent on it. `TRIES` streams in a row that
   agree on one are enough, if it makes the stream useless: it is below `SMALL_BYTES`, or media was sent and the relay received none.
3. A proxy that ends streams after a time ends idle ones at the same size as well. So the last of the tries begins with pings up to
   the suspected limit (`probes`): a size that is passed is not a limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from avatar_relay.messages import Ping

TRIES = 3
PROBE_ID = 1 << 62
"""Ids of probe pings begin here, all others at 0."""
SMALL_BYTES = 4_096
"""Heartbeats alone reach it within minutes. A larger limit allows idle streams, and cut media is resumed."""
LARGEST_BYTES = 128 << 10
"""A message with all that is joined in it is smaller: a limit above this allows media."""
FRAME_BYTES = 5
"""gRPC's prefix of each message."""
_RESET, _TOO_LARGE = "RST_STREAM", "status: 413"
"""Marks of such ends in gRPC's texts."""


class RequestLimit:
    """One client's knowledge of such a limit, from its streams, one at a time. Pure."""

    def __init__(self) -> None:
        self._cuts = 0
        """Streams in a row that agree on a limit …"""
        self._above, self._up_to = 0, 0
        """… above the first and at most the second number of bytes."""
        self._taken = 0
        self._verdict: str | None = None
        self.begin()

    def begin(self) -> None:
        """Begin a new stream."""
        if self._verdict is None:  # the last one did not end by itself
            self._cuts = 0
        self._sent = self._confirmed = 0
        self._pings: deque[tuple[int, int]] = deque(maxlen=1_024)
        self._media = False
        self._verdict = None
        self.counts = True
        """Whether sent bytes still matter: False once the relay has received so much that there is no limit."""

    @property
    def probes(self) -> Iterator[Ping]:
        """Rule 3: the pings at the start of the stream, after its welcome. Their pongs are not used for time."""
        up_to = min(self._up_to, SMALL_BYTES) if self._cuts == TRIES - 1 else 0
        ping_id = PROBE_ID
        while self._sent < up_to:
            yield Ping(ping_id, 0)
            ping_id += 1

    def sent(self, size: int, *, ping_id: int | None = None, media: bool = False) -> None:
        """A message of `size` bytes was handed to gRPC; it may hold a ping, or media."""
        self._sent += size + FRAME_BYTES
        self._media |= media
        if ping_id is not None:
            self._pings.append((ping_id, self._sent))

    def answered(self, ping_id: int) -> bool:
        """The relay received everything up to this ping. Returns whether the ping is a probe's, whose pong must not be passed on."""
        known = any(ping_id == waiting_id for waiting_id, _ in self._pings)
        while known:
            waiting_id, self._confirmed = self._pings.popleft()
            known = waiting_id != ping_id
        self.counts = self._confirmed < LARGEST_BYTES
        return ping_id >= PROBE_ID

    def welcomed(self, taken: int = 0) -> None:
        """The relay received everything so far. `taken`: payloads that it has of the conversations of earlier streams."""
        self._confirmed = self._sent
        if taken > self._taken:
            self._cuts = 0
        self._taken = taken

    def ended(self, text: str) -> str:
        """The stream ended without a fault from the relay; `text` is gRPC's. Returns a description of the limit, or an empty text.

        Idempotent.
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
