"""Which decoder reads which motion format."""

from __future__ import annotations

from typing import assert_never

from avatar_relay.media import MotionEncoding, MotionFormat
from edge_client.motion.avatarkit import AvatarKitDecoder, FlameMap, default_flame_map
from edge_client.motion.decoder import MotionDecoder
from edge_client.motion.weights import WeightsDecoder


def make_motion_decoder(motion_format: MotionFormat, flame_map: FlameMap | None = None) -> MotionDecoder:
    """A decoder for one conversation; without a `flame_map` AvatarKit's goes by the one that ships.

    Raises `AssetError` where a file that it needs is damaged.
    """
    match motion_format.encoding:
        case MotionEncoding.AVATARKIT_V2:
            return AvatarKitDecoder(flame_map if flame_map is not None else default_flame_map())
        case MotionEncoding.BLENDSHAPE_WEIGHTS:
            return WeightsDecoder(motion_format.blendshape_names)
        case _:
            assert_never(motion_format.encoding)
