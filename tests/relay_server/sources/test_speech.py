"""Source `speech`: text spoken by espeak-ng. Uses the real library; skips if it is not installed."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar_relay.media import Codec, Pacing
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, MOTION_FORMAT
from avatar_relay.reasons import Reason
from relay_server.sources import espeak
from relay_server.sources.coarticulation import Phoneme
from relay_server.sources.espeak import Espeak, EspeakError, Spoken, Voice, VoiceError, phonemes_of
from relay_server.sources.source import NO_WISH, FileSpeech, SourceError, TextSpeech, VoiceWish
from relay_server.sources.speech import MAX_PIECE_CHARACTERS, MAX_TEXT_CHARACTERS, SpeechSource, split_text
from tests.lab.mouth.lip_opening import OPEN_FROM, SHUT_BELOW, lip_opening
from tests.relay_server.sources.performances import assert_motion_is_in_time, read_all


@pytest.fixture(scope="module")
def library() -> Espeak:
    """The real library."""
    try:
        return espeak.load()
    except EspeakError as error:
        pytest.skip(str(error))


def test_phonemes_and_their_times(library: Espeak) -> None:
    """Phonemes follow one another without gaps, from the first sample to the last."""
    spoken = library.speak("Bob.", Voice("en-us"))
    assert [phoneme.ipa for phoneme in spoken.phonemes if phoneme.ipa] == ["b", "ɑː", "b"]
    assert spoken.phonemes[0].start_s == 0.0
    assert spoken.phonemes[-1].end_s == pytest.approx(spoken.samples.size / spoken.rate_hz)
    assert all(a.end_s == b.start_s for a, b in pairwise(spoken.phonemes))


def test_stress_and_language_marks_are_no_phonemes() -> None:
    """espeak-ng 1.52 writes stress within phonemes; a language switch is an event in all versions."""
    starts = [(0, "b"), (10, "ˈɑː"), (20, "(en)"), (30, "ˌm"), (40, ""), (50, "(de)")]
    assert phonemes_of(starts, 60, 10) == (Phoneme("b", 0, 1), Phoneme("ɑː", 1, 3), Phoneme("m", 3, 4), Phoneme("", 4, 6))


def test_a_length_or_a_tone_that_comes_alone_is_no_phoneme() -> None:
    """Some languages report them separately; the sound before continues."""
    starts = [(0, "a"), (10, "ː"), (20, "51"), (30, "ʲ")]
    assert phonemes_of(starts, 40, 10) == (Phoneme("a", 0, 3), Phoneme("ʲ", 3, 4))


def test_words_of_another_language(library: Espeak) -> None:
    """The marker of the switch from German to English does not move the mouth."""
    phonemes = [phoneme.ipa for phoneme in library.speak("Der Download ist fertig.", Voice("de")).phonemes]
    assert "aʊ" in phonemes
    assert [ipa for ipa in phonemes if "(" in ipa] == []


def test_phoneme_times_are_those_of_the_sound(library: Espeak) -> None:
    """The vowel of "sass" is loud at its phoneme's time, the hisses around it are unvoiced."""
    spoken = library.speak("sass", Voice("en-us"))
    (vowel,) = [phoneme for phoneme in spoken.phonemes if phoneme.ipa.startswith("æ")]
    power = spoken.samples.astype(np.float64) ** 2
    times = np.arange(power.size) / spoken.rate_hz
    inside = (times > vowel.start_s + 0.03) & (times < vowel.end_s - 0.03)
    outside = (times < vowel.start_s - 0.03) | (times > vowel.end_s + 0.03)
    assert power[inside].mean() > 10 * power[outside].mean()


def test_unknown_voice(library: Espeak) -> None:
    """The error names the missing voice."""
    with pytest.raises(EspeakError, match="no voice 'klingon-7'"):
        library.speak("Hello.", Voice("klingon-7"))


def test_library_survives_an_unknown_voice(library: Espeak) -> None:
    """The next one speaks."""
    with pytest.raises(EspeakError):
        library.speak("Hello.", Voice("klingon-7"))
    assert library.speak("Hello.", Voice("en-us")).samples.any()


@pytest.mark.parametrize(
    "text", ["\0\0", "😀", "<speak><audio src='/etc/passwd'/></speak>", "[[b@b]]", "\ud800", "﷽" * 50, "a" * 300, "( ) - ..."]
)
def test_strange_text_is_harmless(library: Espeak, text: str) -> None:
    """Text is plain text: no markup, no phoneme codes, nothing that hangs."""
    spoken = library.speak(text, Voice("en-us"))
    assert spoken.samples.size < 120 * spoken.rate_hz


@pytest.mark.usefixtures("library")
async def test_performance() -> None:
    """PCM at the library's rate and weights, in bursts, of equal length, motion in time."""
    performance = await SpeechSource().perform(TextSpeech("My lips move. Maybe you see it!"))
    assert performance.audio_format.codec is Codec.PCM_S16LE
    assert performance.audio_format.sample_rate_hz == espeak.load().rate_hz
    assert performance.motion_format == MOTION_FORMAT
    assert performance.pacing is Pacing.BURST
    performed = await assert_motion_is_in_time(performance)
    opening = lip_opening(performed.rows(len(BLENDSHAPE_NAMES)))
    assert opening.max() > OPEN_FROM
    assert opening[-5:].max() < SHUT_BELOW


class PlainEspeak:
    """Speaks each character of a piece as 1,000 samples of its code, without the jitter of the real library."""

    def rate(self) -> int:
        """Same as the real rate."""
        return 22_050

    def speak(self, text: str, voice: Voice, *, is_ssml: bool = False) -> Spoken:
        """Speak a piece; the voice is ignored."""
        samples = np.repeat(np.array([ord(letter) for letter in text], np.int16), 1_000)
        return Spoken(self.rate(), samples, (Phoneme("a", 0.0, samples.size / self.rate()),))


async def test_no_sample_is_lost_between_pieces() -> None:
    """The sound is that of all pieces in sequence, and motion is in time across their borders."""
    source = SpeechSource(Voice("en-us"), PlainEspeak())
    performed = await assert_motion_is_in_time(await source.perform(TextSpeech("One. Two three! Four?")))
    assert performed.audio == PlainEspeak().speak("One.Two three!Four?", Voice()).samples.astype("<i2").tobytes()


@pytest.mark.usefixtures("library")
async def test_many_speak_at_once() -> None:
    """The library is not re-entrant; conversations do not mix: each has the same mouth motion as if alone.

    Nearly: the library's voice has jitter; times differ by a few samples between calls.
    """
    texts = ["One, two, three.", "Bob and my mother.", "Good evening."]
    source = SpeechSource()

    async def opening(text: str) -> NDArray[np.float64]:
        performed = await read_all(await source.perform(TextSpeech(text)))
        return lip_opening(performed.rows(len(BLENDSHAPE_NAMES)))

    together = await asyncio.gather(*[opening(text) for text in texts * 3])
    alone = [await opening(text) for text in texts] * 3
    for one, other in zip(together, alone, strict=True):
        frames = min(one.size, other.size)
        assert abs(one.size - other.size) <= 1
        assert np.corrcoef(one[:frames], other[:frames])[0, 1] > 0.95


@pytest.mark.usefixtures("library")
async def test_another_voice_speaks_another_language() -> None:
    """The voice is a setting of the source."""
    english = await read_all(await SpeechSource(Voice("en-us")).perform(TextSpeech("Guten Tag")))
    german = await read_all(await SpeechSource(Voice("de")).perform(TextSpeech("Guten Tag")))
    assert english.motion != german.motion


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("speech", "text"),
    [
        (TextSpeech(""), "nothing that can be spoken"),
        (TextSpeech(" \n\t \x00 "), "nothing that can be spoken"),
        (TextSpeech("a" * (MAX_TEXT_CHARACTERS + 1)), "5001 characters; at most 5000"),
        (FileSpeech(Path("a.wav")), "takes text, not a file"),
    ],
)
async def test_speech_that_can_not_be_spoken(speech: TextSpeech | FileSpeech, text: str) -> None:
    """Refused before anything is started."""
    with pytest.raises(SourceError, match=text) as caught:
        await SpeechSource().perform(speech)
    assert caught.value.fault.reason is Reason.SPEECH_MISSING


@pytest.mark.usefixtures("library")
async def test_unknown_voice_fails_the_performance() -> None:
    """With its own reason, and likely intended names."""
    performance = await SpeechSource(Voice("klingon-7")).perform(TextSpeech("Hello"))
    with pytest.raises(SourceError, match="no voice") as caught:
        await read_all(performance)
    assert caught.value.fault.reason is Reason.VOICE_INVALID


@pytest.mark.parametrize(
    ("name", "near"),
    [("germn", "did you mean de"), ("en-ux", "en-us"), ("de+f33", "de+f3"), ("xx", "espeak-ng --voices"), ("", "espeak-ng --voices")],
)
def test_an_unknown_voice_is_refused_with_near_matches(library: Espeak, name: str, near: str) -> None:
    """A language is accepted by name or code; the library itself would silently ignore an unknown variant."""
    with pytest.raises(VoiceError, match=re.escape(near)):
        library.speak("Hello.", Voice(name))
    assert library.speak("Hello.", Voice("de+f3")).samples.size


@pytest.mark.usefixtures("library")
async def test_rate_and_pitch_are_the_speechs_or_the_sources() -> None:
    """Twice the words in less time; a value out of range is refused before anything is started."""

    async def bytes_of(wish: VoiceWish, voice: Voice | None = None) -> int:
        performed = await read_all(await SpeechSource(voice).perform(TextSpeech("One, two, three, four.", wish)))
        return len(performed.audio)

    slow, fast = await bytes_of(VoiceWish(rate=80)), await bytes_of(VoiceWish(rate=350))
    assert fast < 0.5 * slow
    assert abs(await bytes_of(NO_WISH, Voice(rate=350)) - fast) < 0.05 * fast
    for wish in (VoiceWish(rate=451), VoiceWish(rate=0), VoiceWish(pitch=101)):
        with pytest.raises(SourceError) as caught:
            await SpeechSource().perform(TextSpeech("Hello", wish))
        assert caught.value.fault.reason is Reason.VOICE_INVALID


@pytest.mark.usefixtures("library")
async def test_ssml_is_spoken_in_one_piece() -> None:
    """Its pauses are audible, its tags are not; without the SSML flag the same text is read out."""
    text = '<speak>One. <break time="2s"/> Two.</speak>'
    performed = await read_all(await SpeechSource().perform(TextSpeech(text, is_ssml=True)))
    plain = await read_all(await SpeechSource().perform(TextSpeech("One. Two.")))
    assert len(performed.audio) - len(plain.audio) == pytest.approx(2 * 2 * espeak.load().rate_hz, rel=0.3)
    with pytest.raises(SourceError, match="2001 characters; at most 2000"):
        await SpeechSource().perform(TextSpeech("a" * 2_001, is_ssml=True))


async def test_a_phoneme_of_which_nothing_is_known_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """By its letter, once over all conversations."""

    class Strange(PlainEspeak):
        def speak(self, text: str, voice: Voice, *, is_ssml: bool = False) -> Spoken:
            return replace(super().speak(text, voice), phonemes=(Phoneme("ჸ", 0.0, 0.1),))

    source = SpeechSource(Voice("xx"), Strange())
    for _ in range(2):
        await read_all(await source.perform(TextSpeech("One. Two.")))
    assert [record.getMessage() for record in caplog.records] == ["voice xx: unknown phoneme 'ჸ'; the mouth is half open for it"]


class MissingEspeak(PlainEspeak):
    """The library is not installed."""

    def rate(self) -> int:
        """Always fails."""
        raise EspeakError("libespeak-ng.so.1 cannot be loaded: install Debian's libespeak-ng1 and espeak-ng-data")


async def test_missing_library() -> None:
    """The error names the package to install."""
    with pytest.raises(SourceError, match="install Debian's libespeak-ng1") as caught:
        await SpeechSource(Voice("en-us"), MissingEspeak()).perform(TextSpeech("Hello"))
    assert caught.value.fault.reason is Reason.SOURCE_FAILED


@given(st.text(max_size=2_000))
def test_pieces_are_short_and_hold_all_words(text: str) -> None:
    """Words may be cut but are never lost."""
    pieces = list(split_text(text))
    assert all(0 < len(piece) <= MAX_PIECE_CHARACTERS for piece in pieces)

    def letters(value: str) -> str:
        return "".join(letter for letter in value if letter.isalnum())

    assert letters("".join(pieces)) == letters(text)


def test_sentences_are_pieces() -> None:
    """The first sound is therefore early."""
    assert list(split_text("One. Two three!\nFour")) == ["One.", "Two three!", "Four"]
