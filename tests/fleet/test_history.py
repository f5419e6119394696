"""The checker finds what it is for."""

from __future__ import annotations

import pytest

from avatar_relay.media import Kind
from avatar_relay.v1 import media_pb2 as pb
from tests.lab.fleet.history import Findings, History

DATA = (b"one", b"two", b"three")


def findings(*came: pb.Payload, ended: bool = True) -> Findings:
    """What is found where three payloads were said, and these came."""
    history = History()
    for data in DATA:
        history.published("c1", Kind.AUDIO, data, ("lobby",))
    for payload in came:
        history.received("lobby", "c1", Kind.AUDIO, payload)
    if ended:
        history.ended("lobby", "c1")
    return history.check()


def payload(seq: int, data: bytes | None = None, *, fragment_offset: int = 0, total_bytes: int = 0) -> pb.Payload:
    """One of the three, or other bytes in its place."""
    data = DATA[seq - 1] if data is None else data
    return pb.Payload(seq=seq, data=data, fragment_offset=fragment_offset, total_bytes=total_bytes)


def test_all_in_order() -> None:
    """Nothing to find; a payload in fragments is one payload."""
    found = findings(payload(1), payload(2), payload(3, b"th", total_bytes=5), payload(3, b"ree", fragment_offset=2, total_bytes=5))
    assert found == Findings(payloads=3)


def test_a_cut_within_a_payload() -> None:
    """Its fragments come again on the next stream; on the same one they are doubled."""
    first, second = payload(1, b"o", total_bytes=3), payload(1, b"ne", fragment_offset=1, total_bytes=3)
    for cut in (True, False):
        history = History()
        history.published("c1", Kind.AUDIO, DATA[0], ("lobby",))
        history.received("lobby", "c1", Kind.AUDIO, first)
        if cut:
            history.stream_began("lobby")
        for again in (first, second):
            history.received("lobby", "c1", Kind.AUDIO, again)
        history.ended("lobby", "c1")
        assert history.check() == Findings(payloads=1, doubled=0 if cut else 1)


@pytest.mark.parametrize(
    ("came", "name"),
    [
        ((1, 2), "lost"),
        ((1, 2, 2, 3), "doubled"),
        ((1, 3, 2), "reordered"),
    ],
)
def test_what_is_wrong_has_a_name(came: tuple[int, ...], name: str) -> None:
    """Lost, doubled and reordered are told apart."""
    assert getattr(findings(*map(payload, came)), name) > 0


def test_other_bytes() -> None:
    """All came, but one was changed on the way."""
    assert findings(payload(1), payload(2, b"twO"), payload(3)).altered == 1


def test_no_end() -> None:
    """A conversation whose end never came is told by name."""
    assert findings(payload(1), payload(2), payload(3), ended=False).unfinished == ["c1 on lobby"]
