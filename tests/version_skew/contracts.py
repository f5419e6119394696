"""Other versions of the protocol: the stored first one, and a future one derived from today's. Each has its own descriptor pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from avatar_relay.v1 import admin_service_pb2, device_service_pb2, media_pb2, publisher_service_pb2

PACKAGE = "avatar_relay.v1"
FIRST = Path(__file__).parent / "first.binpb"
"""The first version of the protocol: publishers cannot resume, and requests are not joined."""
LATER_NUMBER = 1_000
"""Number of each field, enumerator and `oneof` member that today's version does not know."""
_FIELD, _MEMBER = "later_words", "later_message"


class Contract:
    """One version's messages."""

    def __init__(self, name: str, files: FileDescriptorSet) -> None:
        self.name = name
        self._pool = DescriptorPool()
        for file in files.file:
            self._pool.Add(file)

    def type(self, name: str) -> Any:
        """The class of a message."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))

    def build(self, name: str, **fields: Any) -> Message:
        """A message with these fields, and any additional ones of its version."""
        message: Message = self.type(name)(**fields)
        _adorn(message)
        return message

    @property
    def is_later(self) -> bool:
        """Whether it is later than today's version."""
        return _FIELD in self.type("Ping").DESCRIPTOR.fields_by_name

    def unknown(self, name: str) -> Message:
        """A message whose `oneof` member is known only to a later version."""
        message: Message = self.type(name)()
        getattr(message, _MEMBER).words = "?"
        return message


def first() -> Contract:
    """The first version of the protocol."""
    return Contract("first", FileDescriptorSet.FromString(FIRST.read_bytes()))


def later() -> Contract:
    """Today's protocol with an additional field in each message, member in each `oneof`, and value in each enumeration."""
    files: dict[str, FileDescriptorProto] = {}
    for module in (media_pb2, device_service_pb2, publisher_service_pb2, admin_service_pb2):
        _collect(module.DESCRIPTOR, files)
    for file in files.values():
        if file.package == PACKAGE:
            _extend(file)
    return Contract("later", FileDescriptorSet(file=files.values()))


def _collect(file: FileDescriptor, files: dict[str, FileDescriptorProto]) -> None:
    for imported in file.dependencies:
        _collect(imported, files)
    if file.name not in files:
        files[file.name] = FileDescriptorProto.FromString(file.serialized_pb)


def _extend(file: FileDescriptorProto) -> None:
    for message in file.message_type:
        _extend_message(message)
    for enum in file.enum_type:
        _extend_enum(enum)


def _extend_message(message: DescriptorProto) -> None:
    nested, enums = list(message.nested_type), list(message.enum_type)
    for inner in nested:
        _extend_message(inner)
    for enum in enums:
        _extend_enum(enum)
    number = LATER_NUMBER
    if message.oneof_decl and not message.oneof_decl[0].name.startswith("_"):  # those belong to `optional` fields
        later = message.nested_type.add(name="Later")
        later.field.add(name="words", number=1, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL)
        member = message.field.add(name=_MEMBER, number=number, type=FieldDescriptorProto.TYPE_MESSAGE, oneof_index=0)
        member.type_name, member.label = "Later", FieldDescriptorProto.LABEL_OPTIONAL
        number += 1
    message.field.add(name=_FIELD, number=number, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL)


def _extend_enum(enum: EnumDescriptorProto) -> None:
    enum.value.add(name=f"{enum.value[0].name}_LATER", number=LATER_NUMBER)


def _adorn(message: Message) -> None:
    if _FIELD in message.DESCRIPTOR.fields_by_name:
        setattr(message, _FIELD, "said by a later version")
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.full_name.startswith(PACKAGE):
            for inner in [value] if isinstance(value, Message) else value:
                _adorn(inner)
