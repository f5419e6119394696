"""How the device retries, depending on how a stream ended."""

from __future__ import annotations

import pytest

from avatar_relay.backoff import FOREIGN_REFUSAL_S, MAX_HINT_S
from avatar_relay.reasons import Fault, Reason
from edge_client.link.retry import STAND_BACK_S, RetryDecision, StreamEnd


@pytest.mark.parametrize(
    ("code", "before", "after"),
    [
        ("OK", RetryDecision.RETRY, RetryDecision.RETRY),
        ("UNAVAILABLE", RetryDecision.RETRY, RetryDecision.RETRY),
        ("DEADLINE_EXCEEDED", RetryDecision.RETRY, RetryDecision.RETRY),
        ("INTERNAL", RetryDecision.RETRY, RetryDecision.RETRY),
        ("UNKNOWN", RetryDecision.RETRY, RetryDecision.RETRY),
        ("RESOURCE_EXHAUSTED", RetryDecision.RETRY, RetryDecision.RETRY),
        ("CANCELLED", RetryDecision.RETRY, RetryDecision.RETRY),
        ("ABORTED", RetryDecision.RETRY, RetryDecision.RETRY),
        ("INVALID_ARGUMENT", RetryDecision.FINAL, RetryDecision.RETRY),
        ("FAILED_PRECONDITION", RetryDecision.FINAL, RetryDecision.RETRY),
        ("UNAUTHENTICATED", RetryDecision.FINAL, RetryDecision.RETRY),
        ("PERMISSION_DENIED", RetryDecision.FINAL, RetryDecision.RETRY),
        ("UNIMPLEMENTED", RetryDecision.FINAL, RetryDecision.RETRY),
    ],
)
def test_final_or_not(code: str, before: RetryDecision, after: RetryDecision) -> None:
    """Before `welcome` a refusal may be final; after it none is. Without the relay's own reason it is a proxy's, and temporary."""
    fault = Fault(Reason.HELLO_INVALID, "no")
    assert StreamEnd(code, "", fault=fault).verdict is before
    assert StreamEnd(code, "").verdict is RetryDecision.RETRY
    assert StreamEnd(code, "").wait_at_least_s == (FOREIGN_REFUSAL_S if before is RetryDecision.FINAL else 0)
    assert StreamEnd(code, "", welcomed=True).verdict is after


def test_replaced_stands_back() -> None:
    """Replacement is reported by status or by `goaway`; the replaced device waits long enough not to alternate with the other one."""
    by_status = StreamEnd("ABORTED", "", True, Fault(Reason.REPLACED, "another stream took over"))
    by_goaway = StreamEnd("OK", "", True, goaway_reason="replaced")
    for end in (by_status, by_goaway):
        assert end.verdict is RetryDecision.STAND_BACK
        assert end.wait_at_least_s == STAND_BACK_S


def test_hints_of_the_relay_count_up_to_a_bound() -> None:
    """RetryInfo and `goaway`: the longer delay is used, but no hint silences a device for days."""
    assert StreamEnd("UNAVAILABLE", "", fault=Fault(Reason.DRAINING, "", retry_after_ms=2_000)).wait_at_least_s == 2.0
    assert StreamEnd("OK", "", True, retry_after_ms=3_000).wait_at_least_s == 3.0
    assert StreamEnd("OK", "", True, retry_after_ms=10**9).wait_at_least_s == MAX_HINT_S


def test_text_says_what_to_look_at() -> None:
    """The text states what happened, why, and what to do."""
    assert "is the relay running" in StreamEnd("UNAVAILABLE", "connection refused").describe()
    fault = Fault(Reason.PROTOCOL_VERSION_UNSUPPORTED, "version 9; 1 is spoken here")
    assert StreamEnd("FAILED_PRECONDITION", fault.text, fault=fault).describe() == (
        "FAILED_PRECONDITION [PROTOCOL_VERSION_UNSUPPORTED]: version 9; 1 is spoken here"
    )


def test_a_proxy_that_reaches_no_relay_is_asked_rarely_after_some_time() -> None:
    """A relay restarts within half a minute: until then its proxy is retried as often as the relay would be."""
    away = StreamEnd("UNAVAILABLE", "Received http2 header with status: 502")
    page = StreamEnd("INTERNAL", "Stream removed (Data frame with END_STREAM flag received)")
    assert page.foreign_wait_s(eager=False) == FOREIGN_REFUSAL_S
    assert away.foreign_wait_s(eager=True) == 0
    assert away.foreign_wait_s(eager=False) == FOREIGN_REFUSAL_S
    assert StreamEnd("UNAVAILABLE", "connection refused").foreign_wait_s(eager=False) == 0
    assert StreamEnd("UNAVAILABLE", away.text, fault=Fault(Reason.DRAINING, "")).foreign_wait_s(eager=False) == 0


def test_a_limit_of_the_size_is_final_and_says_only_what_to_change() -> None:
    """The status code of such an end is not informative."""
    end = StreamEnd("INTERNAL", "a proxy limits it", welcomed=True, hopeless=True)
    assert end.verdict is RetryDecision.FINAL
    assert end.describe() == "a proxy limits it"
