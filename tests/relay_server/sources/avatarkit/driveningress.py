"""The Motion Server's wire format, `driveningress.v2`, as far as a stand-in needs it; by the published field numbers.

Written independently of `avatar_relay.avatarkit`, so that each checks the other, in its own descriptor pool, because the
SDKs under test fill the default one.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

CONFIGURE, CONFIRM, AUDIO, ERROR, ANIMATION, INTERRUPT = 1, 2, 3, 4, 5, 7
"""`Message.type`."""
UNKNOWN_TYPE = 99

_SCHEMA = """
ClientConfigureSession: sample_rate=1 int32, bitrate=2 int32, audio_format=3 int32, transport_compression=4 int32, egress_type=5 int32
ServerConfirmSession: connection_id=1 string
ClientAudioInput: req_id=1 string, end=2 bool, audio=3 bytes
ServerError: connection_id=1 string, req_id=2 string, code=3 int32, message=4 string
Flame: translation=1 floats, rotation=2 floats, neck_pose=3 floats, jaw_pose=4 floats, eye_pose=5 floats, eye_lid=6 floats
Flame: expression=7 floats
FlameAnimation: keyframes=1 Flames
ServerResponseAnimation: connection_id=1 string, req_id=2 string, end=3 bool, animation=4 FlameAnimation, avatar_id=5 string
ClientInterrupt: req_id=1 string
Message: type=1 int32, client_configure_session=2 ClientConfigureSession, server_confirm_session=3 ServerConfirmSession
Message: client_audio_input=4 ClientAudioInput, server_error=5 ServerError, server_response_animation=6 ServerResponseAnimation
Message: client_interrupt=8 ClientInterrupt
"""
_SCALARS = {"int32": 5, "string": 9, "bool": 8, "bytes": 12, "floats": 2}
"""Type names of the schema above as numbers of `FieldDescriptorProto.Type`."""


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="standins/driveningress.proto", package="standins", syntax="proto3")
    messages: dict[str, Any] = {}
    for line in _SCHEMA.strip().splitlines():
        name, fields = line.split(": ")
        if name not in messages:
            messages[name] = file.message_type.add(name=name)
        for text in fields.split(", "):
            field, kind = text.split(" ")
            field_name, number = field.split("=")
            repeated = kind in ("floats", "Flames")
            added = messages[name].field.add(name=field_name, number=int(number), label=3 if repeated else 1)
            if kind in _SCALARS:
                added.type = _SCALARS[kind]
            else:
                added.type, added.type_name = 11, f".standins.{kind.removesuffix('s')}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"standins.{name}")) for name in messages}


CLASSES = _classes()
Message: Any = CLASSES["Message"]


def confirm(connection_id: str) -> bytes:
    """The answer to a session's configuration."""
    return bytes(Message(type=CONFIRM, server_confirm_session={"connection_id": connection_id}).SerializeToString())


def error(connection_id: str, req_id: str, code: int, text: str) -> bytes:
    """A ServerError."""
    body = {"connection_id": connection_id, "req_id": req_id, "code": code, "message": text}
    return bytes(Message(type=ERROR, server_error=body).SerializeToString())


def animation(connection_id: str, req_id: str, rows: list[dict[str, list[float]]], *, end: bool) -> bytes:
    """A motion message of these keyframes."""
    body: dict[str, Any] = {"connection_id": connection_id, "req_id": req_id, "end": end}
    if rows:
        body["animation"] = {"keyframes": rows}
    return bytes(Message(type=ANIMATION, server_response_animation=body).SerializeToString())
