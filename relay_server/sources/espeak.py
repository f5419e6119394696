"""libespeak-ng by ctypes: text to samples, with timed phonemes.

The library keeps its state in globals and is not re-entrant: one lock serves the whole process, and one call speaks one short piece, so
that other callers do not wait long. Its behaviour is that of `speak_lib.h` (API revision 12): synchronous mode calls back on the caller's
thread; a phoneme event names the sample at which the phoneme begins; with `PHONEME_IPA` its name is UTF-8 in 8 bytes, not terminated if it
fills them, and empty for a pause.
"""

from __future__ import annotations

import ctypes
import difflib
import re
import threading
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay_server.sources.coarticulation import Phoneme

LIBRARY = "libespeak-ng.so.1"
RATES, PITCHES = (80, 450), (0, 100)
"""Ranges that the library accepts: words per minute, and pitch."""
MAX_PIECE_SECONDS = 120
"""A piece of speech longer than this is cut off. No text of `MAX_PIECE_CHARACTERS` should reach it."""

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS = 0x0001
_INITIALIZE_PHONEME_IPA = 0x0002
_INITIALIZE_DONT_EXIT = 0x8000
_BUFFER_MS = 200
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_SSML = 0x10
_ENDPAUSE = 0x1000
_RATE, _PITCH = 1, 3
_EVENT_LIST_TERMINATED = 0
_EVENT_PHONEME = 7
_ABORT = 1
_MARKS = re.compile(r"[ˈˌ]|\([^)]*\)?")
"""Non-phonemes in phoneme events: stress marks (since espeak-ng 1.52), and language switches such as `(en)`."""

_NO_SOUNDS = "ː0123456789"
"""Characters that some languages have as separate phoneme events: the length of the preceding sound, and its tone."""


class EspeakError(Exception):
    """The library is missing or reports an error; the text names the remedy."""


class VoiceError(EspeakError):
    """The voice does not exist."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice: `name`, such as `de` or `en-us+f3`; `rate` in words per minute (80 to 450); `pitch` from 0 to 100."""

    name: str = "en-us"
    rate: int = 175
    pitch: int = 50


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """A spoken piece: mono samples, and its phonemes without gaps; times are relative to its first sample."""

    rate_hz: int
    samples: NDArray[np.int16]
    phonemes: tuple[Phoneme, ...]


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_void_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


class _VoiceRecord(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("unused", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))

_lock = threading.Lock()
_library: Espeak | None = None


def load() -> Espeak:
    """The single library instance of the process, initialised at the first call, which blocks for ~50 ms. Raises `EspeakError`."""
    global _library  # the library itself is global to the process: a second initialisation would disturb the first
    with _lock:
        if _library is None:
            _library = Espeak()
        return _library


class Espeak:
    """The initialised library; use `load` to get the only instance."""

    def __init__(self) -> None:
        try:
            self._lib: Any = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise EspeakError(f"{LIBRARY} cannot be loaded: install Debian's libespeak-ng1 and espeak-ng-data") from error
        self._lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceRecord))
        options = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_PHONEME_IPA | _INITIALIZE_DONT_EXIT
        self.rate_hz = int(self._lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, None, options))
        if self.rate_hz <= 0:
            raise EspeakError("espeak-ng finds no voice data: install Debian's espeak-ng-data")
        # Referenced for as long as the library, which calls it.
        self._callback = _Callback(self._on_samples)
        self._lib.espeak_SetSynthCallback(self._callback)
        self._samples: list[NDArray[np.int16]] = []
        self._frames = 0
        self._starts: list[tuple[int, str]] = []

    def speak(self, text: str, voice: Voice, *, is_ssml: bool = False) -> Spoken:
        """Speak one piece. Blocks its thread; other callers wait. Raises `VoiceError` for an unknown voice, else `EspeakError`."""
        encoded = text.encode("utf-8", "replace").replace(b"\0", b" ") + b"\0"
        with _lock:
            self._samples, self._frames, self._starts = [], 0, []
            if not self._has_variant(voice.name) or self._lib.espeak_SetVoiceByName(voice.name.encode()) != 0:
                raise VoiceError(f"espeak-ng has no voice {voice.name[:64]!r}{self._near(voice.name)}")
            self._lib.espeak_SetParameter(_RATE, voice.rate, 0)
            self._lib.espeak_SetParameter(_PITCH, voice.pitch, 0)
            flags = _CHARS_UTF8 | _ENDPAUSE | (_SSML if is_ssml else 0)
            status = self._lib.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, _POS_CHARACTER, 0, flags, None, None)
            if status != 0:
                raise EspeakError(f"espeak-ng refused to speak (status {status})")
            samples = np.concatenate(self._samples) if self._samples else np.zeros(0, np.int16)
            return Spoken(self.rate_hz, samples, phonemes_of(self._starts, samples.size, self.rate_hz))

    def _has_variant(self, name: str) -> bool:
        """Whether the variant in a voice's name exists: the library would silently speak without an unknown one."""
        base, plus, variant = name.partition("+")
        return bool(base) and (not plus or (bool(variant) and variant in self._variants()))

    def _near(self, name: str) -> str:
        """A hint with similar voice names, and how to list all."""
        base, plus, variant = name.partition("+")
        voices = self._voices(None)
        if plus and base.lower() in voices:
            near = [f"{base}+{one}" for one in difflib.get_close_matches(variant, self._variants(), 3)]
        else:
            known = {code: code for code in voices} | {full.lower(): code for code, full in voices.items()}
            found = difflib.get_close_matches(base.lower(), known, 3) or [code for code in voices if code.startswith(base[:2].lower())][:3]
            near = list(dict.fromkeys(known[one] for one in found))
        hint = f"; did you mean {' or '.join(near)}? All are listed" if near else "; those that are installed are listed"
        return f"{hint} by `espeak-ng --voices`, in the columns Language and File"

    def _variants(self) -> list[str]:
        return [identifier.removeprefix("!v/") for identifier in self._voices(_VoiceRecord(languages=b"variant"))]

    def _voices(self, wanted: _VoiceRecord | None) -> dict[str, str]:
        """Full names by language; for variants, by file."""
        listed = self._lib.espeak_ListVoices(None if wanted is None else ctypes.byref(wanted))
        found: dict[str, str] = {}
        for index in count():
            if not listed[index]:
                return found
            record = listed[index].contents
            key = record.identifier if wanted is not None else record.languages[1:]  # the language is preceded by its priority
            found[key.decode()] = record.name.decode()
        return found

    def _on_samples(self, wave: Any, frames: int, events: Any) -> int:
        if wave and frames > 0:
            self._samples.append(np.ctypeslib.as_array(wave, (frames,)).copy())
            self._frames += frames
        index = 0
        while events[index].type != _EVENT_LIST_TERMINATED:
            event = events[index]
            if event.type == _EVENT_PHONEME:
                self._starts.append((event.sample, event.id.string.decode("utf-8", "ignore")))
            index += 1
        return _ABORT if self._frames > MAX_PIECE_SECONDS * self.rate_hz else 0


def phonemes_of(starts: list[tuple[int, str]], frames: int, rate_hz: int) -> tuple[Phoneme, ...]:
    """The phonemes of `frames` samples, from events of (first sample, text).

    Each phoneme lasts until the next begins; a pause precedes the first. Stress marks are removed. An event that consists of marks only is
    not a phoneme: the previous one continues.
    """
    sounds = [(start, _MARKS.sub("", text)) for start, text in starts]
    sounds = [sound for sound, (_, text) in zip(sounds, starts, strict=True) if sound[1].strip(_NO_SOUNDS) or not text]
    edges = [(0, ""), *sorted(sounds, key=lambda start: start[0]), (frames, "")]
    return tuple(
        Phoneme(ipa, start / rate_hz, min(end, frames) / rate_hz) for (start, ipa), (end, _) in pairwise(edges) if start < min(end, frames)
    )
