"""The position of a volume control, and its gain. Pure.

Loudness is perceived by ratios: on a control whose position is the linear gain, nearly all of the change is in its lowest quarter. The gain
is therefore the position cubed, as in PulseAudio's `pa_sw_volume_to_linear` and in the volume controls of Linux desktops: half way up is
0.125, or −18 dB.
"""

from __future__ import annotations

import math


def gain_at(position: float) -> float:
    """The linear gain of a control at `position`; both from 0 to 1."""
    return position**3


def position_of(gain: float) -> float:
    """The position of a control at a linear gain; both from 0 to 1."""
    return math.cbrt(gain)
