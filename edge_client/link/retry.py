"""How a stream ended, and what follows from it.

Rules
1. A refusal before `welcome` that no retry can change is FINAL if it carries the relay's own fault: the program logs the reason and exits.
   Without a fault the refusal is that of a proxy, whose route may not exist yet: it is retried at long intervals.
2. Once the relay has accepted this device, nothing is final: the cause may pass.
3. A device that was replaced by another stream of its own name stands back: it reconnects late, and later each time that it is replaced
   again, so that two devices with one name do not alternate.
4. A proxy that limits the size of a request, and so passes nothing, is FINAL: see `avatar_relay.request_limit`.
5. Everything else is retried with backoff, and never before the relay's own hint. If a proxy answers that it reaches no relay, the
   intervals become long once the relay has been away for some time.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from avatar_relay.backoff import FINAL_CODES, FOREIGN_REFUSAL_S, asked_to_wait_s, is_foreign
from avatar_relay.reasons import Fault, Reason

STAND_BACK_S = 30.0
"""Minimum wait of a replaced device."""

LONGEST_STAND_BACK_S = 3_600.0
"""Maximum wait of a replaced device."""

_ADVICE = {
    "INTERNAL": "does a proxy answer in the relay's place?",
    "UNAVAILABLE": "is the relay running at that address, and do both use TLS or both plaintext?",
    "UNIMPLEMENTED": "the server there is not an avatar relay, or a proxy without a route to one",
    "UNAUTHENTICATED": "a proxy requires its own credentials",
    "PERMISSION_DENIED": "a proxy refuses this device",
}


class RetryDecision(enum.Enum):
    """What to do after a stream ended."""

    FINAL = "final"
    RETRY = "retry"
    STAND_BACK = "stand_back"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended: the name of the gRPC status, its text, the relay's fault if there is one, and its retry hint."""

    code: str
    text: str
    welcomed: bool = False
    fault: Fault | None = None
    retry_after_ms: int = 0
    goaway_reason: str = ""
    sent_to: str = ""
    """The relay that this one named when it ended the stream."""
    stopped: bool = False
    hopeless: bool = False
    """Rule 4."""
    advice: str = ""
    """Advice on what to check, if more is known than the status code shows."""

    @property
    def verdict(self) -> RetryDecision:
        """What follows, by the rules above."""
        if self.stopped:
            return RetryDecision.STOPPED
        if self.goaway_reason == "replaced" or (self.fault is not None and self.fault.reason is Reason.REPLACED):
            return RetryDecision.STAND_BACK
        if self.hopeless or (self._is_refusal and self.fault is not None):
            return RetryDecision.FINAL
        return RetryDecision.RETRY

    @property
    def _is_refusal(self) -> bool:
        return self.code in FINAL_CODES and not self.welcomed

    @property
    def wait_at_least_s(self) -> float:
        """Minimum wait in seconds, from the relay's hint, standing back, or a proxy's refusal."""
        hint_s = asked_to_wait_s(self.retry_after_ms, 0 if self.fault is None else self.fault.retry_after_ms)
        if self._is_refusal and self.fault is None:
            return FOREIGN_REFUSAL_S
        return max(hint_s, STAND_BACK_S if self.verdict is RetryDecision.STAND_BACK else 0.0)

    def foreign_wait_s(self, *, eager: bool) -> float:
        """Minimum wait if a proxy answered instead of the relay (rule 5). `eager` is False if it has done so for some time."""
        is_proxys = not (eager or self.welcomed) and self.fault is None and is_foreign(self.code, self.text)
        return FOREIGN_REFUSAL_S if is_proxys else 0.0

    @property
    def drains(self) -> bool:
        """Whether the relay is shutting down."""
        return self.goaway_reason == "drain" or (self.fault is not None and self.fault.reason is Reason.DRAINING)

    @staticmethod
    def stand_back_s(replaced: int) -> float:
        """The wait of a device replaced this many times in a row, this time included: doubles with each, up to a bound."""
        return min(STAND_BACK_S * 2.0 ** min(replaced - 1, 16), LONGEST_STAND_BACK_S) if replaced else 0.0

    def describe(self) -> str:
        """One line for people: what happened, and what to check."""
        if self.hopeless:
            return self.text
        reason = f" [{self.fault.reason}]" if self.fault is not None else ""
        advice = "" if self.welcomed or self.fault is not None else self.advice or _ADVICE.get(self.code, "")
        return f"{self.code}{reason}: {self.text}" + (f" ({advice})" if advice else "")
