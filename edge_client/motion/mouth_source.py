"""What moves the mouth: the motion payload, the sound, or both. Their accuracy was measured (`docs/notebook/face.md`)."""

from __future__ import annotations

import enum
from typing import assert_never

from avatar_relay.media import MotionEncoding, MotionFormat


class MouthSource(enum.StrEnum):
    """What a device may be told."""

    AUTO = "auto"
    """What does best with the motion format; if there is sound and no motion, the sound."""
    PAYLOAD = "payload"
    """Motion alone; the sound is not analysed, and without motion the mouth rests."""
    AUDIO = "audio"
    """The sound alone, also if there is no motion."""
    BLEND = "blend"
    """Both, also for formats whose payloads say all that there is to say."""


BLEND_SHARE = 0.6
"""The sound's share where payloads of AvatarKit are blended with it."""


def heard_share(source: MouthSource, motion: MotionFormat | None, *, live: bool = False) -> float | None:
    """How much of the mouth the sound moves if there is motion, 0 to 1; None if it moves nothing, also without motion.

    In `LIVE` the sound tells less: there AUTO leaves a mouth that has motion to the motion.
    """
    match source:
        case MouthSource.PAYLOAD:
            return None
        case MouthSource.AUDIO:
            return 1.0
        case MouthSource.BLEND:
            return 1.0 if motion is None else BLEND_SHARE
        case MouthSource.AUTO if motion is None:
            return 1.0
        case MouthSource.AUTO:
            return BLEND_SHARE if motion.encoding is MotionEncoding.AVATARKIT_V2 and not live else 0.0
        case _:
            assert_never(source)
