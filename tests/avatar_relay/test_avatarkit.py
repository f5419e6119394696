"""AvatarKit motion messages: read, counted and written by field number."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import avatarkit
from avatar_relay.avatarkit import EXPRESSION, JAW_POSE, KEYFRAME_SIZE, MAX_KEYFRAMES, AvatarKitError, AvatarKitMotion
from avatar_relay.limits import MAX_PAYLOAD_BYTES
from tests.lab.data import shared_data
from tests.lab.recordings import CONNECTION_ID, REQ_ID, keyframes, motion_messages

MESSAGE = motion_messages((4,))[0]


def field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """A protobuf varint."""
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def animation(*flames: bytes, kind: int = 5) -> bytes:
    """A message of some type that holds FLAME keyframes as given."""
    return b"\x08" + varint(kind) + field(6, field(4, b"".join(field(1, flame) for flame in flames)))


def test_what_is_written_is_read() -> None:
    """Every field comes back."""
    rows = keyframes(7)
    motion = avatarkit.read(avatarkit.write(AvatarKitMotion("c", "r", True, "a", rows)))
    assert (motion.connection_id, motion.req_id, motion.end, motion.avatar_id) == ("c", "r", True, "a")
    np.testing.assert_array_equal(motion.keyframes, rows)


def test_sizes_are_those_of_the_real_thing() -> None:
    """A keyframe is 498 bytes with tag and length: 50 of them make a message of 24,968."""
    first, second, last = motion_messages((50, 100, 57))
    assert (len(first), len(second), len(last)) == (24_968, 49_868, 28_456)


def test_keyframes_are_counted_without_reading_them() -> None:
    """Counting needs the envelope only: a keyframe that cannot be read still counts."""
    assert [avatarkit.count_keyframes(message) for message in motion_messages((50, 100, 57))] == [50, 100, 57]
    assert avatarkit.count_keyframes(animation(b"\xff\xff")) == 1


def test_message_without_keyframes() -> None:
    """An end that carries no motion is a message too."""
    message = avatarkit.write(AvatarKitMotion("c", "r", True, "", np.zeros((0, KEYFRAME_SIZE), np.float32)))
    assert avatarkit.count_keyframes(message) == 0
    assert avatarkit.read(message).keyframes.shape == (0, KEYFRAME_SIZE)


def test_missing_fields_are_zero() -> None:
    """A keyframe may leave fields out."""
    jaw = np.array([0.1, 0.2, 0.3], "<f4")
    motion = avatarkit.read(animation(field(4, jaw.tobytes()), b""))
    np.testing.assert_array_equal(motion.keyframes[0, JAW_POSE], jaw)
    assert not motion.keyframes[:, EXPRESSION].any()
    assert not motion.keyframes[1].any()


def test_floats_may_travel_unpacked() -> None:
    """Protobuf allows repeated floats one by one."""
    value = np.array([0.5], "<f4").tobytes()
    motion = avatarkit.read(animation((bytes([4 << 3 | 5]) + value) * 3))
    np.testing.assert_array_equal(motion.keyframes[0, JAW_POSE], [0.5, 0.5, 0.5])


def test_fields_not_declared_are_tolerated() -> None:
    """A later SDK may add fields anywhere."""
    extra = field(99, b"new")
    assert avatarkit.count_keyframes(MESSAGE + extra) == 4
    assert avatarkit.read(animation(extra)).keyframes.shape == (1, KEYFRAME_SIZE)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "type 0"),
        (b"\xff" * 20, "not a protobuf message"),
        (MESSAGE[:-1], "not a protobuf message"),
        (animation(kind=3), "type 3"),
        (b"\x08\x05", "type 5"),
        (b"\x08\x04" + field(5, b"\x18\x0e"), r"server error \(code 14\)"),
        (animation(field(4, b"\0" * 8)), "keyframe 0 has 2 numbers of jaw_pose, not 3"),
        (animation(b"", field(7, b"\0" * 404)), "keyframe 1 has 101 numbers of expression, not 100"),
        (animation(field(4, b"\0" * 7)), "keyframe 0 is not a protobuf message"),
        (animation(field(4, np.array([0, np.nan, 0], "<f4").tobytes())), "keyframe 0 of 1 .* not finite"),
        (animation(b"", field(7, np.full(100, np.inf, "<f4").tobytes())), "keyframe 1 of 2 .* not finite"),
        (b"\0" * (MAX_PAYLOAD_BYTES + 1), "at most 2097152"),
        (animation(*[b""] * (MAX_KEYFRAMES + 1)), "5001 keyframes; at most 5000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_not_be_read_says_why(data: bytes, text: str) -> None:
    """Each fault has a text of its own."""
    with pytest.raises(AvatarKitError, match=text):
        avatarkit.read(data)


def test_wrong_shape_is_not_written() -> None:
    """Writing checks as well."""
    with pytest.raises(AvatarKitError, match="shape"):
        avatarkit.write(AvatarKitMotion("", "", False, "", np.zeros((3, 119), np.float32)))


@given(st.lists(st.tuples(st.integers(0, len(MESSAGE) - 1), st.integers(0, 255)), min_size=1, max_size=8), st.integers(0, len(MESSAGE)))
def test_mutated_messages_never_crash(changes: list[tuple[int, int]], length: int) -> None:
    """Whatever the bytes: finite keyframes of the right shape, or `AvatarKitError`."""
    data = bytearray(MESSAGE)
    for position, value in changes:
        data[position] = value
    for mutated in (bytes(data), bytes(data[:length])):
        try:
            motion = avatarkit.read(mutated)
        except AvatarKitError:
            continue
        assert motion.keyframes.shape == (avatarkit.count_keyframes(mutated), KEYFRAME_SIZE)
        assert np.isfinite(motion.keyframes).all()


@given(st.binary(max_size=300))
def test_any_bytes_never_crash(data: bytes) -> None:
    """Bytes that never were a message."""
    for candidate in (data, b"\x08\x05" + field(6, data), animation(data)):
        with contextlib.suppress(AvatarKitError):
            assert np.isfinite(avatarkit.read(candidate).keyframes).all()


NAMES_IN_DEFAULT_POOL = """
import avatar_relay.avatarkit
from google.protobuf import descriptor_pool
for name in ("avatar_relay/avatarkit.proto", "driveningress/v2/driveningress.proto", "message.proto"):
    try:
        print(descriptor_pool.Default().FindFileByName(name).name)
    except KeyError:
        pass
"""


def test_schema_stays_out_of_the_default_pool() -> None:
    """The vendor's packages register theirs there; nothing of ours may be in the way. In a program without those packages."""
    found = subprocess.run([sys.executable, "-c", NAMES_IN_DEFAULT_POOL], capture_output=True, text=True, timeout=30, check=True)
    assert found.stdout == ""


def test_real_messages_are_read_and_written_bit_for_bit() -> None:
    """507 keyframes in six messages; written again, every byte is the same, so nothing was overlooked."""
    document = json.loads(shared_data("avatarkit-recording-16k.json").read_text())
    messages = [base64.b64decode(text) for text in document["animation_messages_base64"]]
    motions = [avatarkit.read(message) for message in messages]
    assert [len(motion.keyframes) for motion in motions] == [50, 100, 100, 100, 100, 57]
    assert [motion.end for motion in motions] == [False] * 5 + [True]
    assert {motion.req_id for motion in motions} == {document["req_id"]}
    assert [avatarkit.write(motion) for motion in motions] == messages


def test_synthetic_messages_name_their_request() -> None:
    """What `tests.lab.recordings` makes looks like the real thing."""
    motion = avatarkit.read(motion_messages()[-1])
    assert (motion.connection_id, motion.req_id, motion.end) == (CONNECTION_ID, REQ_ID, True)
    assert (np.abs(np.diff(motion.keyframes, axis=0)).max(axis=1) > 0).all()
