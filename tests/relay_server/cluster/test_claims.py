"""Ownership of a device: the newest stream wins, and two relays never both release it permanently."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_server.cluster.barriers import Barriers
from relay_server.cluster.claims import SAME_TIME_US, Claim, ClaimKind, Verdict, decode_claim, judge
from relay_server.cluster.members import Members
from relay_server.links.beats import SILENCE_US
from tests.relay_server.cluster.pongs import pong

AGES = st.integers(0, 60_000_000)
CLAIMS = st.builds(
    Claim, st.sampled_from("ab"), st.just("lobby"), st.sampled_from(ClaimKind), st.booleans(), AGES, st.integers(0, (1 << 64) - 1)
)


def again(relay: str, attached: bool, age_us: int) -> Claim:
    """The claim a relay sends after a cut."""
    return Claim(relay, "lobby", ClaimKind.AGAIN, attached, age_us)


@given(CLAIMS)
def test_a_claim_is_read_as_it_was_said(claim: Claim) -> None:
    """A claim survives encoding and decoding for the backplane."""
    assert decode_claim(claim.encode()) == claim


@given(st.binary(max_size=60))
def test_what_is_no_claim_is_none(data: bytes) -> None:
    """Invalid claims are ignored, whoever sends them."""
    assert decode_claim(data) is None or data.startswith(b"[")


def test_a_later_version_may_say_more() -> None:
    """In a rolling upgrade, relays of two versions claim devices from each other."""
    claim = again("a", True, 5)
    later = json.dumps([*json.loads(claim.encode()), "more"]).encode()
    assert decode_claim(later) == claim


def test_the_newest_stream_wins() -> None:
    """Holds however recent the other stream is, unless both came at nearly the same time."""
    new = Claim("b", "lobby", ClaimKind.ATTACHED, attached=True, age_us=0)
    assert judge(again("a", True, 0), new, SAME_TIME_US) is Verdict.HAND_OVER
    assert judge(again("a", False, 0), new, 0) is Verdict.HAND_OVER
    assert judge(again("a", True, 0), new, SAME_TIME_US - 1) is Verdict.KEEP


@given(st.booleans(), AGES, st.booleans(), AGES)
def test_after_a_cut_exactly_one_keeps_it(mine_attached: bool, mine_us: int, theirs_attached: bool, theirs_us: int) -> None:
    """Both relays decide from the same claims and reach the same result."""
    mine, theirs = again("a", mine_attached, mine_us), again("b", theirs_attached, theirs_us)
    verdicts = {judge(mine, theirs, SAME_TIME_US), judge(theirs, mine, SAME_TIME_US)}
    assert verdicts == {Verdict.HAND_OVER, Verdict.ANSWER}
    if mine_attached != theirs_attached:
        assert (judge(mine, theirs, SAME_TIME_US) is Verdict.HAND_OVER) == theirs_attached


@given(st.sampled_from([ClaimKind.ATTACHED, ClaimKind.AGAIN]), st.booleans(), AGES, st.booleans(), AGES)
def test_a_newer_stream_wins_however_late_the_older_one_is_claimed(
    kind: ClaimKind, new_attached: bool, new_us: int, old_attached: bool, old_us: int
) -> None:
    """A device that gave up a stream cannot recall its hello: a relay may take it seconds later for a new one."""
    old = Claim("a", "lobby", kind, old_attached, old_us, 1 << 32 | 4)
    new = Claim("b", "lobby", ClaimKind.AGAIN, new_attached, new_us, 1 << 32 | 5)
    assert judge(new, old, 0) is Verdict.ANSWER
    assert judge(old, new, 0) is Verdict.HAND_OVER


def test_a_claim_of_an_earlier_version_has_no_number() -> None:
    """It is judged as before."""
    claim = again("a", True, 5)
    assert decode_claim(json.dumps(json.loads(claim.encode())[:5]).encode()) == claim


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'["b", "lobby", "again", true, Infinity]',
        b'["b", "no device", "again", true, 5]',
        b'["no relay", "lobby", "again", true, 5]',
        b'["b", "' + b"\\ud800" + b'", "again", true, 5]',
        b'["b", "lobby", "stolen", true, 5]',
    ],
)
def test_what_is_no_claim_is_ignored(data: bytes) -> None:
    """Bytes on the subject may come from anywhere."""
    assert decode_claim(data) is None


def test_a_silent_relay_is_gone() -> None:
    """It counts as new when its messages arrive again."""
    members = Members()
    assert members.heard("b", 0)
    assert not members.heard("b", SILENCE_US - 1)
    assert members.alive(2 * SILENCE_US) == ()
    assert members.heard("b", 2 * SILENCE_US)
    members.left("b")
    assert members.alive(2 * SILENCE_US) == ()


def test_a_pong_is_passed_on_when_all_have_answered() -> None:
    """It carries the door's clock reading; each relay answers in order."""
    barriers = Barriers()
    barriers.ping(("", "b"))
    barriers.ping(("",))
    assert barriers.pong("", pong(1), tells_time=True) is None
    assert barriers.pong("", pong(2), tells_time=True) == pong(2)
    assert barriers.pong("b", pong(9), tells_time=False) == pong(1)
    assert barriers.pong("b", pong(9), tells_time=False) is None


def test_a_door_may_ask_for_itself() -> None:
    """The door gets its own pong, in its turn."""
    barriers = Barriers()
    barriers.ping(("", "b"), own="c1")
    barriers.ping(("b",))
    assert barriers.pong("b", pong(1), tells_time=False) is None
    assert barriers.pong("", pong(2), tells_time=True) == "c1"
    assert barriers.pong("b", pong(3), tells_time=False) == pong(3)
