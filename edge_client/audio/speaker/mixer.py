"""A card's own volume control, by libasound's simple mixer through ctypes. Imported in the child only; calls may hang."""

from __future__ import annotations

import ctypes
import math

from avatar_relay.volume_curve import position_of
from edge_client.errors import SinkError

_HUNDREDTHS_OF_DB = 2_000
"""Hundredths of a dB for each factor of ten in gain."""
_NOT_LOUDER = -1


class Mixer:
    """One control of one card."""

    def __init__(self, control: str, card: int) -> None:
        """`card` is the kernel's number; -1 for ALSA's default mixer. Raises `SinkError` that lists the controls, and `OSError`."""
        self._library = ctypes.CDLL("libasound.so.2")
        self._library.snd_strerror.restype = self._library.snd_mixer_selem_get_name.restype = ctypes.c_char_p
        for name in ("snd_mixer_first_elem", "snd_mixer_elem_next"):
            getattr(self._library, name).restype = ctypes.c_void_p
        self._handle = ctypes.c_void_p()
        self._check(self._library.snd_mixer_open(ctypes.byref(self._handle), 0), "no mixer")
        name = f"hw:{card}" if card >= 0 else "default"
        self._check(self._library.snd_mixer_attach(self._handle, name.encode()), f"mixer {name}")
        self._check(self._library.snd_mixer_selem_register(self._handle, None, None), f"mixer {name}")
        self._check(self._library.snd_mixer_load(self._handle), f"mixer {name}")
        elements = self._elements()
        if control not in elements:
            raise SinkError(f"mixer {name} has no volume control {control!r}; it has {', '.join(elements) or 'none'}")
        self._element = ctypes.c_void_p(elements[control])

    def set(self, gain: float) -> None:
        """Set a linear gain above 0 up to 1, which is 0 dB, or the control's maximum if that is lower. Raises `SinkError`."""
        library, element = self._library, self._element
        self._check(library.snd_mixer_handle_events(self._handle), "mixer")
        low, high = ctypes.c_long(), ctypes.c_long()
        if library.snd_mixer_selem_get_playback_dB_range(element, ctypes.byref(low), ctypes.byref(high)) == 0:
            wanted = max(low.value, min(high.value, 0) + round(_HUNDREDTHS_OF_DB * math.log10(gain)))
            self._check(library.snd_mixer_selem_set_playback_dB_all(element, ctypes.c_long(wanted), _NOT_LOUDER), "mixer")
            return
        self._check(library.snd_mixer_selem_get_playback_volume_range(element, ctypes.byref(low), ctypes.byref(high)), "mixer")
        step = low.value + round((high.value - low.value) * position_of(gain))
        self._check(library.snd_mixer_selem_set_playback_volume_all(element, ctypes.c_long(step)), "mixer")

    def _elements(self) -> dict[str, int]:
        """The controls that set a volume, by name."""
        found: dict[str, int] = {}
        element = self._library.snd_mixer_first_elem(self._handle)
        while element:
            if self._library.snd_mixer_selem_has_playback_volume(ctypes.c_void_p(element)):
                found.setdefault(self._library.snd_mixer_selem_get_name(ctypes.c_void_p(element)).decode(errors="replace"), element)
            element = self._library.snd_mixer_elem_next(ctypes.c_void_p(element))
        return found

    def _check(self, result: int, problem: str) -> None:
        if result < 0:
            raise SinkError(f"{problem}: {self._library.snd_strerror(result).decode(errors='replace')}")
