"""Phonemes of the International Phonetic Alphabet, and their mouths.

Phonemes that look alike on the lips share a viseme. Values were set by eye after the usual viseme charts (lips closed for p b m, lower lip
at the teeth for f v, rounded for w u o, spread for i e); vowels follow the vowel chart: the more open the vowel, the further the jaw.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from avatar_relay.mouth.shapes import Mouths, mouth

CLOSING_S = 0.045
"""Time in which lips close, and in which they open again. If it were longer, short vowels between two closures would be invisible."""


@dataclass(frozen=True, slots=True, eq=False)
class Viseme:
    """A mouth, and its dominance over its neighbours (0 to 1).

    `closes` marks lips that touch, or a lip that touches the teeth: reached regardless of the neighbours.
    """

    name: str
    mouth: Mouths
    strength: float
    closes: bool = False
    vowel: bool = False


SILENCE = Viseme("silence", mouth(), 1.0)
LIPS_TOGETHER = Viseme("lips", mouth(0.06, close=0.06, press=0.3, roll_lower=0.12, roll_upper=0.10), 1.0, closes=True)
_TEETH_LIP = Viseme("teeth-lip", mouth(0.07, upper=0.22, roll_lower=0.55, smile=0.05), 0.9, closes=True)
_TEETH_TONGUE = Viseme("teeth-tongue", mouth(0.14, lower=0.18, upper=0.10), 0.5)
_TONGUE_TIP = Viseme("tongue-tip", mouth(0.13, lower=0.16, upper=0.05), 0.25)
_TONGUE_BACK = Viseme("tongue-back", mouth(0.16, lower=0.08), 0.15)
_HISS = Viseme("hiss", mouth(0.06, lower=0.30, upper=0.12, stretch=0.22), 0.6)
_HUSH = Viseme("hush", mouth(0.09, funnel=0.50, pucker=0.25, lower=0.10), 0.8)
_R = Viseme("r", mouth(0.15, funnel=0.28, pucker=0.28), 0.5)
_W = Viseme("w", mouth(0.07, funnel=0.15, pucker=0.80), 0.9)
_BREATH = Viseme("breath", mouth(0.20), 0.08)
_OPEN = Viseme("open", mouth(0.62, lower=0.22, upper=0.08), 0.8, vowel=True)
_HALF_OPEN = Viseme("half-open", mouth(0.46, lower=0.22, upper=0.10, stretch=0.15), 0.7, vowel=True)
_MIDDLE = Viseme("middle", mouth(0.33, lower=0.15, upper=0.05), 0.5, vowel=True)
_SPREAD = Viseme("spread", mouth(0.20, lower=0.20, upper=0.10, stretch=0.32, smile=0.25), 0.7, vowel=True)
_HALF_SPREAD = Viseme("half-spread", mouth(0.28, lower=0.20, upper=0.08, stretch=0.20, smile=0.10), 0.6, vowel=True)
_ROUND = Viseme("round", mouth(0.38, funnel=0.40, pucker=0.35), 0.8, vowel=True)
_TIGHT_ROUND = Viseme("tight-round", mouth(0.20, funnel=0.30, pucker=0.65), 0.8, vowel=True)
_OPEN_ROUND = Viseme("open-round", mouth(0.52, funnel=0.28, pucker=0.15, lower=0.10), 0.8, vowel=True)

_LETTERS: tuple[tuple[Viseme, str], ...] = (
    (LIPS_TOGETHER, "pbmɓɸφβʙʘ"),
    (_TEETH_LIP, "fvɱʋⱱ"),
    (_TEETH_TONGUE, "θð"),
    (_TONGUE_TIP, "tdnlɾrɗɫʈɖɳɭɽɬɮɺǀǃǂǁᶑ"),
    (_TONGUE_BACK, "kgɡŋxɣqɢɴχʁʀcɟɲçʝjʎɰʄɠʛħʕʡʜʢʟ"),
    (_HISS, "szʦʣ"),
    (_HUSH, "ʃʒʂʐɕʑʧʤɧʨʥ"),
    (_R, "ɹɻɚɝ"),
    (_W, "wʍɥ"),
    (_BREATH, "hɦʔ"),
    (_OPEN, "aɑɐ"),
    (_HALF_OPEN, "æɛεʌɜɞ"),
    (_MIDDLE, "əɘɵɤɨʉᵻᵊ"),
    (_SPREAD, "iɪyʏɿʅʮʯ"),
    (_HALF_SPREAD, "eø"),
    (_ROUND, "oœ"),
    (_TIGHT_ROUND, "uʊɯ"),
    (_OPEN_ROUND, "ɔɒɶ"),
)
_VISEME_OF = {letter: viseme for viseme, letters in _LETTERS for letter in letters}
_OF_MARKS = {"ᵐ": LIPS_TOGETHER, "ⁿ": _TONGUE_TIP, "ʷ": _W, "ʰ": _BREATH, "ʱ": _BREATH, "?": _BREATH} | dict.fromkeys("ʲᵑˠˤ", _TONGUE_BACK)
"""Marks that espeak-ng reports as separate phonemes; `?` is its glottal stop in some languages."""
_BASE = re.compile(r"(?:LATIN|CYRILLIC|GREEK).* (?:LETTER|CAPITAL) (?:\w+ )*?([A-Z])(?: WITH.*)?")
"""A letter's Unicode name, such as LATIN SMALL LETTER P WITH HOOK: a variant has its base's place of articulation."""

BILABIALS = frozenset("pbmɓ")
"""Letters of phonemes for which the lips touch."""


def visemes_of(ipa: str) -> tuple[Viseme, ...]:
    """The mouths of one phoneme, in order: two for a diphthong, one silence for a pause.

    Length, stress and tone marks are left out; an affricate (t + ʃ) is its fricative. A letter without a viseme is shaped like its base
    letter, which has the same place of articulation, or the same height and rounding; see `unknown_letters` for the rest. A separate
    secondary articulation, such as a ʲ after its consonant, has a shape too.
    """
    letters = _letters(ipa)
    if not letters:
        return (next((_OF_MARKS[mark] for mark in ipa if mark in _OF_MARKS), SILENCE),)
    found = tuple(_viseme_of(letter) or _MIDDLE for letter in letters)
    if len(found) == 2 and found[0] is _TONGUE_TIP and found[1] in (_HISS, _HUSH):
        return found[1:]
    return found


def is_bilabial(ipa: str) -> bool:
    """Whether the lips touch for this phoneme."""
    return _letters(ipa)[:1] in BILABIALS


def is_vowel(ipa: str) -> bool:
    """Whether the phoneme begins with a vowel."""
    return visemes_of(ipa)[0].vowel


def unknown_letters(ipa: str) -> str:
    """The letters of a phoneme without a known shape: the mouth is half open for them."""
    return "".join(letter for letter in _letters(ipa) if _viseme_of(letter) is None)


def _viseme_of(letter: str) -> Viseme | None:
    if letter not in _VISEME_OF and (base := _BASE.fullmatch(unicodedata.name(letter, ""))):
        return _VISEME_OF.get(base[1].lower())
    return _VISEME_OF.get(letter)


def _letters(ipa: str) -> str:
    """The phoneme without its length, stress, tone and other marks, also those precomposed with their letter."""
    split = "".join(letter if letter in _VISEME_OF else unicodedata.normalize("NFD", letter) for letter in ipa.lower())
    return "".join(letter for letter in split if unicodedata.category(letter) in ("Ll", "Lo"))
