"""Selects the decoder of a motion format."""

from __future__ import annotations

from typing import assert_never

from avatar_relay.columns import AmbiguousNamesError, read_columns
from avatar_relay.media import MotionEncoding, MotionFormat
from edge_client.errors import NotUnderstoodError
from edge_client.motion.avatarkit import AvatarKitDecoder, FlameMap, default_flame_map
from edge_client.motion.decoder import MotionDecoder
from edge_client.motion.visemes import VisemeDecoder
from edge_client.motion.weights import WeightsDecoder


def make_motion_decoder(motion_format: MotionFormat, flame_map: FlameMap | None = None) -> MotionDecoder:
    """Make a decoder for one conversation; without a `flame_map` AvatarKit's decoder uses the one that ships.

    Raises `AssetError` if a required file is damaged, and `NotUnderstoodError` if the meaning of the columns is unknown.
    """
    match motion_format.encoding:
        case MotionEncoding.AVATARKIT_V2:
            return AvatarKitDecoder(flame_map if flame_map is not None else default_flame_map())
        case MotionEncoding.BLENDSHAPE_WEIGHTS:
            return _weights_decoder(motion_format)
        case _:
            assert_never(motion_format.encoding)


def _weights_decoder(motion_format: MotionFormat) -> WeightsDecoder:
    try:
        columns = read_columns(motion_format.blendshape_names, motion_format.name_set)
    except AmbiguousNamesError as error:
        raise NotUnderstoodError(str(error)) from error
    return VisemeDecoder(motion_format, columns) if columns.visemes else WeightsDecoder(motion_format, columns)
