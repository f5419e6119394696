"""Queries libasound by ctypes: names of outputs, and their abilities. Imported in the child only; calls may hang."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_client.errors import SinkError

_ERROR_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
_ignore_error = _ERROR_HANDLER(lambda *_: None)
"""Kept for the life of the process, as ALSA keeps a pointer to it."""
_DEFAULT_CONFIG = "/usr/share/alsa/alsa.conf"
_FORMATS = 64
"""Number of format codes to try: more than there are."""
_PLAYBACK, _NONBLOCK, _S16_LE, _INTERLEAVED = 0, 1, 2, 3
_NOT_OUTPUTS = frozenset(
    name
    for names in (
        ("null", "cards", "hw", "plughw", "plug", "shm", "tee", "file", "dmix", "dsnoop", "dshare", "avatar_out"),
        ("lavrate", "samplerate", "speexrate", "speex", "upmix", "vdownmix"),
    )
    for name in names
)
"""Plug-ins that need a card or a slave, and those that do not run in real time."""
_SERVERS = (b"PulseAudio", b"PipeWire")
"""Parts of the names of the plug-ins that play through a sound server."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """Abilities of an output with 16-bit samples. `rate_hz` is the nearest to the requested one; `period_frames` the minimum."""

    channels: int
    rate_hz: int
    period_frames: int
    card: int
    """The kernel's number of the card behind it; -1 if unknown."""
    through_server: bool
    """Whether PulseAudio or PipeWire is between it and the card."""


class FormatError(SinkError):
    """The output does not accept 16-bit samples in one or two channels."""


class Alsa:
    """libasound. Raises `OSError` if it is missing."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libasound.so.2")
        self._library.snd_strerror.restype = ctypes.c_char_p
        for function in ("snd_config_iterator_first", "snd_config_iterator_next", "snd_config_iterator_end", "snd_config_iterator_entry"):
            getattr(self._library, function).restype = ctypes.c_void_p
        self._library.snd_device_name_get_hint.restype = ctypes.c_void_p
        self.silence()
        self._user_config = os.environ.get("ALSA_CONFIG_PATH") or _DEFAULT_CONFIG

    def silence(self) -> None:
        """Keep ALSA from writing to standard error each time an output cannot be opened."""
        self._library.snd_lib_error_set_handler(_ignore_error)

    def add_configuration(self, text: str) -> None:
        """Add configuration to the user's own, replacing earlier additions. The text remains readable for this process only."""
        descriptor = os.memfd_create("avatar-relay-alsa", os.MFD_CLOEXEC)
        os.write(descriptor, text.encode())
        os.environ["ALSA_CONFIG_PATH"] = f"{self._user_config}:/proc/self/fd/{descriptor}"

    def names(self) -> list[tuple[str, str]]:
        """The configured names that can play, each with a description or an empty text. Raises `SinkError`; opens nothing."""
        self._check(self._library.snd_config_update(), "ALSA's configuration cannot be read")
        found = dict(self._hints())
        for name in self._configured():
            found.setdefault(name, "")
        return [(name, text) for name, text in found.items() if name not in _NOT_OUTPUTS]

    def ask(self, pcm: str, rate_hz: int, channel_counts: Sequence[int] = (1, 2)) -> Abilities:
        """The abilities of an output, with the first of these channel counts that it accepts. Opens it briefly.

        Raises `SinkError` with the reason: name, use by others, format, channels, rate.
        """
        handle = ctypes.c_void_p()
        self._check(self._library.snd_pcm_open(ctypes.byref(handle), pcm.encode(), _PLAYBACK, _NONBLOCK), "it cannot be opened")
        parameters = ctypes.c_void_p()
        try:
            self._check(self._library.snd_pcm_hw_params_malloc(ctypes.byref(parameters)), "no memory")
            return self._negotiated(handle, parameters, rate_hz, channel_counts)
        finally:
            if parameters:
                self._library.snd_pcm_hw_params_free(parameters)
            self._library.snd_pcm_close(handle)

    def formats(self, pcm: str) -> list[str]:
        """The sample formats that an output accepts without conversion; none if it cannot be opened."""
        library, handle, parameters = self._library, ctypes.c_void_p(), ctypes.c_void_p()
        library.snd_pcm_format_name.restype = ctypes.c_char_p
        if library.snd_pcm_open(ctypes.byref(handle), pcm.encode(), _PLAYBACK, _NONBLOCK) < 0:
            return []
        try:
            self._check(library.snd_pcm_hw_params_malloc(ctypes.byref(parameters)), "no memory")
            if library.snd_pcm_hw_params_any(handle, parameters) < 0:
                return []
            taken = [number for number in range(_FORMATS) if library.snd_pcm_hw_params_test_format(handle, parameters, number) == 0]
            return [name.decode() for number in taken if (name := library.snd_pcm_format_name(number))]
        finally:
            if parameters:
                library.snd_pcm_hw_params_free(parameters)
            library.snd_pcm_close(handle)

    def _negotiated(self, handle: ctypes.c_void_p, parameters: ctypes.c_void_p, rate_hz: int, channel_counts: Sequence[int]) -> Abilities:
        library = self._library
        any_way = library.snd_pcm_hw_params_any(handle, parameters)
        if any_way < 0 or library.snd_pcm_hw_params_set_format(handle, parameters, _S16_LE) < 0:
            raise FormatError("it does not take 16-bit samples")
        channels = next((count for count in channel_counts if library.snd_pcm_hw_params_set_channels(handle, parameters, count) == 0), 0)
        if not channels:
            raise FormatError(f"it does not take {' or '.join(map(str, channel_counts))} channels")
        rate, direction = ctypes.c_uint(rate_hz), ctypes.c_int()
        error = library.snd_pcm_hw_params_set_rate_near(handle, parameters, ctypes.byref(rate), ctypes.byref(direction))
        self._check(error, f"it takes no rate near {rate_hz} Hz")
        period = ctypes.c_ulong()
        library.snd_pcm_hw_params_get_period_size_min(parameters, ctypes.byref(period), ctypes.byref(direction))
        self._check(library.snd_pcm_hw_params(handle, parameters), f"it does not take 16-bit samples at {rate.value} Hz")
        return Abilities(channels, rate.value, period.value, self._card(handle), self._through_server(handle))

    def _card(self, handle: ctypes.c_void_p) -> int:
        info = ctypes.c_void_p()
        if self._library.snd_pcm_info_malloc(ctypes.byref(info)) < 0:
            return -1
        try:
            return int(self._library.snd_pcm_info_get_card(info)) if self._library.snd_pcm_info(handle, info) == 0 else -1
        finally:
            self._library.snd_pcm_info_free(info)

    def _through_server(self, handle: ctypes.c_void_p) -> bool:
        library, output, text = self._library, ctypes.c_void_p(), ctypes.c_char_p()
        if library.snd_output_buffer_open(ctypes.byref(output)) < 0:
            return False
        library.snd_output_buffer_string.restype = ctypes.c_size_t
        try:
            library.snd_pcm_dump(handle, output)
            size = library.snd_output_buffer_string(output, ctypes.byref(text))
            description = ctypes.string_at(text, size)
        finally:
            library.snd_output_close(output)
        return any(name in description for name in _SERVERS)

    def _hints(self) -> Iterator[tuple[str, str]]:
        hints = ctypes.POINTER(ctypes.c_void_p)()
        if self._library.snd_device_name_hint(-1, b"pcm", ctypes.byref(hints)) < 0:
            return
        try:
            for hint in itertools.takewhile(bool, (hints[index] for index in itertools.count())):
                name, text, direction = (self._hint(hint, key) for key in (b"NAME", b"DESC", b"IOID"))
                if name and direction != "Input":
                    yield name, text.replace("\n", ", ")
        finally:
            self._library.snd_device_name_free_hint(hints)

    def _hint(self, hint: int, key: bytes) -> str:
        value = self._library.snd_device_name_get_hint(ctypes.c_void_p(hint), key)
        if not value:
            return ""
        text = ctypes.string_at(value).decode(errors="replace")
        ctypes.CDLL(None).free(ctypes.c_void_p(value))
        return text

    def _configured(self) -> Iterator[str]:
        """Names that the configuration defines and that have no arguments; ALSA provides no hint for most of them."""
        library, tree = self._library, ctypes.c_void_p.in_dll(self._library, "snd_config")
        pcms, ignored, name = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_char_p()
        if library.snd_config_search(tree, b"pcm", ctypes.byref(pcms)) < 0:
            return
        entry, end = library.snd_config_iterator_first(pcms), library.snd_config_iterator_end(pcms)
        while entry != end:
            node = ctypes.c_void_p(library.snd_config_iterator_entry(ctypes.c_void_p(entry)))
            has_type, takes_arguments = (library.snd_config_search(node, key, ctypes.byref(ignored)) == 0 for key in (b"type", b"@args"))
            if has_type and not takes_arguments and library.snd_config_get_id(node, ctypes.byref(name)) == 0 and name.value:
                yield name.value.decode(errors="replace")
            entry = library.snd_config_iterator_next(ctypes.c_void_p(entry))

    def _check(self, result: int, problem: str) -> None:
        if result < 0:
            reason = self._library.snd_strerror(result).decode(errors="replace")
            raise SinkError(f"{problem}: {reason}")


@contextlib.contextmanager
def quiet_standard_error() -> Iterator[None]:
    """Discard output of C libraries to standard error: JACK's client writes tens of lines if no server runs."""
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
