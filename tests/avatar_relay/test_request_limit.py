"""Distinguishing a request size limit from other reasons for the end of a stream."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.request_limit import FRAME_BYTES, PROBE_ID, SMALL_BYTES, TRIES, RequestLimit

RESET = "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))"
HELLO_BYTES = 80


class Proxy:
    """A proxy, and a client behind it that sends hello and pings, and hello again when its stream is reset."""

    def __init__(self, *, max_bytes: int = 1 << 40, max_pings: int = 1 << 40) -> None:
        self.max_bytes, self.max_pings = max_bytes, max_pings
        self.limit = RequestLimit()
        self.passed = 0

    def says(self, size: int, *, ping_id: int | None = None, media: bool = False) -> bool:
        """Whether a message passes. A ping that passes is answered."""
        if self.limit.counts:
            self.limit.sent(size, ping_id=ping_id, media=media)
        self.passed += size + FRAME_BYTES
        if self.passed > self.max_bytes:
            return False
        if ping_id is not None:
            assert self.limit.answered(ping_id) == (ping_id >= PROBE_ID)
        return True

    def stream(self, *messages: int, taken: int = 0, text: str = RESET) -> str:
        """One stream that sends media of these sizes, then pings until it is reset; return the detected limit."""
        self.limit.begin()
        self.passed = 0
        if self.says(HELLO_BYTES):
            self.limit.welcomed(taken)
            probe = all(self.says(14, ping_id=ping.ping_id) for ping in self.limit.probes)
            if probe and all(self.says(size, media=True) for size in messages):
                ping_id = 1
                while ping_id <= self.max_pings and self.says(9, ping_id=ping_id):
                    ping_id += 1
        return self.limit.ended(text)


@given(st.integers(HELLO_BYTES + FRAME_BYTES, SMALL_BYTES - 100))
def test_three_streams_that_only_ping_find_a_small_limit(max_bytes: int) -> None:
    """At the third one; the text names the limit between two figures."""
    proxy = Proxy(max_bytes=max_bytes)
    said = [proxy.stream() for _ in range(TRIES)]
    assert said[:-1] == [""] * (TRIES - 1)
    found = re.search(r"after ([\d,]+) bytes, before ([\d,]+) were through", said[-1])
    assert found
    above, up_to = (int(figure.replace(",", "")) for figure in found.groups())
    assert above <= max_bytes < up_to


@given(st.integers(HELLO_BYTES + FRAME_BYTES, 64_000))
def test_three_streams_find_a_limit_below_a_message(max_bytes: int) -> None:
    """Media that never arrives is sufficient for a limit of any size."""
    proxy = Proxy(max_bytes=max_bytes)
    said = [proxy.stream(65_000) for _ in range(TRIES)]
    assert said[:-1] == [""] * (TRIES - 1)
    assert "limits the size of requests" in said[-1]


@given(st.integers(1, 300))
def test_a_limit_of_the_time_is_none_of_the_size(max_pings: int) -> None:
    """Streams that end after the same time, and so after the same byte total, continue forever."""
    proxy = Proxy(max_pings=max_pings)
    assert not any(proxy.stream() for _ in range(20))


def test_a_limit_that_lets_media_pass_is_lived_with() -> None:
    """Bytes that the relay accepted count at the next welcome."""
    proxy = Proxy(max_bytes=10_000)
    assert not any(proxy.stream(4_000, 4_000, 4_000, taken=2 * tried) for tried in range(20))


def test_a_large_limit_is_lived_with_while_nothing_is_said() -> None:
    """It is reached after hours."""
    proxy = Proxy(max_bytes=SMALL_BYTES * 2)
    assert not any(proxy.stream() for _ in range(20))


def test_another_end_begins_anew() -> None:
    """A relay that was down in between, or a stream that this side ended."""
    proxy = Proxy(max_bytes=1_000)
    assert not proxy.stream() + proxy.stream()
    assert not proxy.stream(text="Socket closed")
    assert not proxy.stream() + proxy.stream()
    proxy.limit.begin()
    assert not proxy.stream() + proxy.stream()
    assert proxy.stream()


def test_pages_of_a_proxy_are_no_limit() -> None:
    """They are recognized only by their HTTP status, which gRPC does not always check."""
    page, too_large = "(Data frame with END_STREAM flag received) (RST_STREAM (error code 0))", "Received http2 header with status: 413"
    proxy = Proxy(max_bytes=10)
    assert not any(proxy.stream(text=page) for _ in range(20))
    assert not proxy.stream(text=too_large) + proxy.stream(text=page) + proxy.stream(text=too_large)
    assert proxy.stream(text=too_large)


def test_an_end_may_be_asked_for_twice() -> None:
    """By writer and reader: it counts once."""
    proxy = Proxy(max_bytes=1_000)
    proxy.stream()
    assert not proxy.limit.ended(RESET) + proxy.limit.ended(RESET) + proxy.limit.ended(RESET)
