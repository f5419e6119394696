"""Source `speech`: text spoken by espeak-ng, whose phoneme times drive the mouth.

The text is spoken piece by piece (a sentence, or as much of it as fits), so that the first sound comes at once and other conversations do
not wait long for the library.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator

import numpy as np

from avatar_relay.media import AudioFormat, Codec, Pacing
from avatar_relay.mouth.shapes import KEYFRAMES_PER_SECOND, MOTION_FORMAT, to_weights
from avatar_relay.mouth.visemes import unknown_letters
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.coarticulation import Phoneme, keyframes
from relay_server.sources.espeak import PITCHES, RATES, EspeakError, Voice, VoiceError
from relay_server.sources.interleave import Interleaver
from relay_server.sources.source import AudioChunk, MotionChunk, Performance, SourceError, Speech, TextSpeech, VoiceWish
from relay_server.sources.synthesiser import Synthesiser, shared

MAX_TEXT_CHARACTERS = 5_000
"""About six minutes of speech."""
MAX_SSML_CHARACTERS = 2_000
"""SSML cannot be split: it is one piece, of at most two minutes."""
MAX_PIECE_CHARACTERS = 300
"""About twenty seconds of speech, synthesised in about 50 ms."""

_SENTENCE_END = re.compile(r"(?<=[.!?;:…؟।])\s+|(?<=[。！？；])|\n+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

logger = logging.getLogger(__name__)


class SpeechSource:
    """Speaks text with a voice of espeak-ng (`en-us`, `de`, `cmn`, …): `voice`, unless the speech names another."""

    name = "speech"

    def __init__(self, voice: Voice | None = None, synthesiser: Synthesiser | None = None) -> None:
        self._voice = voice or Voice()
        self._synthesiser = synthesiser or shared()
        self._told: set[str] = set()
        """Letters of phonemes without a mouth shape that were logged."""

    async def perform(self, speech: Speech) -> Performance:
        """Begin to speak; pieces are synthesised as they are read. Raises `SourceError`."""
        if not isinstance(speech, TextSpeech):
            raise SourceError(Fault(Reason.SPEECH_MISSING, "the source speech takes text, not a file", "text"))
        longest = MAX_SSML_CHARACTERS if speech.is_ssml else MAX_TEXT_CHARACTERS
        if len(speech.text) > longest:
            text = f"the text has {len(speech.text)} characters; at most {longest} are spoken at a time"
            raise SourceError(Fault(Reason.SPEECH_MISSING, text, "text"))
        pieces = [speech.text] if speech.is_ssml else list(split_text(speech.text))
        if not pieces:
            raise SourceError(Fault(Reason.SPEECH_MISSING, "the text holds nothing that can be spoken", "text"))
        voice = _voice_of(speech.voice, self._voice)
        try:
            rate_hz = await asyncio.to_thread(self._synthesiser.rate)
        except EspeakError as error:
            raise SourceError(Fault(Reason.SOURCE_FAILED, str(error))) from error
        audio_format = AudioFormat(Codec.PCM_S16LE, rate_hz)
        return Performance(
            audio_format,
            MOTION_FORMAT,
            Pacing.BURST,
            self._items(rate_hz, pieces, voice, is_ssml=speech.is_ssml),
        )

    async def _items(self, rate_hz: int, pieces: list[str], voice: Voice, *, is_ssml: bool) -> AsyncIterator[AudioChunk | MotionChunk]:
        out = Interleaver(rate_hz, KEYFRAMES_PER_SECOND)
        frames = rows = 0
        for piece in pieces:
            try:
                spoken = await asyncio.to_thread(self._synthesiser.speak, piece, voice, is_ssml=is_ssml)
            except VoiceError as error:
                raise SourceError(Fault(Reason.VOICE_INVALID, str(error), "voice")) from error
            except EspeakError as error:
                raise SourceError(Fault(Reason.SOURCE_FAILED, str(error))) from error
            offset_s = frames / spoken.rate_hz
            frames += spoken.samples.size
            times = np.arange(rows, round(frames / spoken.rate_hz * KEYFRAMES_PER_SECOND)) / KEYFRAMES_PER_SECOND
            rows += times.size
            phonemes = [Phoneme(p.ipa, p.start_s + offset_s, p.end_s + offset_s) for p in spoken.phonemes]
            self._tell_unknown(phonemes, voice.name)
            out.push_motion(to_weights(keyframes(phonemes, times)))
            out.push_audio(spoken.samples)
            for item in out.take():
                yield item
        if not frames:
            raise SourceError(Fault(Reason.SPEECH_MISSING, "espeak-ng finds nothing in the text that it can speak", "text"))
        for item in out.take(ended=True):
            yield item

    def _tell_unknown(self, phonemes: list[Phoneme], voice: str) -> None:
        for phoneme in phonemes:
            if letters := set(unknown_letters(phoneme.ipa)) - self._told:
                self._told |= letters
                logger.warning("voice %s: unknown phoneme %r; the mouth is half open for it", voice, phoneme.ipa)


def _voice_of(wish: VoiceWish, default: Voice) -> Voice:
    """The voice for `wish`, with defaults. Raises `SourceError` for a rate or a pitch outside espeak-ng's range."""
    voice = Voice(
        default.name if wish.name is None else wish.name,
        default.rate if wish.rate is None else wish.rate,
        default.pitch if wish.pitch is None else wish.pitch,
    )
    for name, value, (low, high) in (("rate", voice.rate, RATES), ("pitch", voice.pitch, PITCHES)):
        if not low <= value <= high:
            raise SourceError(Fault(Reason.VOICE_INVALID, f"a {name} of {value}; it must lie between {low} and {high}", name))
    return voice


def split_text(text: str) -> Iterator[str]:
    """Split text into pieces of at most `MAX_PIECE_CHARACTERS`, after sentences if possible, else between words."""
    for sentence in _SENTENCE_END.split(_CONTROL.sub(" ", text)):
        rest = sentence.strip()
        while len(rest) > MAX_PIECE_CHARACTERS:
            cut = rest.rfind(" ", 1, MAX_PIECE_CHARACTERS)
            cut = cut if cut > 0 else MAX_PIECE_CHARACTERS
            yield rest[:cut]
            rest = rest[cut:].strip()
        if rest:
            yield rest
