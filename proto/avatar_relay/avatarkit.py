"""AvatarKit motion messages (`driveningress.v2`): reads a copy; the payload on the wire is never rewritten.

Only the fields that motion uses are declared, by number, from the published schema. The schema has its own descriptor pool: the vendor's
packages register theirs in the default one, under names that would clash.

The animation and its keyframes are declared as bytes, so that keyframes can be counted, and their number bounded, before any of them is
unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from avatar_relay.limits import MAX_PAYLOAD_BYTES

Keyframes = NDArray[np.float32]
"""Shape (keyframes, KEYFRAME_SIZE)."""

TRANSLATION = slice(0, 3)
ROTATION = slice(3, 6)
NECK_POSE = slice(6, 9)
JAW_POSE = slice(9, 12)
EYE_POSE = slice(12, 18)
EYE_LID = slice(18, 20)
EXPRESSION = slice(20, 120)
KEYFRAME_SIZE = 120
"""Floats in a keyframe. Rotations are axis-angle in radians."""

MAX_KEYFRAMES = 5_000
"""Bound per message: 200 s at 25 per second; more than full keyframes fill in the largest payload."""

_FIELDS: tuple[tuple[str, slice], ...] = (
    ("translation", TRANSLATION),
    ("rotation", ROTATION),
    ("neck_pose", NECK_POSE),
    ("jaw_pose", JAW_POSE),
    ("eye_pose", EYE_POSE),
    ("eye_lid", EYE_LID),
    ("expression", EXPRESSION),
)
"""Fields of the FLAME keyframe, numbered from 1 in this order."""

_TYPE_SERVER_ERROR = 4
_TYPE_SERVER_RESPONSE_ANIMATION = 5


class AvatarKitError(ValueError):
    """Not a usable AvatarKit motion message; the text describes the error and its position."""


@dataclass(frozen=True, slots=True, eq=False)
class AvatarKitMotion:
    """A motion message. `req_id` names the request of the Server SDK, `end` marks the request's last message.

    `keyframes` has the columns of the slices above; an absent field is 0. `avatar_id` is often empty.
    """

    connection_id: str
    req_id: str
    end: bool
    avatar_id: str
    keyframes: Keyframes


@dataclass(frozen=True, slots=True)
class MotionHead:
    """Properties of a motion message other than its floats: its conversation, its number of keyframes, and whether it is the last one."""

    req_id: str
    keyframes: int
    end: bool


def read_head(data: bytes) -> MotionHead:
    """A message's head; the floats are not checked. Raises `AvatarKitError`."""
    response = _animation_of(data)
    return MotionHead(response.req_id, len(_packed_keyframes(response)), response.end)


def count_keyframes(data: bytes) -> int:
    """Number of keyframes in a message, may be 0; their floats are not checked. Raises `AvatarKitError`."""
    return read_head(data).keyframes


def read(data: bytes) -> AvatarKitMotion:
    """The whole message; all floats are finite. Raises `AvatarKitError`."""
    response = _animation_of(data)
    packed = _packed_keyframes(response)
    keyframes = np.zeros((len(packed), KEYFRAME_SIZE), np.float32)
    for index, (row, keyframe) in enumerate(zip(keyframes, packed, strict=True)):
        _fill(row, keyframe, index)
    unusable = np.flatnonzero(~np.isfinite(keyframes).all(axis=1))
    if unusable.size:
        raise AvatarKitError(f"keyframe {unusable[0]} of {len(keyframes)} holds a number that is not finite")
    return AvatarKitMotion(response.connection_id, response.req_id, response.end, response.avatar_id, keyframes)


def write(motion: AvatarKitMotion) -> bytes:
    """Encode a message as the Server SDK would, for tests and tools. Raises `AvatarKitError` for a wrong shape."""
    if motion.keyframes.ndim != 2 or motion.keyframes.shape[1] != KEYFRAME_SIZE:
        raise AvatarKitError(f"keyframes have the shape {motion.keyframes.shape}, not (n, {KEYFRAME_SIZE})")
    packed = [
        _FLAME(**{name: row[columns].tolist() for name, columns in _FIELDS}).SerializeToString()
        for row in motion.keyframes.astype(np.float32, copy=False)
    ]
    response = _RESPONSE(connection_id=motion.connection_id, req_id=motion.req_id, end=motion.end, avatar_id=motion.avatar_id)
    if packed:
        response.animation = _ANIMATION(keyframes=packed).SerializeToString()
    message = _MESSAGE(type=_TYPE_SERVER_RESPONSE_ANIMATION, server_response_animation=response)
    return bytes(message.SerializeToString())


def _animation_of(data: bytes) -> Any:
    if len(data) > MAX_PAYLOAD_BYTES:
        raise AvatarKitError(f"the message has {len(data)} bytes; at most {MAX_PAYLOAD_BYTES} are read")
    message = _parse(_MESSAGE, data, "the message")
    if message.type == _TYPE_SERVER_ERROR:
        error = message.server_error
        raise AvatarKitError(f"the message is a server error (code {error.code}), not motion")
    if message.type != _TYPE_SERVER_RESPONSE_ANIMATION or not message.HasField("server_response_animation"):
        raise AvatarKitError(
            f"the message is of type {message.type}, not {_TYPE_SERVER_RESPONSE_ANIMATION} (animation); "
            "send the motion messages of AvatarKit v2 as its Server SDK hands them over"
        )
    return message.server_response_animation


def _packed_keyframes(response: Any) -> list[bytes]:
    keyframes = list(_parse(_ANIMATION, response.animation, "the animation").keyframes)
    if len(keyframes) > MAX_KEYFRAMES:
        raise AvatarKitError(f"the message has {len(keyframes)} keyframes; at most {MAX_KEYFRAMES} are read")
    return keyframes


def _fill(row: NDArray[np.float32], packed: bytes, index: int) -> None:
    keyframe = _parse(_FLAME, packed, f"keyframe {index}")
    for name, columns in _FIELDS:
        values = getattr(keyframe, name)
        if not values:
            continue
        if len(values) != columns.stop - columns.start:
            raise AvatarKitError(f"keyframe {index} has {len(values)} numbers of {name}, not {columns.stop - columns.start}")
        row[columns] = values


def _parse(message_class: Any, data: bytes, where: str) -> Any:
    try:
        return message_class.FromString(data)
    except DecodeError as error:
        raise AvatarKitError(f"{where} is not a protobuf message of AvatarKit v2: it is cut short or damaged") from error


def _message_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="avatar_relay/avatarkit.proto", package="avatar_relay.avatarkit", syntax="proto3")
    kind = descriptor_pb2.FieldDescriptorProto
    _declare(file, "ServerError", (("code", 3, kind.TYPE_INT32, ""),))
    _declare(
        file,
        "ServerResponseAnimation",
        (
            ("connection_id", 1, kind.TYPE_STRING, ""),
            ("req_id", 2, kind.TYPE_STRING, ""),
            ("end", 3, kind.TYPE_BOOL, ""),
            ("animation", 4, kind.TYPE_BYTES, ""),
            ("avatar_id", 5, kind.TYPE_STRING, ""),
        ),
    )
    _declare(
        file,
        "Message",
        (
            ("type", 1, kind.TYPE_INT32, ""),
            ("server_error", 5, kind.TYPE_MESSAGE, "ServerError"),
            ("server_response_animation", 6, kind.TYPE_MESSAGE, "ServerResponseAnimation"),
        ),
    )
    _declare(file, "FlameAnimation", (("keyframes", 1, kind.TYPE_BYTES, "repeated"),))
    _declare(file, "Flame", tuple((name, number, kind.TYPE_FLOAT, "repeated") for number, (name, _) in enumerate(_FIELDS, 1)))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{message.name}"))
        for message in file.message_type
    }


def _declare(file: Any, name: str, fields: tuple[tuple[str, int, Any, str], ...]) -> None:
    """Add a message; the last item of each field's tuple is "repeated", or the name of its message type."""
    message = file.message_type.add(name=name)
    for field_name, number, kind, detail in fields:
        field = message.field.add(name=field_name, number=number, type=kind, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
        if detail == "repeated":
            field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
        elif detail:
            field.type_name = f".{file.package}.{detail}"


_CLASSES = _message_classes()
_MESSAGE = _CLASSES["Message"]
_RESPONSE = _CLASSES["ServerResponseAnimation"]
_ANIMATION = _CLASSES["FlameAnimation"]
_FLAME = _CLASSES["Flame"]
