"""What drives the mouth: motion payloads, sound, or both. Their measured accuracy is in `docs/notebook/face.md`."""

from __future__ import annotations

import enum
from typing import assert_never

from avatar_relay.media import MotionEncoding, MotionFormat


class MouthSource(enum.StrEnum):
    """The values of the setting."""

    AUTO = "auto"
    """The most accurate one for the motion format; sound if there is no motion."""
    PAYLOAD = "payload"
    """Motion only; the sound is not analysed, and without motion the mouth rests."""
    AUDIO = "audio"
    """Sound only, also if there is no motion."""
    BLEND = "blend"
    """Both, also for formats whose payloads describe the mouth completely."""


BLEND_SHARE = 0.6
"""Share of sound if it is blended with payloads of AvatarKit."""


def heard_share(source: MouthSource, motion: MotionFormat | None, *, live: bool = False) -> float | None:
    """How much of the mouth the sound moves if there is motion, 0 to 1; None if it moves nothing, even without motion.

    In `LIVE`, sound is less accurate: there AUTO uses only motion if the mouth has any.
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
