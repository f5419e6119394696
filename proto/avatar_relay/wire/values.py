"""The basics of this package: the error, and enumerations in both directions."""

from __future__ import annotations

import enum
from collections.abc import Sized
from typing import Any, TypeVar

from avatar_relay.device_state import PartState
from avatar_relay.errors import PeerError
from avatar_relay.media import AngleUnit, Codec, ExpressionPreset, Kind, MotionEncoding, NameSet, OnPlaying, Pacing
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import media_pb2 as pb

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)


class WireError(PeerError):
    """A message breaks the contract. `conversation_id` is set if only that conversation is affected."""

    def __init__(self, fault: Fault, conversation_id: str | None = None) -> None:
        super().__init__(fault)
        self.conversation_id = conversation_id


def check_count(values: Sized, most: int, field: str, conversation_id: str | None = None) -> None:
    """Raise `WireError` if a repeated field has more than `most` entries."""
    if len(values) > most:
        text = f"{field} has {len(values)} entries; at most {most} are allowed"
        raise WireError(Fault(Reason.MESSAGE_INVALID, text, field), conversation_id)


def bounded(text: str, characters: int, field: str, conversation_id: str | None = None) -> str:
    """Return `text`; raises `WireError` if it is longer than `characters`."""
    if len(text) > characters:
        fault = Fault(Reason.MESSAGE_INVALID, f"{field} has {len(text)} characters; at most {characters} are allowed", field)
        raise WireError(fault, conversation_id)
    return text


def _numbers(members: type[E], wire: Any, prefix: str) -> dict[E, Any]:
    """The wire's number for each member; its name on the wire has a prefix."""
    return {member: wire.Value(prefix + member.name) for member in members}


def _members(numbers: dict[E, Any]) -> dict[Any, E]:
    return {number: member for member, number in numbers.items()}


KIND_TO_WIRE = _numbers(Kind, pb.Kind, "KIND_")
CODEC_TO_WIRE = _numbers(Codec, pb.AudioFormat.Codec, "CODEC_")
ENCODING_TO_WIRE = _numbers(MotionEncoding, pb.MotionFormat.Encoding, "ENCODING_")
NAME_SET_TO_WIRE = _numbers(NameSet, pb.MotionFormat.NameSet, "NAME_SET_")
ANGLE_UNIT_TO_WIRE = _numbers(AngleUnit, pb.MotionFormat.AngleUnit, "ANGLE_UNIT_")
PACING_TO_WIRE = _numbers(Pacing, pb.Pacing, "PACING_")
ON_PLAYING_TO_WIRE = _numbers(OnPlaying, pb.OnPlaying, "ON_PLAYING_")
PRESET_TO_WIRE = _numbers(ExpressionPreset, pb.Expression.Preset, "PRESET_")
PART_STATE_TO_WIRE = _numbers(PartState, pb.Part.State, "STATE_")

KIND_FROM_WIRE = _members(KIND_TO_WIRE)
CODEC_FROM_WIRE = _members(CODEC_TO_WIRE)
ENCODING_FROM_WIRE = _members(ENCODING_TO_WIRE)
PRESET_FROM_WIRE = _members(PRESET_TO_WIRE)
PART_STATE_FROM_WIRE = _members(PART_STATE_TO_WIRE)
NAME_SET_FROM_WIRE: dict[Any, NameSet | None] = {pb.MotionFormat.NAME_SET_UNSPECIFIED: None} | _members(NAME_SET_TO_WIRE)
ANGLE_UNIT_FROM_WIRE: dict[Any, AngleUnit] = {pb.MotionFormat.ANGLE_UNIT_UNSPECIFIED: AngleUnit.RADIANS} | _members(ANGLE_UNIT_TO_WIRE)
PACING_FROM_WIRE: dict[Any, Pacing] = {pb.PACING_UNSPECIFIED: Pacing.BURST} | _members(PACING_TO_WIRE)
ON_PLAYING_FROM_WIRE: dict[Any, OnPlaying] = {pb.ON_PLAYING_UNSPECIFIED: OnPlaying.REPLACE} | _members(ON_PLAYING_TO_WIRE)


def on_playing_from_wire(value: int) -> OnPlaying:
    """The member for a number; raises `WireError` if it is undefined."""
    read: OnPlaying = known(ON_PLAYING_FROM_WIRE, value, "on_playing", Reason.MESSAGE_INVALID)
    return read


def angle_unit_from_wire(value: int) -> AngleUnit:
    """The angle unit for a number; raises `WireError` if it is undefined."""
    read: AngleUnit = known(ANGLE_UNIT_FROM_WIRE, value, "angle_unit", Reason.MESSAGE_INVALID)
    return read


def known(table: dict[Any, T], value: int, field: str, reason: Reason, conversation_id: str | None = None) -> T:
    """The value for a number of the wire; raises `WireError` if it is undefined or not usable here."""
    if value not in table:
        raise WireError(Fault(reason, f"{field}: {value} is not a value that can be used here", field), conversation_id)
    return table[value]
