"""Choices of a device's owner about playback, for the settings and for `PlaybackConfig`."""

from __future__ import annotations

import enum
import re
from typing import Literal


class FrameStarvation(enum.StrEnum):
    """What the sound does while motion is missing."""

    AUDIO_INDEPENDENT = "audio_independent"
    """Sound continues; the face holds, then catches up."""
    STRICT_SYNC = "strict_sync"
    """Sound waits, at most `STRICT_SYNC_WAIT_US`."""


LARGEST_SOFT = (1280, 720)
"""The largest picture that the CPU draws."""

DetailChoice = Literal["auto", "low", "high"]
"""Level of detail of the head."""

HairChoice = Literal["auto", "bob", "short", "swept", "curls", "painted"]
"""Hair style of the head; `auto` is the one that it was made with."""

BackgroundChoice = Literal["plain", "studio", "window"]
"""Background behind the head."""

Latency = Literal["low", "safe"]
"""How far the buffer of a sound device may grow after underruns."""

Side = Literal["both", "left", "right"]
"""Which loudspeakers of a pair play."""

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)


def read_hours(text: str) -> tuple[int, int] | None:
    """Parse `22:00-07:00` as minutes of the day; None if the text is empty. Raises `ValueError` with the accepted form."""
    if not text:
        return None
    if (found := _HOURS.fullmatch(text)) is None or found[1] + found[2] == found[3] + found[4]:
        raise ValueError("takes two different times of day as HH:MM-HH:MM")
    begin_hour, begin, end_hour, end = map(int, found.groups())
    return begin_hour * 60 + begin, end_hour * 60 + end


BY_PATH = "path:"
"""Prefix of an output name that identifies the port its card is attached to."""
_MAX_NAME_CHARACTERS = 255
_NAME = re.compile(r"[\w.:,=+@()\- ]*")
"""No quotes, braces, pipes, slashes or control characters: ALSA would read configuration, files and commands from them."""


def check_output_name(text: str) -> str:
    """Return the text if it can name an output. Raises `ValueError` with the reason if not."""
    if len(text) > _MAX_NAME_CHARACTERS:
        raise ValueError(f"the name of an output has at most {_MAX_NAME_CHARACTERS} characters")
    if _NAME.fullmatch(text.removeprefix(BY_PATH)) is None or (text and not text.strip()):
        raise ValueError(f"{text!r} cannot name an output; it takes letters, digits, blanks and . : , = + @ - _ ( )")
    return text
