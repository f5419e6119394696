"""Phonemes and their mouth shapes."""

from __future__ import annotations

import pytest

from avatar_relay.mouth.shapes import to_weights
from avatar_relay.mouth.visemes import LIPS_TOGETHER, SILENCE, is_bilabial, is_vowel, unknown_letters, visemes_of
from tests.lab.mouth.lip_opening import OPEN_FROM, SHUT_BELOW, lip_opening


def opening(ipa: str) -> float:
    """Lip opening of a phoneme's first mouth."""
    return float(lip_opening(to_weights(visemes_of(ipa)[0].mouth)))


@pytest.mark.parametrize("ipa", ["p", "b", "m", "pʰ", "mː", "bʲ", "ˈm"])
def test_bilabials_close_the_lips(ipa: str) -> None:
    """Length, stress and other marks have no effect."""
    assert visemes_of(ipa)[0] is LIPS_TOGETHER
    assert is_bilabial(ipa)
    assert opening(ipa) < SHUT_BELOW


@pytest.mark.parametrize("ipa", ["a", "ɑː", "iː", "u", "ə", "ɚ"[:1], "ɛ̃", "oʊ", "ˈɑː"])
def test_vowels_open_the_lips(ipa: str) -> None:
    """All vowels are visibly open."""
    assert opening(ipa) > OPEN_FROM
    assert not is_bilabial(ipa)


def test_open_vowels_open_further() -> None:
    """As on the vowel chart."""
    assert opening("ɑ") > opening("ɛ") > opening("ə") > opening("i")


@pytest.mark.parametrize("ipa", ["", "ː", " ", "ˈ"])
def test_pause(ipa: str) -> None:
    """A symbol without a letter is a pause."""
    assert visemes_of(ipa) == (SILENCE,)


def test_diphthong_has_two_mouths() -> None:
    """One after the other."""
    assert visemes_of("aɪ") == (visemes_of("a")[0], visemes_of("ɪ")[0])


def test_affricate_is_its_fricative() -> None:
    """The tip of the tongue is not visible."""
    assert visemes_of("tʃ") == visemes_of("ʃ")
    assert visemes_of("dʒ") == visemes_of("ʒ")


def test_unknown_letter_is_said_in_the_middle() -> None:
    """Every language has letters that charts leave out."""
    assert visemes_of("ჸ") == visemes_of("ə")
    assert unknown_letters("aჸ") == "ჸ"


@pytest.mark.parametrize(
    ("ipa", "like"),
    [
        ("ƥ", "p"),
        ("ä", "a"),
        ("ẽ", "e"),
        ("ʘ", "p"),
        ("φ", "ɸ"),
        ("ᵐ", "m"),
        ("ʷ", "w"),
        ("ʲ", "j"),
        ("A", "a"),
        ("ε", "ɛ"),
        ("ø̞", "ø"),
        ("ç", "ç"),
        ("??", "ʔ"),
    ],
)
def test_a_phoneme_without_a_viseme_is_shaped_by_its_class(ipa: str, like: str) -> None:
    """A variant, a letter with a mark, a secondary articulation alone."""
    assert visemes_of(ipa) == visemes_of(like)
    assert unknown_letters(ipa) == ""


@pytest.mark.parametrize(
    ("ipa", "vowel"), [("a", True), ("oʊ", True), ("əl", True), ("ˈɑː", True), ("ˈm", False), ("m", False), ("tʃ", False), ("", False)]
)
def test_is_vowel(ipa: str, vowel: bool) -> None:
    """By the first letter."""
    assert is_vowel(ipa) is vowel
