"""The viseme sets of services and avatars: the mouth, or the blendshapes, of each of their names.

A viseme is defined by a phoneme, whose mouth is that of `visemes`. The charts are those of the vendors: Meta's 15 visemes, Azure's ids
(those of SAPI), Polly's table of American English with the additions for Spanish, Rhubarb's A to H and X, the presets of VRM.
"""

from __future__ import annotations

from collections.abc import Mapping

from avatar_relay.media import NameSet
from avatar_relay.mouth.visemes import Viseme, visemes_of
from avatar_relay.spellings import words_of


def _by_letter(phonemes: str) -> dict[str, str]:
    """Parses `name=phoneme`, separated by blanks; a name alone is at rest."""
    return {name: phoneme for name, _, phoneme in (entry.partition("=") for entry in phonemes.split())}


_OCULUS = _by_letter("sil PP=p FF=f TH=θ DD=t kk=k CH=ʃ SS=s nn=n RR=ɹ aa=ɑ E=ɛ I=ɪ ih=ɪ O=o oh=o U=u ou=u")
PHONEMES: Mapping[NameSet, Mapping[str, str]] = {
    NameSet.OCULUS: _OCULUS | {name.lower(): phoneme for name, phoneme in _OCULUS.items()},
    NameSet.AZURE: _by_letter("0 1=æ 2=ɑ 3=ɔ 4=ɛ 5=ɝ 6=i 7=u 8=o 9=a 10=ɔ 11=a 12=h 13=ɹ 14=l 15=s 16=ʃ 17=ð 18=f 19=t 20=k 21=p"),
    NameSet.POLLY: _by_letter("sil p=p t=t S=ʃ T=θ f=f k=k i=i r=ɹ s=s u=u @=ə a=a e=e E=ɛ o=o O=ɔ B=β J=ʎ l=l x=x"),
    NameSet.RHUBARB: _by_letter("A=p B=s C=ɛ D=a E=ɔ F=u G=f H=l X"),
    NameSet.VRM: _by_letter("aa=a ih=ɪ ou=u ee=e oh=o a=a i=ɪ u=u e=e o=o A=a I=ɪ U=u E=e O=o"),
}
"""The phoneme of each name that is a viseme."""

_BLINK = {"eyeBlinkLeft": 1.0}, {"eyeBlinkRight": 1.0}
_SMILE = {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5}
_ANGRY = {
    "browDownLeft": 0.8,
    "browDownRight": 0.8,
    "eyeSquintLeft": 0.3,
    "eyeSquintRight": 0.3,
    "noseSneerLeft": 0.3,
    "noseSneerRight": 0.3,
}
_SAD = {"browInnerUp": 0.8, "mouthFrownLeft": 0.5, "mouthFrownRight": 0.5}
_CALM = {"mouthSmileLeft": 0.35, "mouthSmileRight": 0.35, "eyeSquintLeft": 0.2, "eyeSquintRight": 0.2}
_SURPRISED = {"browInnerUp": 0.8, "browOuterUpLeft": 0.7, "browOuterUpRight": 0.7, "eyeWideLeft": 0.6, "eyeWideRight": 0.6, "jawOpen": 0.2}
EXPRESSIONS: Mapping[str, Mapping[str, float]] = {
    "blink": _BLINK[0] | _BLINK[1], "blinkleft": _BLINK[0], "blinkright": _BLINK[1], "blinkl": _BLINK[0], "blinkr": _BLINK[1],
    "happy": _SMILE, "joy": _SMILE, "angry": _ANGRY, "sad": _SAD, "sorrow": _SAD, "relaxed": _CALM, "fun": _CALM,
    "surprised": _SURPRISED,
    "lookup": {"eyeLookUpLeft": 1.0, "eyeLookUpRight": 1.0}, "lookdown": {"eyeLookDownLeft": 1.0, "eyeLookDownRight": 1.0},
    "lookleft": {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}, "lookright": {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0},
    "neutral": {},
}  # fmt: skip
"""Expressions of VRM that are not visemes, in lower case without signs: weights of ARKit's blendshapes."""
_VROID = {"eyeclose": "blink", "eyeclosel": "blinkleft", "eyecloser": "blinkright"}


def viseme_named(name: str, name_set: NameSet) -> Viseme | None:
    """The viseme of a name in a set, also with the prefix `viseme`; None if it is not a viseme of the set."""
    phoneme = PHONEMES[name_set].get(_plain(name)) if name_set in PHONEMES else None
    return None if phoneme is None else visemes_of(phoneme)[0]


def expression_named(name: str, name_set: NameSet) -> Mapping[str, float] | None:
    """The blendshapes of an expression of VRM; None for any other name."""
    if name_set is not NameSet.VRM:
        return None
    joined = "".join(words_of(name)).lower()
    return EXPRESSIONS.get(_VROID.get(joined.removeprefix("fcl"), joined))


def _plain(name: str) -> str:
    text = name.replace("\ufeff", "").strip()
    for prefix in ("viseme", "fcl_mth"):
        if text.lower().startswith(prefix):
            return text[len(prefix) :].lstrip("_.- ")
    return text
