"""Channel layouts, and the gain of each channel in the mix to mono.

Left and right contribute the mean of the two; the centre, which has the voice in films, is kept at -2.5 dB; rear channels are quieter, and
the channel for low effects is left out. Without a layout (several microphones, for example) it is the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_CHANNELS = 8

_LEFT, _RIGHT, _CENTRE, _LOW, _BACK_LEFT, _BACK_RIGHT, _INNER_LEFT, _INNER_RIGHT, _BACK, _SIDE_LEFT, _SIDE_RIGHT = range(11)
"""Speakers in the order of the bits of WAVEFORMATEXTENSIBLE's channel mask."""
_GAINS = {_LEFT: 0.5, _RIGHT: 0.5, _CENTRE: 0.75, _LOW: 0.0, _INNER_LEFT: 0.5, _INNER_RIGHT: 0.5}
_REAR_GAIN = 0.25

_LEFT_RIGHT, _FRONT, _REAR = (_LEFT, _RIGHT), (_LEFT, _RIGHT, _CENTRE), (_BACK_LEFT, _BACK_RIGHT)
WAV_LAYOUTS: tuple[tuple[int, ...], ...] = (
    (_CENTRE,),
    _LEFT_RIGHT,
    _FRONT,
    (*_LEFT_RIGHT, *_REAR),
    (*_FRONT, *_REAR),
    (*_FRONT, _LOW, *_REAR),
    (*_FRONT, _LOW, _BACK, _SIDE_LEFT, _SIDE_RIGHT),
    (*_FRONT, _LOW, *_REAR, _SIDE_LEFT, _SIDE_RIGHT),
)
"""By number of channels: WAV without a mask, and FLAC (RFC 9639, 9.1.3)."""
VORBIS_LAYOUTS: tuple[tuple[int, ...], ...] = (
    (_CENTRE,),
    _LEFT_RIGHT,
    (_LEFT, _CENTRE, _RIGHT),
    (*_LEFT_RIGHT, *_REAR),
    (_LEFT, _CENTRE, _RIGHT, *_REAR),
    (_LEFT, _CENTRE, _RIGHT, *_REAR, _LOW),
    (_LEFT, _CENTRE, _RIGHT, _SIDE_LEFT, _SIDE_RIGHT, _BACK, _LOW),
    (_LEFT, _CENTRE, _RIGHT, _SIDE_LEFT, _SIDE_RIGHT, *_REAR, _LOW),
)
"""By number of channels: Vorbis, and Opus in mapping family 1 (RFC 7845, 5.1.1.2)."""


def speakers_of_mask(mask: int, channels: int) -> tuple[int, ...] | None:
    """The speakers of a channel mask in order; None if their number differs from `channels`."""
    speakers = tuple(bit for bit in range(32) if mask >> bit & 1)
    return speakers if len(speakers) == channels else None


def mono_gains(speakers: Sequence[int] | None, channels: int) -> list[float]:
    """The gain of each channel; `speakers` is None without a layout."""
    if channels == 1:
        return [1.0]
    gains = [_GAINS.get(speaker, _REAR_GAIN) for speaker in speakers or ()]
    return gains if any(gains) else [1.0 / channels] * channels
