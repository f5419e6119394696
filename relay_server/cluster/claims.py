"""Whose device it is. Pure.

Rules
- The device is the arbiter: the relay that it attached to last has it, and tells all others so. They hand it over.
- A relay that has it away asks; one that has it attached answers.
- After a cut all relays claim again what they have. Attached goes before away, then who heard of it less long ago, then the smaller name.
  Ages are durations, so no clocks need to agree.
- Two that had it attached at nearly the same time both keep it until one of the streams ends, which it does soon: there is one device.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass

SAME_TIME_US = 500_000


class ClaimKind(enum.StrEnum):
    """Why a relay claims a device."""

    ATTACHED = "attached"
    """It attached just now."""
    AGAIN = "again"
    """It has it, attached or away."""
    GONE = "gone"
    """Its session is over, and no other relay has it."""


class Verdict(enum.Enum):
    """What a relay does about another one's claim."""

    HAND_OVER = "hand_over"
    KEEP = "keep"
    ANSWER = "answer"
    """Keep it, and say so."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a relay says of a device. `age_us`: how long ago it heard of it."""

    relay: str
    device_id: str
    kind: ClaimKind
    attached: bool
    age_us: int

    def encode(self) -> bytes:
        """As bytes."""
        return json.dumps([self.relay, self.device_id, self.kind, self.attached, self.age_us]).encode()


def decode_claim(data: bytes) -> Claim | None:
    """A claim that came; None for what is none. A later version may say more."""
    try:
        relay, device_id, kind, attached, age_us, *_ = json.loads(data)
        claim = Claim(str(relay), str(device_id), ClaimKind(kind), bool(attached), int(age_us))
    except (ValueError, TypeError, RecursionError):
        return None
    return claim


def judge(mine: Claim, theirs: Claim, attached_for_us: int) -> Verdict:
    """What to do about `theirs`; `mine` is what this relay would say now, `attached_for_us` how long it has been attached here."""
    if theirs.kind is ClaimKind.GONE:
        return Verdict.ANSWER
    if theirs.kind is ClaimKind.ATTACHED:
        return Verdict.KEEP if mine.attached and attached_for_us < SAME_TIME_US else Verdict.HAND_OVER
    if mine.attached and theirs.attached and attached_for_us < SAME_TIME_US:
        return Verdict.KEEP
    return Verdict.HAND_OVER if _rank(theirs) < _rank(mine) else Verdict.ANSWER


def _rank(claim: Claim) -> tuple[bool, int, str]:
    return not claim.attached, claim.age_us, claim.relay
