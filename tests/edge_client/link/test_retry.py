"""What follows from how a stream ended."""

from __future__ import annotations

import pytest

from avatar_relay.reasons import Fault, Reason
from edge_client.link.retry import MAX_HINT_S, STAND_BACK_S, StreamEnd, Verdict


@pytest.mark.parametrize(
    ("code", "before", "after"),
    [
        ("OK", Verdict.RETRY, Verdict.RETRY),
        ("UNAVAILABLE", Verdict.RETRY, Verdict.RETRY),
        ("DEADLINE_EXCEEDED", Verdict.RETRY, Verdict.RETRY),
        ("INTERNAL", Verdict.RETRY, Verdict.RETRY),
        ("UNKNOWN", Verdict.RETRY, Verdict.RETRY),
        ("RESOURCE_EXHAUSTED", Verdict.RETRY, Verdict.RETRY),
        ("CANCELLED", Verdict.RETRY, Verdict.RETRY),
        ("ABORTED", Verdict.RETRY, Verdict.RETRY),
        ("INVALID_ARGUMENT", Verdict.FINAL, Verdict.RETRY),
        ("FAILED_PRECONDITION", Verdict.FINAL, Verdict.RETRY),
        ("UNAUTHENTICATED", Verdict.FINAL, Verdict.RETRY),
        ("PERMISSION_DENIED", Verdict.FINAL, Verdict.RETRY),
        ("UNIMPLEMENTED", Verdict.FINAL, Verdict.RETRY),
    ],
)
def test_final_or_not(code: str, before: Verdict, after: Verdict) -> None:
    """Before welcome a refusal may be final; after it nothing is."""
    assert StreamEnd(code, "").verdict is before
    assert StreamEnd(code, "", welcomed=True).verdict is after


def test_replaced_stands_back() -> None:
    """Told by status or by goaway, the replaced one waits long enough not to take turns."""
    by_status = StreamEnd("ABORTED", "", True, Fault(Reason.REPLACED, "another stream took over"))
    by_goaway = StreamEnd("OK", "", True, goaway_reason="replaced")
    for end in (by_status, by_goaway):
        assert end.verdict is Verdict.STAND_BACK
        assert end.wait_at_least_s == STAND_BACK_S


def test_hints_of_the_relay_count_up_to_a_bound() -> None:
    """RetryInfo and goaway: the longer one holds, but no hint silences a device for days."""
    assert StreamEnd("UNAVAILABLE", "", fault=Fault(Reason.DRAINING, "", retry_after_ms=2_000)).wait_at_least_s == 2.0
    assert StreamEnd("OK", "", True, retry_after_ms=3_000).wait_at_least_s == 3.0
    assert StreamEnd("OK", "", True, retry_after_ms=10**9).wait_at_least_s == MAX_HINT_S


def test_text_says_what_to_look_at() -> None:
    """People read what happened, why, and what to do."""
    assert "is the relay running" in StreamEnd("UNAVAILABLE", "connection refused").describe()
    fault = Fault(Reason.PROTOCOL_VERSION_UNSUPPORTED, "version 9; 1 is spoken here")
    assert StreamEnd("FAILED_PRECONDITION", fault.text, fault=fault).describe() == (
        "FAILED_PRECONDITION [PROTOCOL_VERSION_UNSUPPORTED]: version 9; 1 is spoken here"
    )
