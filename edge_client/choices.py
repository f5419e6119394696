"""What the owner of a device chooses about playback, for the settings and for `PlaybackConfig`."""

from __future__ import annotations

import enum

OUTPUT_OFFSET_MS = (-500, 2_000)
"""Range of the output offset: how much later than the device says its sound is heard."""


class FrameStarvation(enum.StrEnum):
    """What the sound does while motion is missing."""

    AUDIO_INDEPENDENT = "audio_independent"
    """It continues; the face holds, then catches up."""
    STRICT_SYNC = "strict_sync"
    """It waits, at most `STRICT_SYNC_WAIT_US`."""


LARGEST_SOFT = (1280, 720)
"""The largest picture that the CPU draws."""
