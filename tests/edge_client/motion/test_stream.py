"""The motion of one conversation, from payloads to its track."""

import numpy as np

from avatar_relay.media import Kind, Payload
from avatar_relay.reasons import DropReason, Fault, Reason
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.stream import MAX_AHEAD, MotionStream
from tests.edge_client.playback_bench import JAW, motion_payload


def _stream() -> MotionStream:
    return MotionStream(make_motion_decoder(JAW), JAW)


def _put(stream: MotionStream, payload: Payload, audible_us: int = 0) -> DropReason | Fault | None:
    poses = stream.decode(payload)
    return stream.place(payload, poses, audible_us) if isinstance(poses, np.ndarray) else poses


def test_bytes_are_in_use_until_their_time_has_passed() -> None:
    """The bytes of a payload are freed once, in the order of time."""
    stream = _stream()
    assert _put(stream, motion_payload([0.0] * 25, seq=2, first_keyframe=25)) is None
    assert _put(stream, motion_payload([0.0] * 25)) is None
    assert stream.pass_by(999_999) == 0
    assert stream.pass_by(1_000_000) == 100
    assert stream.pass_by(1_500_000) == 0
    assert stream.close() == 100
    assert stream.close() == 0


def test_cursor_is_contiguous_and_a_double_is_refused() -> None:
    """In any order, the cursor is contiguous, and a duplicate is refused."""
    stream = _stream()
    _put(stream, motion_payload([0.0], seq=2, first_keyframe=1))
    assert stream.cursor == 0
    _put(stream, motion_payload([0.0]))
    assert stream.cursor == 2
    assert _put(stream, motion_payload([0.0])) is DropReason.DUPLICATE


def test_what_has_passed_altogether_is_late() -> None:
    """A window that is partly heard is still used."""
    stream = _stream()
    assert _put(stream, motion_payload([0.0] * 25), 1_000_000) is DropReason.LATE
    assert _put(stream, motion_payload([0.0] * 25, seq=2, first_keyframe=25), 1_500_000) is None


def test_damage_is_a_fault_and_counts_as_length() -> None:
    """Damaged motion counts as length, so that it is not taken for a wrong sample rate."""
    stream = _stream()
    damaged = Payload(Kind.MOTION, 1, b"123", 0, 2_000_000)
    fault = _put(stream, damaged)
    assert isinstance(fault, Fault)
    assert fault.reason is Reason.MOTION_UNDECODABLE
    assert stream.length_us == 2_000_000
    assert stream.cursor == 1
    unplaced = _put(stream, Payload(Kind.MOTION, 2, b"1234"))
    assert isinstance(unplaced, Fault)
    assert unplaced.reason is Reason.PAYLOAD_INVALID


def test_memory_for_sequences_is_bounded() -> None:
    """A payload that never arrives is finally given up."""
    stream = _stream()
    for seq in range(2, MAX_AHEAD + 4):
        _put(stream, motion_payload([0.0], seq=seq, first_keyframe=seq % 100))
    assert stream.cursor == MAX_AHEAD + 3
    assert _put(stream, motion_payload([0.0])) is DropReason.DUPLICATE
