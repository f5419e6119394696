"""Classification of failures: by number first, by the SDK's name if there is none, and never with a secret."""

from __future__ import annotations

import pytest

from avatar_relay.reasons import STATUS_CODES, Reason
from relay_server.sources.avatarkit import faults
from relay_server.sources.avatarkit.faults import BY_SDK_CODE, OWN_CODES, Recovery, SdkFailure, clean, fault_of, judge

R = Recovery


@pytest.mark.parametrize(
    ("failure", "reason", "recovery"),
    [
        (SdkFailure("connectionClosed", close_code=4001), Reason.SOURCE_REFUSED, R.HOLD),
        (SdkFailure("connectionClosed", close_code=4002), Reason.SOURCE_UNAVAILABLE, R.AT_ONCE),
        (SdkFailure("connectionClosed", close_code=4003), Reason.SOURCE_REFUSED, R.HOLD),
        (SdkFailure("connectionClosed", close_code=4010), Reason.SOURCE_REFUSED, R.HOLD),
        (SdkFailure("connectionClosed", close_code=4077), Reason.SOURCE_REFUSED, R.HOLD),
        (SdkFailure("connectionClosed", close_code=4503), Reason.SOURCE_UNAVAILABLE, R.BACK_OFF),
        (SdkFailure("connectionClosed", close_code=4577), Reason.SOURCE_UNAVAILABLE, R.BACK_OFF),
        (SdkFailure("connectionClosed", close_code=1009), Reason.SOURCE_INVALID, R.GIVE_UP),
        (SdkFailure("invalidEgressConfig", server_code="16"), Reason.SOURCE_REFUSED, R.HOLD),
        (SdkFailure("egressUnavailable", server_code="14"), Reason.SOURCE_UNAVAILABLE, R.BACK_OFF),
        (SdkFailure("sessionTokenExpired", "websocket_connect", http_status=401), Reason.SOURCE_UNAVAILABLE, R.BACK_OFF),
        (SdkFailure("sessionTokenExpired", "session_token", http_status=401), Reason.SOURCE_REFUSED, R.HOLD),
        (SdkFailure("serverError", "websocket_connect", http_status=503), Reason.SOURCE_UNAVAILABLE, R.BACK_OFF),
        (SdkFailure("invalidRequest", "websocket_connect", http_status=418), Reason.SOURCE_REFUSED, R.GIVE_UP),
        (SdkFailure("aNameOfTomorrow"), Reason.SOURCE_UNAVAILABLE, R.BACK_OFF),
        (SdkFailure("serverError", server_code="not a number ٣"), Reason.SOURCE_UNAVAILABLE, R.BACK_OFF),
    ],
)
def test_numbers_go_before_names(failure: SdkFailure, reason: Reason, recovery: Recovery) -> None:
    """40xx is final, 45xx is temporary, and names can mislead."""
    verdict = judge(failure)
    assert (verdict.reason, verdict.recovery) == (reason, recovery)
    assert (verdict.hold_us > 0) == (recovery is Recovery.HOLD)


@pytest.mark.parametrize("package", ["spatius", "spatialreal"])
def test_every_name_of_the_sdk_is_known(package: str) -> None:
    """As listed by the installed package."""
    sdk = pytest.importorskip(package, reason=f"the package {package} is not installed")
    assert {code.value for code in sdk.AvatarSDKErrorCode} <= set(BY_SDK_CODE)


def test_no_failure_is_unknown_or_internal() -> None:
    """A peer's fault never is."""
    for verdict in [*BY_SDK_CODE.values(), *OWN_CODES.values(), *faults.BY_SERVICE_CODE.values(), *faults.BY_HTTP_STATUS.values()]:
        assert STATUS_CODES[verdict.reason] not in ("UNKNOWN", "INTERNAL")


def test_a_fault_tells_the_raw_numbers_and_no_secret() -> None:
    """On one line; anything like a key or a token is removed."""
    failure = SdkFailure(
        "serverError", "websocket_runtime", server_code="13", detail="bad\nkey sk_live_0123456789abcdef0123 here" + "x y" * 200
    )
    text = fault_of("spatius", failure).text
    assert "server=13" in text and "phase=websocket_runtime" in text
    assert "sk_live" not in text and "\n" not in text and len(text) < 400
    assert clean("plain words stay") == "plain words stay"
