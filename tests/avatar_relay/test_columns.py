"""The meaning of a row's columns."""

from __future__ import annotations

import pytest

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.columns import AmbiguousNamesError, read_columns
from avatar_relay.media import NameSet

OCULUS = ["sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U"]
NAMES: dict[NameSet, list[str]] = {
    NameSet.OCULUS: OCULUS,
    NameSet.AZURE: [str(viseme) for viseme in range(22)],
    NameSet.POLLY: ["sil", "p", "t", "S", "T", "f", "k", "i", "r", "s", "u", "@", "a", "e", "E", "o", "O"],
    NameSet.RHUBARB: list("ABCDEFGHX"),
    NameSet.VRM: [
        "aa",
        "ih",
        "ou",
        "ee",
        "oh",
        "blink",
        "blinkLeft",
        "blinkRight",
        "happy",
        "angry",
        "sad",
        "relaxed",
        "surprised",
        "lookUp",
        "lookDown",
        "lookLeft",
        "lookRight",
        "neutral",
    ],
}


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("name_set", NAMES)
def test_all_names_of_a_set_are_understood(name_set: NameSet, declared: bool) -> None:
    """Declared, and inferred, as no other set contains all of them."""
    columns = read_columns(NAMES[name_set], name_set if declared else None)
    assert (columns.name_set, columns.left_out) == (name_set, ())
    assert len(columns.visemes) + len(columns.expressions) == len(NAMES[name_set])


def test_other_spellings_of_visemes() -> None:
    """Ready Player Me's and VRoid's prefixes, Meta's other letters, VRM 0."""
    for names, name_set in (
        ([f"viseme_{name}" for name in OCULUS], NameSet.OCULUS),
        (["sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou"], NameSet.OCULUS),
        (["A", "I", "U", "E", "O", "Blink_L", "Joy"], NameSet.VRM),
        (["Fcl_MTH_A", "Fcl_MTH_I", "Fcl_EYE_Close"], NameSet.VRM),
    ):
        columns = read_columns(names, None)
        assert (columns.name_set, columns.left_out) == (name_set, ())


def test_visemes_beside_blendshapes() -> None:
    """As in an avatar of Ready Player Me."""
    columns = read_columns([*ARKIT_NAMES, *(f"viseme_{name}" for name in OCULUS), "mouthOpen", "mouthSmile", "eyesClosed"], None)
    assert (columns.name_set, columns.left_out, len(columns.visemes)) == (NameSet.OCULUS, (), 15)
    assert len(columns.arkit.shapes) == 52


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("a e i o u", "POLLY and VRM alike"),
        ("A E", "RHUBARB and VRM alike"),
        ("hair wind", "known are: none"),
        ("sil PP hair", "OCULUS 2, POLLY 1"),
        ("CTRL_jawOpen CTRL_mouthCornerPullL CTRL_mouthUp", "ARKIT 1"),
    ],
)
def test_what_can_not_be_told_names_names_and_candidates(names: str, said: str) -> None:
    """A guess would move the mouth incorrectly."""
    with pytest.raises(AmbiguousNamesError, match=said) as error:
        read_columns(names.split(), None)
    assert repr(names.split()[0]) in str(error.value)


def test_a_declared_set_counts() -> None:
    """Even if another one fits better; columns not in the declared set are left out."""
    assert read_columns(["a", "e"], NameSet.POLLY).name_set is NameSet.POLLY
    columns = read_columns(["PP", "hair"], NameSet.OCULUS)
    assert columns.left_out == ("hair",)
    with pytest.raises(AmbiguousNamesError, match="declared name_set AZURE"):
        read_columns(["PP", "FF"], NameSet.AZURE)


def test_a_long_list_is_told_in_a_line() -> None:
    """256 names of any length."""
    with pytest.raises(AmbiguousNamesError) as error:
        read_columns([f"{index}{'x' * 10_000}" for index in range(256)], None)
    assert len(str(error.value)) < 600
    assert "and 248 more" in str(error.value)
