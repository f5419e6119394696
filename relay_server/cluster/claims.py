"""Which relay has a device. Pure.

Rules

- The device is the arbiter: the relay that it attached to last has it, and sends a claim to all others. They hand it over, unless they have
  a newer stream of it: a device that gave up a stream cannot recall its hello, which may arrive late.
- A relay whose device is detached asks with a claim; a relay that has it attached answers.
- After a partition all relays claim their devices again. A newer stream wins. If the streams cannot be compared (a device of an earlier
  version, or one that was restarted), attached wins over detached, then the relay that heard from the device more recently, then the
  smaller name. Ages are durations, so clocks need not agree.
- Without such numbers, two relays to which it attached at nearly the same time both keep it until one of the streams ends. That is soon:
  there is only one device.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass

from avatar_relay.ids import is_valid_id
from avatar_relay.stream_numbers import is_newer

SAME_TIME_US = 500_000


class ClaimKind(enum.StrEnum):
    """Why a relay claims a device."""

    ATTACHED = "attached"
    """The device has just attached to this relay."""
    AGAIN = "again"
    """A repeated claim: the relay has the device, attached or not."""
    GONE = "gone"
    """The session of the device is over, and no other relay has it."""


class Verdict(enum.Enum):
    """The reaction to another relay's claim."""

    HAND_OVER = "hand_over"
    KEEP = "keep"
    ANSWER = "answer"
    """Keep the device, and answer with a claim."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A relay's claim to a device. `age_us`: time since the relay last heard from it."""

    relay: str
    device_id: str
    kind: ClaimKind
    attached: bool
    age_us: int
    stream_number: int = 0
    """Of the device's last stream at the relay; see `stream_numbers`."""

    def encode(self) -> bytes:
        """Serialise as JSON."""
        return json.dumps([self.relay, self.device_id, self.kind, self.attached, self.age_us, self.stream_number]).encode()


def decode_claim(data: bytes) -> Claim | None:
    """Parse a received claim; None if malformed. A later version may append fields."""
    try:
        relay, device_id, kind, attached, age_us, *later = json.loads(data)
        stream_number = later[0] if later and isinstance(later[0], int) else 0
        claim = Claim(str(relay), str(device_id), ClaimKind(kind), bool(attached), int(age_us), stream_number)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return claim if is_valid_id(claim.device_id) and is_valid_id(claim.relay) else None


def judge(mine: Claim, theirs: Claim, attached_for_us: int) -> Verdict:
    """Decide about claim `theirs`. `mine` is this relay's current claim, `attached_for_us` how long the device has been attached here."""
    if theirs.kind is ClaimKind.GONE or is_newer(mine.stream_number, theirs.stream_number):
        return Verdict.ANSWER
    if is_newer(theirs.stream_number, mine.stream_number):
        return Verdict.HAND_OVER
    if theirs.kind is ClaimKind.ATTACHED:
        return Verdict.KEEP if mine.attached and attached_for_us < SAME_TIME_US else Verdict.HAND_OVER
    if mine.attached and theirs.attached and attached_for_us < SAME_TIME_US:
        return Verdict.KEEP
    return Verdict.HAND_OVER if _rank(theirs) < _rank(mine) else Verdict.ANSWER


def _rank(claim: Claim) -> tuple[bool, int, str]:
    return not claim.attached, claim.age_us, claim.relay
