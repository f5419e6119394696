"""What a failure reported by a Server SDK means: our reason for it, and what is tried next.

The SDKs' own names mislead (a bad API key is `invalidEgressConfig`, every abnormal close is `connectionClosed`), so numbers have priority:
the close code, the code of a ServerError, the HTTP status. The name is used only if there is no number. By the published protocol, 40xx is
final and 45xx is transient; codes that are in no table follow that rule.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from avatar_relay.reasons import Fault, Reason

HOLD_US = 60_000_000
"""Hold after a permanent refusal: no further attempts for this long, because each may cost and none can succeed."""
CROWDED_HOLD_US = 15_000_000
"""Hold after "too many sessions"."""
MAX_DETAIL_CHARACTERS = 200


class Recovery(enum.Enum):
    """What is tried after a failure."""

    AT_ONCE = "a new session at once; the conversation continues there"
    BACK_OFF = "a new session after a wait; the conversation continues there"
    GIVE_UP = "this conversation continues with sound only; the next one tries again"
    HOLD = "sound only, for all conversations until the hold is over"


@dataclass(frozen=True, slots=True)
class SdkFailure:
    """A failure as reported by an SDK. `code` is the SDK's name for it; fields that it does not report are None or empty."""

    code: str
    phase: str = ""
    close_code: int | None = None
    http_status: int | None = None
    server_code: str = ""
    detail: str = ""
    req_id: str = ""


class SdkError(Exception):
    """An operation of a Server SDK failed; `failure` has the reason."""

    def __init__(self, failure: SdkFailure) -> None:
        super().__init__(failure.code)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class FailureVerdict:
    """What a failure means. `hold_us`: how long no new attempt is made, if `recovery` is HOLD."""

    reason: Reason
    recovery: Recovery
    text: str
    hold_us: int = 0


_CREDITS = FailureVerdict(Reason.SOURCE_REFUSED, Recovery.HOLD, "the account's credits are used up; buy some, or see its plan", HOLD_US)
_CAP = FailureVerdict(Reason.SOURCE_UNAVAILABLE, Recovery.AT_ONCE, "the session reached the longest time that the plan allows")
_CROWDED = FailureVerdict(
    Reason.SOURCE_REFUSED, Recovery.HOLD, "the plan allows no more sessions at once; lower max_sessions", CROWDED_HOLD_US
)
_KEY = FailureVerdict(Reason.SOURCE_REFUSED, Recovery.HOLD, "the credentials are not accepted; check the API key and app_id", HOLD_US)
_AVATAR = FailureVerdict(Reason.SOURCE_REFUSED, Recovery.HOLD, "app_id or avatar_id is not known there; check both", HOLD_US)
_REFUSED = FailureVerdict(Reason.SOURCE_REFUSED, Recovery.HOLD, "the Motion Server refuses the session", HOLD_US)
_REQUEST = FailureVerdict(Reason.SOURCE_REFUSED, Recovery.GIVE_UP, "the Motion Server rejects the request; check rate and format")
_AWAY = FailureVerdict(Reason.SOURCE_UNAVAILABLE, Recovery.BACK_OFF, "the Motion Server is not available at present")
_CUT = FailureVerdict(Reason.SOURCE_UNAVAILABLE, Recovery.BACK_OFF, "the connection to the Motion Server broke off")
_TOKEN = FailureVerdict(Reason.SOURCE_UNAVAILABLE, Recovery.BACK_OFF, "the session token is no longer valid")
_IDLE = FailureVerdict(Reason.SOURCE_UNAVAILABLE, Recovery.AT_ONCE, "the Motion Server closed a session that was idle")
_BROKEN = FailureVerdict(Reason.SOURCE_INVALID, Recovery.GIVE_UP, "the Motion Server breaks the protocol")
_LARGE = FailureVerdict(
    Reason.SOURCE_INVALID, Recovery.GIVE_UP, "the Motion Server sent a message of more than 1 MiB, which its SDK does not take"
)
_SILENT_START = FailureVerdict(Reason.SOURCE_SILENT, Recovery.BACK_OFF, "no session was available in time")
_SILENT = FailureVerdict(Reason.SOURCE_SILENT, Recovery.GIVE_UP, "the Motion Server stopped sending motion")
_UNEQUAL = FailureVerdict(Reason.SOURCE_INVALID, Recovery.GIVE_UP, "the motion is not as long as the sound")
_FLOOD = FailureVerdict(Reason.LIMIT_REACHED, Recovery.GIVE_UP, "the Motion Server sent more motion than is kept for a conversation")

BY_SERVICE_CODE: dict[int, FailureVerdict] = {
    4001: _CREDITS,
    4002: _CAP,
    4003: _CROWDED,
    4010: _KEY,
    4503: _AWAY,
    1006: _CUT,
    1009: _LARGE,
    1011: _AWAY,
    3: _REQUEST,
    14: _AWAY,
    16: _KEY,
}
"""By close code, or code of a ServerError; those below 1000 are gRPC's."""

BY_HTTP_STATUS: dict[int, FailureVerdict] = {400: _KEY, 401: _KEY, 402: _CREDITS, 403: _KEY, 404: _AVATAR, 429: _CROWDED}
"""By HTTP status of refused tokens and upgrades."""

OWN_CODES: dict[str, FailureVerdict] = {
    "startTimedOut": _SILENT_START,
    "sendTimedOut": _SILENT,
    "motionStalled": _SILENT,
    "motionOverflow": _FLOOD,
    "motionDisagrees": _UNEQUAL,
    "motionUndecodable": FailureVerdict(Reason.MOTION_UNDECODABLE, Recovery.GIVE_UP, "a motion message cannot be read"),
}
"""Failures that we detect ourselves."""

BY_SDK_CODE: dict[str, FailureVerdict] = {
    "sessionTokenExpired": _TOKEN,
    "sessionTokenInvalid": _KEY,
    "appIDUnrecognized": _AVATAR,
    "appIDMismatch": _AVATAR,
    "avatarNotFound": _AVATAR,
    "billingRequired": _CREDITS,
    "creditsExhausted": _CREDITS,
    "sessionDurationExceeded": _CAP,
    "concurrencyLimit": _CROWDED,
    "unsupportedSampleRate": _REQUEST,
    "invalidEgressConfig": _REQUEST,
    "egressUnavailable": _AWAY,
    "idleTimeout": _IDLE,
    "upstreamError": _AWAY,
    "invalidRequest": _REQUEST,
    "connectionFailed": _CUT,
    "connectionClosed": _CUT,
    "protocolError": _BROKEN,
    "serverError": _AWAY,
    "unknown": _AWAY,
}
"""All names of both SDKs."""

_SECRET_LIKE = re.compile(r"[A-Za-z0-9+/_=.\-]{24,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def judge(failure: SdkFailure) -> FailureVerdict:
    """Determine what a failure means."""
    if failure.code in OWN_CODES:
        return OWN_CODES[failure.code]
    numbers = (failure.close_code, int(failure.server_code) if failure.server_code.isascii() and failure.server_code.isdigit() else None)
    for number in numbers:
        if number in BY_SERVICE_CODE:
            return BY_SERVICE_CODE[number]
        if number is not None and 4000 <= number < 5000:
            return _AWAY if number >= 4500 else _REFUSED
    if failure.http_status is not None and failure.http_status != 200:
        if failure.http_status == 401 and failure.phase == "websocket_connect":
            return _TOKEN
        return BY_HTTP_STATUS.get(failure.http_status, _REQUEST if failure.http_status < 500 else _AWAY)
    return BY_SDK_CODE.get(failure.code, _AWAY)


def fault_of(source: str, failure: SdkFailure) -> Fault:
    """The fault reported to people and publishers. Contains the raw numbers, because the SDKs' names mislead; no secrets."""
    verdict = judge(failure)
    numbers = {
        "sdk": failure.code,
        "phase": failure.phase,
        "http": failure.http_status,
        "close": failure.close_code,
        "server": clean(failure.server_code),
        "detail": clean(failure.detail),
    }
    told = " ".join(f"{name}={value}" for name, value in numbers.items() if value not in (None, ""))
    retry_after_ms = verdict.hold_us // 1000 if verdict.recovery is Recovery.HOLD else 0
    return Fault(verdict.reason, f"{source}: {verdict.text} ({told})", retry_after_ms=retry_after_ms)


def clean(text: str) -> str:
    """A third party's text on one line, truncated, without anything that looks like a key or a token."""
    return _SECRET_LIKE.sub("[redacted]", _CONTROL.sub(" ", text)).strip()[:MAX_DETAIL_CHARACTERS]
