"""Phonemes of the International Phonetic Alphabet, and the mouths that say them.

Phonemes that look alike on the lips share a viseme. Values were set by eye after the usual viseme charts (lips closed
for p b m, lower lip at the teeth for f v, rounded for w u o, spread for i e); vowels follow the vowel chart: the more
open the vowel, the further the jaw.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from avatar_relay.mouth.shapes import Mouths, mouth

CLOSING_S = 0.045
"""Time in which lips close, and in which they open again. Slower, short vowels between two closures are not seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Viseme:
    """A mouth, and how strongly it holds against its neighbours (0 to 1).

    `closes` marks lips that touch, or a lip that touches the teeth: reached whatever the neighbours ask for.
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
    (LIPS_TOGETHER, "pbmɓɸβʙ"),
    (_TEETH_LIP, "fvɱʋⱱ"),
    (_TEETH_TONGUE, "θð"),
    (_TONGUE_TIP, "tdnlɾrɗɫʈɖɳɭɽɬɮɺ"),
    (_TONGUE_BACK, "kgɡŋxɣqɢɴχʁʀcɟɲçʝjʎɰʄɠʛħʕʡ"),
    (_HISS, "szʦʣ"),
    (_HUSH, "ʃʒʂʐɕʑʧʤ"),
    (_R, "ɹɻɚɝ"),
    (_W, "wʍɥ"),
    (_BREATH, "hɦʔ"),
    (_OPEN, "aɑɐ"),
    (_HALF_OPEN, "æɛʌɜɞ"),
    (_MIDDLE, "əɘɵɤɨʉᵻᵊ"),
    (_SPREAD, "iɪyʏ"),
    (_HALF_SPREAD, "eø"),
    (_ROUND, "oœ"),
    (_TIGHT_ROUND, "uʊɯ"),
    (_OPEN_ROUND, "ɔɒɶ"),
)
_VISEME_OF = {letter: viseme for viseme, letters in _LETTERS for letter in letters}

BILABIALS = frozenset("pbmɓ")
"""Letters of phonemes for which the lips touch."""


def visemes_of(ipa: str) -> tuple[Viseme, ...]:
    """The mouths of one phoneme, one after the other: two for a diphthong, one silence for a pause.

    Length, stress and tone marks are left out; an affricate (t + ʃ) is its fricative; a letter that is not known
    is said in the middle.
    """
    letters = _letters(ipa)
    if not letters:
        return (SILENCE,)
    found = tuple(_VISEME_OF.get(letter, _MIDDLE) for letter in letters)
    if len(found) == 2 and found[0] is _TONGUE_TIP and found[1] in (_HISS, _HUSH):
        return found[1:]
    return found


def is_bilabial(ipa: str) -> bool:
    """Whether the lips touch for this phoneme."""
    return _letters(ipa)[:1] in BILABIALS


def is_vowel(ipa: str) -> bool:
    """Whether the phoneme begins with a vowel."""
    return visemes_of(ipa)[0].vowel


def _letters(ipa: str) -> str:
    """The phoneme without its length, stress and tone marks."""
    return "".join(letter for letter in ipa if unicodedata.category(letter) in ("Ll", "Lo"))
