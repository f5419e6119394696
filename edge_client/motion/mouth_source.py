"""Who moves the mouth: the motion payload, the sound, or both. How much each knows was measured (`docs/face.md`)."""

from __future__ import annotations

import enum
from typing import assert_never

from avatar_relay.media import MotionEncoding, MotionFormat


class MouthSource(enum.Enum):
    """What a device may be told."""

    AUTO = "auto"
    """What does best with the motion format; without motion the mouth rests."""
    PAYLOAD = "payload"
    AUDIO = "audio"
    """The sound alone, also where there is no motion."""
    BLEND = "blend"
    """Both, also for formats whose payloads say all that there is to say."""


BLEND_SHARE = 0.6
"""The sound's share where payloads of AvatarKit are blended with it."""


def heard_share(source: MouthSource, motion: MotionFormat | None) -> float:
    """How much of the mouth the sound moves, 0 to 1."""
    match source:
        case MouthSource.PAYLOAD:
            return 0.0
        case MouthSource.AUDIO:
            return 1.0
        case MouthSource.BLEND:
            return 1.0 if motion is None else BLEND_SHARE
        case MouthSource.AUTO:
            return BLEND_SHARE if motion is not None and motion.encoding is MotionEncoding.AVATARKIT_V2 else 0.0
        case _:
            assert_never(source)
