"""A conversation as driven by its publisher: sequences, fragments, times, credit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.limits import MAX_FRAGMENT_BYTES, MAX_PAYLOAD_BYTES
from avatar_relay.media import ConversationOpen, Credit, Kind, MotionEncoding, MotionFormat, Payload
from avatar_relay.reasons import DropReason, FinishReason, Reason
from relay_server.core.conversation import NOT_TAKEN, TRANSITIONS, Accepted, Conversation, State, Step
from relay_server.core.credit_window import CreditWindow
from relay_server.errors import ConversationFault
from tests.relay_server.relay_dsl import AVATARKIT, PCM_16K

WEIGHTS = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ("jawOpen", "mouthClose"))


def conversation(motion: MotionFormat | None = AVATARKIT, window: int = 1 << 22) -> Conversation:
    """One conversation on one device."""
    return Conversation(ConversationOpen("c1", PCM_16K, motion), "a", ("lobby",), window=window, step=1_000)


def audio(seq: int, data: bytes = b"ab", **more: int) -> Payload:
    """An audio payload."""
    return Payload(Kind.AUDIO, seq, data, **more)


def motion(seq: int, data: bytes = b"ab", **more: int) -> Payload:
    """A motion payload."""
    return Payload(Kind.MOTION, seq, data, **more)


def taken(subject: Conversation, payload: Payload) -> tuple[Payload, ...]:
    """Return what is sent to the devices."""
    accepted = subject.receive(payload, credited=False)
    assert isinstance(accepted, Accepted)
    return accepted.fragments


@pytest.mark.parametrize(
    ("earlier", "payload", "reason"),
    [
        ([audio(1)], audio(3), Reason.SEQUENCE_GAP),
        ([], audio(1, b""), Reason.PAYLOAD_INVALID),
        ([], audio(1, total_bytes=MAX_PAYLOAD_BYTES + 1), Reason.PAYLOAD_TOO_LARGE),
        ([], audio(1, fragment_offset=2, total_bytes=8), Reason.FRAGMENT_INVALID),
        ([audio(1, total_bytes=8)], audio(1, fragment_offset=4, total_bytes=8), Reason.FRAGMENT_INVALID),
        ([audio(1, total_bytes=8)], audio(1, fragment_offset=2, total_bytes=9), Reason.FRAGMENT_INVALID),
        ([audio(1, total_bytes=3)], audio(1, b"xyz", fragment_offset=2, total_bytes=3), Reason.FRAGMENT_INVALID),
        ([audio(1, total_bytes=8)], audio(2), Reason.PAYLOAD_TRUNCATED),
        ([], motion(1), Reason.PAYLOAD_INVALID),
    ],
)
def test_bad_payload_is_refused_and_changes_nothing(earlier: list[Payload], payload: Payload, reason: Reason) -> None:
    """Each fault has its reason, and the payload that was due is still accepted afterwards."""
    subject = conversation()
    for one in earlier:
        taken(subject, one)
    before = subject.cursor
    with pytest.raises(ConversationFault) as caught:
        subject.receive(payload, credited=False)
    assert caught.value.fault.reason is reason
    assert subject.cursor == before
    if earlier and earlier[0].is_fragment:
        taken(subject, audio(1, bytes(earlier[0].total_bytes - 2), fragment_offset=2, total_bytes=earlier[0].total_bytes))
    else:
        taken(subject, audio(before.audio_seq + 1))
    assert subject.cursor.audio_seq == before.audio_seq + 1


def test_a_duplicate_is_dropped() -> None:
    """A repeated sequence number, as after a reconnect, is dropped and its credit returned."""
    subject = conversation()
    taken(subject, audio(1))
    assert subject.receive(audio(1), credited=False) is DropReason.DUPLICATE


def test_sequences_of_streams_typed_by_hand_are_minted() -> None:
    """Sequence number 0 requests the next one, for fragments too."""
    subject = conversation()
    assert [taken(subject, audio(0))[0].seq, taken(subject, audio(0))[0].seq] == [1, 2]
    assert taken(subject, audio(0, total_bytes=4))[0].seq == 3
    assert taken(subject, audio(0, fragment_offset=2, total_bytes=4))[0].seq == 3
    assert subject.cursor.audio_seq == 3


def test_times_are_counted_where_they_are_not_said() -> None:
    """PCM is timed by its rate, weights by their rows; both continue without gaps."""
    subject = conversation(WEIGHTS)
    times = [(part.pts_us, part.duration_us) for _ in range(2) for part in taken(subject, audio(0, bytes(3_200)))]
    assert times == [(0, 100_000), (100_000, 100_000)]
    rows = bytes(8 * 15)
    times = [(part.pts_us, part.duration_us) for _ in range(2) for part in taken(subject, motion(0, rows))]
    assert times == [(0, 500_000), (500_000, 500_000)]


def test_weights_that_are_no_whole_rows_are_refused() -> None:
    """A row is one float32 per name."""
    with pytest.raises(ConversationFault, match="not a multiple of a row of 2"):
        conversation(WEIGHTS).receive(motion(0, bytes(12)), credited=False)


@given(st.binary(min_size=1, max_size=200_000), st.integers(1, 70_000))
def test_payloads_reach_devices_bit_for_bit(data: bytes, cut: int) -> None:
    """Payloads, whole or in fragments, are sent in fragments of at most `MAX_FRAGMENT_BYTES` that add up to the payload."""
    subject = conversation()
    total = len(data) if cut < len(data) else 0
    left = [
        part
        for at in range(0, len(data), cut)
        for part in taken(subject, motion(1, data[at : at + cut], pts_us=7, duration_us=9, fragment_offset=at, total_bytes=total))
    ]
    assert b"".join(part.data for part in left) == data
    assert all(len(part.data) <= MAX_FRAGMENT_BYTES for part in left)
    assert {(part.seq, part.pts_us, part.duration_us) for part in left} == {(1, 7, 9)}
    position = 0
    for part in left:
        assert part.fragment_offset == position
        assert part.total_bytes == (len(data) if len(left) > 1 else 0)
        position += len(part.data)
    assert subject.cursor.motion_seq == 1


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_steps_follow_the_table(state: State, step: Step) -> None:
    """A step that is not in the table is a fault and leaves the state unchanged."""
    subject = conversation()
    taken(subject, audio(1))
    subject.state = state
    acts: dict[Step, Callable[[], object]] = {
        Step.AUDIO_ONLY: subject.make_audio_only,
        Step.END: subject.end,
        Step.CLOSE: lambda: subject.break_off(FinishReason.FAILED),
    }
    act = acts[step]
    if (state, step) in TRANSITIONS:
        act()
        assert subject.state is TRANSITIONS[state, step]
    else:
        with pytest.raises(ConversationFault):
            act()
        assert subject.state is state


@pytest.mark.parametrize(("where", "reason"), NOT_TAKEN.items())
def test_media_that_is_not_taken_has_a_reason(where: tuple[State, Kind], reason: DropReason) -> None:
    """Such media is dropped and is not a fault: the publisher may not know yet."""
    subject = conversation()
    subject.state = where[0]
    assert subject.receive(Payload(where[1], 1, b"ab", 0), credited=False) is reason


@pytest.mark.parametrize(
    ("payloads", "last", "reason"),
    [
        ([], (0, 0), Reason.NO_AUDIO),
        ([motion(1, pts_us=0)], (0, 1), Reason.NO_AUDIO),
        ([audio(1)], (2, 0), Reason.SEQUENCE_GAP),
        ([audio(1)], (1, 1), Reason.SEQUENCE_GAP),
        ([audio(1), audio(2, total_bytes=8)], (2, 0), Reason.PAYLOAD_TRUNCATED),
    ],
)
def test_end_tells_what_is_missing(payloads: list[Payload], last: tuple[int, int], reason: Reason) -> None:
    """`end` is refused if media is missing, and changes nothing."""
    subject = conversation()
    for payload in payloads:
        taken(subject, payload)
    with pytest.raises(ConversationFault) as caught:
        subject.end(*last)
    assert caught.value.fault.reason is reason
    assert subject.state is State.OPEN


def test_credit_beyond_the_grant_is_a_fault() -> None:
    """The first credit is the window; what was sent to devices is granted again in steps."""
    subject = conversation(window=3_000)
    subject.receive(audio(1, bytes(3_000)), credited=True)
    with pytest.raises(ConversationFault) as caught:
        subject.receive(audio(2), credited=True)
    assert caught.value.fault.reason is Reason.CREDIT_EXCEEDED
    subject.sent("lobby", Kind.AUDIO, 999)
    assert subject.released() is None
    subject.sent("lobby", Kind.AUDIO, 1)
    assert subject.released() == Credit(audio_bytes=1_000)
    subject.receive(audio(2, bytes(1_000)), credited=True)


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 600)), max_size=60))
def test_window_is_never_overrun_and_never_starves(turns: list[tuple[int, int]]) -> None:
    """Waiting media stays within the window; once all is sent, the publisher may send a window less one step."""
    window, granted, used = CreditWindow(1_000, 100), 1_000, 0
    for size, leaves in turns:
        if size <= window.left:
            window.used += size
            used += size
        assert window.waiting <= 1_000
        window.sent = min(used, window.sent + leaves)
        granted += window.release()
        assert used <= granted <= window.sent + 1_000
    window.sent = used
    window.release()
    assert window.left >= 1_000 - 99
