"""The order in which media is sent to a device, and its credit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.limits import MAX_JOINED_BYTES
from avatar_relay.media import Credit, Kind
from avatar_relay.messages import AudioOnly, ConversationEnd, Interrupt
from relay_server.core.device_outbox import DeviceOutbox, MediaMessage, Outgoing
from relay_server.core.payload_batch import PayloadBatch


def fragment(kind: Kind, seq: int, due_us: int, size_bytes: int = 100) -> PayloadBatch:
    """Encoded media of this size: a run of one."""
    return PayloadBatch(kind, [seq], [due_us], [size_bytes], 0, size_bytes, [b""])


def take_all(outbox: DeviceOutbox) -> list[Outgoing]:
    """Take everything that may be sent now."""
    taken = []
    while (message := outbox.take()) is not None:
        taken.append(message)
    return taken


def order(messages: list[Outgoing]) -> list[tuple[Kind, int]]:
    """Return the fragments in sending order."""
    return [(part.kind, seq) for message in messages if isinstance(message, MediaMessage) for part in message.batches for seq in part.seqs]


def open_outbox(credit: Credit, *conversation_ids: str) -> DeviceOutbox:
    """Return an outbox with conversations and credit."""
    outbox = DeviceOutbox()
    outbox.reset(credit)
    for conversation_id in conversation_ids:
        outbox.add_lane(conversation_id)
    return outbox


def test_earliest_pts_first_audio_wins_ties() -> None:
    """Media is ordered by PTS; at equal PTS, sound goes first."""
    outbox = open_outbox(Credit(1000, 1000), "c1")
    for part in (fragment(Kind.MOTION, 1, 0), fragment(Kind.MOTION, 2, 200), fragment(Kind.AUDIO, 1, 0), fragment(Kind.AUDIO, 2, 100)):
        outbox.put_media("c1", part)
    assert order(take_all(outbox)) == [(Kind.AUDIO, 1), (Kind.MOTION, 1), (Kind.AUDIO, 2), (Kind.MOTION, 2)]


def test_control_overtakes_media() -> None:
    """Control messages go first."""
    outbox = open_outbox(Credit(1000, 1000), "c1")
    outbox.put_media("c1", fragment(Kind.AUDIO, 1, 0))
    outbox.put(Interrupt("c0"))
    assert outbox.take() == Interrupt("c0")


def test_a_kind_without_credit_does_not_hold_up_the_other() -> None:
    """Credit is per kind."""
    outbox = open_outbox(Credit(0, 1000), "c1")
    outbox.put_media("c1", fragment(Kind.AUDIO, 1, 0))
    outbox.put_media("c1", fragment(Kind.MOTION, 1, 0))
    assert order(take_all(outbox)) == [(Kind.MOTION, 1)]
    outbox.grant(Credit(audio_bytes=99))
    assert take_all(outbox) == []
    outbox.grant(Credit(audio_bytes=1))
    assert order(take_all(outbox)) == [(Kind.AUDIO, 1)]
    assert outbox.credit == Credit(0, 900)


def test_next_conversation_waits_for_the_end_of_the_one_before() -> None:
    """A queued conversation cannot use the credit of the one that plays."""
    outbox = open_outbox(Credit(1000, 1000), "c1", "c2")
    outbox.put_media("c2", fragment(Kind.AUDIO, 1, 0))
    assert take_all(outbox) == []
    outbox.put_end(ConversationEnd("c1", 0, 0))
    assert [type(message) for message in take_all(outbox)] == [ConversationEnd, MediaMessage]


def test_marks_follow_what_they_mark() -> None:
    """`audio_only` follows all motion and `end` all media, even if credit is short."""
    outbox = open_outbox(Credit(0, 0), "c1")
    outbox.put_media("c1", fragment(Kind.MOTION, 1, 0))
    outbox.put_audio_only("c1")
    outbox.put_media("c1", fragment(Kind.AUDIO, 1, 0))
    outbox.put_end(ConversationEnd("c1", 1, 1))
    assert take_all(outbox) == []
    outbox.grant(Credit(motion_bytes=100))
    assert [type(message) for message in take_all(outbox)] == [MediaMessage, AudioOnly]
    outbox.grant(Credit(audio_bytes=100))
    assert [type(message) for message in take_all(outbox)] == [MediaMessage, ConversationEnd]


def test_what_waits_is_joined_up_to_a_bound() -> None:
    """One message holds as much as fits into `MAX_JOINED_BYTES`."""
    outbox = open_outbox(Credit(1 << 20, 0), "c1")
    for seq in range(1, 10):
        outbox.put_media("c1", fragment(Kind.AUDIO, seq, seq, 16_384))
    sizes = [sum(part.size_bytes for part in message.batches) for message in take_all(outbox) if isinstance(message, MediaMessage)]
    assert sizes == [MAX_JOINED_BYTES, MAX_JOINED_BYTES, 16_384]


PARTS = st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 50), st.integers(1, 20_000)), max_size=40)


@given(PARTS, st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 40_000)), max_size=10))
def test_credit_is_never_exceeded_and_nothing_is_lost(parts: list[tuple[Kind, int, int]], grants: list[tuple[int, int]]) -> None:
    """For any order of grants, each kind stays in order and within its credit, and everything is sent once credit suffices."""
    outbox = open_outbox(Credit(), "c1")
    queued: dict[Kind, list[int]] = {Kind.AUDIO: [], Kind.MOTION: []}
    due_us = dict.fromkeys(Kind, 0)
    for seq, (kind, step_us, size) in enumerate(parts, 1):
        due_us[kind] += step_us
        queued[kind].append(seq)
        outbox.put_media("c1", fragment(kind, seq, due_us[kind], size))
    granted, sent, left = dict.fromkeys(Kind, 0), dict.fromkeys(Kind, 0), dict[Kind, list[int]]({Kind.AUDIO: [], Kind.MOTION: []})
    for audio, motion in [*grants, (1 << 30, 1 << 30)]:
        outbox.grant(Credit(audio, motion))
        granted[Kind.AUDIO] += audio
        granted[Kind.MOTION] += motion
        for message in take_all(outbox):
            assert isinstance(message, MediaMessage)
            assert sum(part.size_bytes for part in message.batches) <= MAX_JOINED_BYTES
            for part in message.batches:
                sent[part.kind] += part.size_bytes
                left[part.kind] += part.seqs
        assert all(sent[kind] <= granted[kind] for kind in Kind)
    assert left == queued
    assert outbox.waiting("c1") == 0
