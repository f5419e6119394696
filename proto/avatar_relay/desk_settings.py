"""The device's settings that an operator can change from a relay: names and types, shared by relay and device. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from avatar_relay import setting_types as takes
from avatar_relay.setting_types import SettingType

MAX_VALUE_CHARACTERS = 256
MAX_DESK_SETTINGS = 32
"""Bound per message; a later version may have more of them than this one."""

OUTPUT_OFFSET_MS = (-500, 2_000)
OUTPUT_OFFSET = takes.number(*OUTPUT_OFFSET_MS, "ms")
ROTATION = takes.whole_number(0, 270, "degrees")
PICTURES_PER_SECOND = takes.number(1, 240)
LOUDEST = takes.number(0, 1)
AUDIO_DEVICE = takes.text("NAME")
FLAG = takes.switch()

DESK_SETTINGS: Mapping[str, SettingType] = {
    "audio_device": AUDIO_DEVICE,
    "figures": FLAG,
    "idle_life": FLAG,
    "output_offset_ms": OUTPUT_OFFSET,
    "pictures_per_second": PICTURES_PER_SECOND,
    "rotation": ROTATION,
    "volume": LOUDEST,
}


def refusals(values: Mapping[str, str]) -> dict[str, str]:
    """The error of each invalid setting, by name; empty if all are valid. An empty value is valid: it resets a setting."""
    found = {}
    for name, value in values.items():
        kind = DESK_SETTINGS.get(name)
        if kind is None:
            found[name[:64]] = f"cannot be set from here; there are {', '.join(DESK_SETTINGS)}"
        elif len(value) > MAX_VALUE_CHARACTERS:
            found[name] = f"has {len(value)} characters; at most {MAX_VALUE_CHARACTERS} are allowed"
        else:
            try:
                kind.read(value)
            except ValueError as error:
                found[name] = str(error)
    return found
