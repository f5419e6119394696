"""What all of this package stands on: the error, and enumerations both ways."""

from __future__ import annotations

from typing import Any, TypeVar

from avatar_relay.media import Codec, Kind, MotionEncoding, OnPlaying, Pacing
from avatar_relay.reasons import Fault, Reason
from avatar_relay.v1 import media_pb2 as pb

T = TypeVar("T")


class WireError(Exception):
    """A message breaks the contract. `conversation_id` is set where only that conversation is concerned."""

    def __init__(self, fault: Fault, conversation_id: str | None = None) -> None:
        super().__init__(f"{fault.reason}: {fault.text}")
        self.fault = fault
        self.conversation_id = conversation_id


KIND_TO_WIRE: dict[Kind, Any] = {Kind.AUDIO: pb.KIND_AUDIO, Kind.MOTION: pb.KIND_MOTION}
CODEC_TO_WIRE: dict[Codec, Any] = {codec: pb.AudioFormat.Codec.Value(f"CODEC_{codec.name}") for codec in Codec}
ENCODING_TO_WIRE: dict[MotionEncoding, Any] = {
    MotionEncoding.AVATARKIT_V2: pb.MotionFormat.ENCODING_AVATARKIT_V2,
    MotionEncoding.BLENDSHAPE_WEIGHTS: pb.MotionFormat.ENCODING_BLENDSHAPE_WEIGHTS,
}
PACING_TO_WIRE: dict[Pacing, Any] = {Pacing.BURST: pb.PACING_BURST, Pacing.LIVE: pb.PACING_LIVE}
ON_PLAYING_TO_WIRE: dict[OnPlaying, Any] = {OnPlaying.REPLACE: pb.ON_PLAYING_REPLACE, OnPlaying.QUEUE: pb.ON_PLAYING_QUEUE}

KIND_FROM_WIRE = {value: key for key, value in KIND_TO_WIRE.items()}
CODEC_FROM_WIRE = {value: key for key, value in CODEC_TO_WIRE.items()}
ENCODING_FROM_WIRE = {value: key for key, value in ENCODING_TO_WIRE.items()}
PACING_FROM_WIRE: dict[Any, Pacing] = {pb.PACING_UNSPECIFIED: Pacing.BURST} | {value: key for key, value in PACING_TO_WIRE.items()}
ON_PLAYING_FROM_WIRE: dict[Any, OnPlaying] = {pb.ON_PLAYING_UNSPECIFIED: OnPlaying.REPLACE} | {
    value: key for key, value in ON_PLAYING_TO_WIRE.items()
}


def codec_to_wire(codec: Codec) -> Any:
    """The wire's number for a codec."""
    return CODEC_TO_WIRE[codec]


def encoding_to_wire(encoding: MotionEncoding) -> Any:
    """The wire's number for a motion encoding."""
    return ENCODING_TO_WIRE[encoding]


def on_playing_from_wire(value: int) -> OnPlaying:
    """What a number stands for; raises `WireError` on one that is not defined."""
    read: OnPlaying = known(ON_PLAYING_FROM_WIRE, value, "on_playing", Reason.MESSAGE_INVALID)
    return read


def known(table: dict[Any, T], value: int, field: str, reason: Reason, conversation_id: str | None = None) -> T:
    """What a number of the wire stands for; raises `WireError` on one that is not defined or not usable here."""
    if value not in table:
        raise WireError(Fault(reason, f"{field}: {value} is not a value that can be used here", field), conversation_id)
    return table[value]
