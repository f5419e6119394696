"""Fragments: payloads are reassembled unchanged, and any breach of the rules is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.fragments import FragmentError, Reassembler, split
from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_PAYLOAD_BYTES
from avatar_relay.media import Kind, Payload
from avatar_relay.reasons import Reason


def motion(size: int, *, seq: int = 1) -> Payload:
    """A motion payload whose bytes encode their position."""
    return Payload(Kind.MOTION, seq, bytes(index % 251 for index in range(size)), pts_us=80_000, duration_us=40_000)


def reassemble(fragments: Sequence[Payload]) -> list[Payload]:
    """Return all complete payloads."""
    reassembler = Reassembler(Kind.MOTION)
    return [whole for fragment in fragments if (whole := reassembler.add(fragment)) is not None]


@given(size=st.integers(1, 5_000), max_bytes=st.integers(1, 700), count=st.integers(1, 3))
def test_split_then_reassemble_is_identity(size: int, max_bytes: int, count: int) -> None:
    """Payloads of any size, cut at any size, come back equal and in order."""
    payloads = [motion(size, seq=seq) for seq in range(1, count + 1)]
    fragments = [fragment for payload in payloads for fragment in split(payload, max_bytes)]
    assert all(1 <= len(fragment.data) <= max_bytes for fragment in fragments)
    assert reassemble(fragments) == payloads


@pytest.mark.parametrize("size", [1, MAX_FRAGMENT_BYTES, MAX_FRAGMENT_BYTES + 1, 49_868, MAX_PAYLOAD_BYTES])
def test_sizes_at_the_limits(size: int) -> None:
    """A payload that fits is sent unchanged; the largest one is transferred correctly."""
    payload = motion(size)
    fragments = split(payload)
    assert (fragments == (payload,)) == (size <= MAX_FRAGMENT_BYTES)
    assert reassemble(fragments) == [payload]


MUTATIONS: dict[str, Any] = {
    "seq": lambda f: f._replace(seq=f.seq + 1),
    "pts": lambda f: f._replace(pts_us=None),
    "duration": lambda f: f._replace(duration_us=f.duration_us + 1),
    "total grows": lambda f: f._replace(total_bytes=f.total_bytes + 1),
    "total shrinks": lambda f: f._replace(total_bytes=f.total_bytes - 1),
    "total vanishes": lambda f: f._replace(total_bytes=0),
    "offset grows": lambda f: f._replace(fragment_offset=f.fragment_offset + 1),
    "offset shrinks": lambda f: f._replace(fragment_offset=f.fragment_offset - 1),
    "bytes missing": lambda f: f._replace(data=f.data[:-1]),
    "bytes added": lambda f: f._replace(data=f.data + b"x"),
    "emptied": lambda f: f._replace(data=b""),
    "kind": lambda f: f._replace(kind=Kind.AUDIO),
}


@given(data=st.data(), mutation=st.sampled_from(sorted(MUTATIONS)), size=st.integers(101, 1_000))
def test_a_damaged_fragment_is_refused(data: st.DataObject, mutation: str, size: int) -> None:
    """Any change to one fragment's header among several is detected, at that fragment or at the next one."""
    fragments = list(split(motion(size), 100))
    index = data.draw(st.integers(0, len(fragments) - 1))
    fragments[index] = MUTATIONS[mutation](fragments[index])
    closing = motion(10, seq=2)
    with pytest.raises(FragmentError) as caught:
        reassemble([*fragments, closing])
    assert caught.value.fault.reason is Reason.FRAGMENT_INVALID


@given(data=st.data(), size=st.integers(101, 1_000))
def test_a_lost_doubled_or_swapped_fragment_is_refused(data: st.DataObject, size: int) -> None:
    """Unless all fragments arrive, once and in order, they never yield a payload silently."""
    fragments = list(split(motion(size), 100))
    index = data.draw(st.integers(0, len(fragments) - 1))
    broken = data.draw(
        st.sampled_from(
            [
                fragments[:index] + fragments[index + 1 :],
                [*fragments[: index + 1], *fragments[index:]],
                [*fragments[index:], *fragments[:index]],
            ]
        ).filter(lambda candidate: candidate != fragments)
    )
    with pytest.raises(FragmentError):
        reassemble([*broken, motion(10, seq=2)])


def test_after_a_breach_the_next_payload_comes_through() -> None:
    """A breach invalidates one payload only."""
    reassembler = Reassembler(Kind.MOTION)
    first, second, _ = split(motion(300), 100)
    reassembler.add(first)
    with pytest.raises(FragmentError, match="must begin at byte 100"):
        reassembler.add(second._replace(fragment_offset=150))
    assert reassembler.pending_bytes == 0
    assert reassembler.add(motion(10, seq=2)) == motion(10, seq=2)


def test_a_payload_that_claims_too_much_is_refused_at_its_first_fragment() -> None:
    """Memory is bounded before anything is stored."""
    with pytest.raises(FragmentError, match=str(MAX_PAYLOAD_BYTES)) as caught:
        Reassembler(Kind.MOTION).add(Payload(Kind.MOTION, 1, b"x", pts_us=0, total_bytes=MAX_PAYLOAD_BYTES + 1))
    assert caught.value.fault.reason is Reason.PAYLOAD_TOO_LARGE


def test_pending_bytes_show_a_truncated_payload() -> None:
    """At a conversation's end the caller sees that something is missing; after `reset` the whole payload may be sent again."""
    reassembler = Reassembler(Kind.MOTION)
    fragments = split(motion(300), 100)
    reassembler.add(fragments[0])
    assert reassembler.pending_bytes == 100
    reassembler.reset()
    assert [reassembler.add(fragment) for fragment in fragments][-1] == motion(300)


def test_fragments_can_be_split_again() -> None:
    """A publisher may send fragments that are still too large for a device's message."""
    payload = motion(1_000)
    fragments = [piece for fragment in split(payload, 300) for piece in split(fragment, 70)]
    assert max(len(fragment.data) for fragment in fragments) == 70
    assert reassemble(fragments) == [payload]
