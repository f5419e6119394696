"""52 of 52 names in each dialect."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avatar_relay.arkit import ARKIT_INDEX, ARKIT_NAMES
from avatar_relay.spellings import ANGLE_NAMES, map_columns


def snake(name: str) -> str:
    """`eye_blink_left`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def pascal(name: str) -> str:
    """`EyeBlinkLeft`."""
    return name[0].upper() + name[1:]


def sided(left: str, right: str) -> Callable[[str], str]:
    """Another suffix for `Left` and `Right`."""
    return lambda name: name.removesuffix("Left") + left if name.endswith("Left") else name[:-5] + right if name.endswith("Right") else name


DIALECTS: dict[str, Callable[[str], str]] = {
    "Apple": str,
    "Audio2Face, Live Link": pascal,
    "snake": snake,
    "protobuf": lambda name: snake(name).upper(),
    "_L": sided("_L", "_R"),
    ".L": sided(".L", ".R"),
    "-L": sided("-L", "-R"),
    " L": sided(" L", " R"),
    "glued L": sided("L", "R"),
    "_left": sided("_left", "_right"),
    "_Left": sided("_Left", "_Right"),
    "words": lambda name: snake(name).replace("_", " ").title(),
    "dashes": lambda name: snake(name).replace("_", "-"),
    "Maya": lambda name: f"blendShape1.{name}",
    "node": lambda name: f"BS_node.{sided('_L', '_R')(name)}",
    "namespace": lambda name: f"head:blendShape2|{name}",
    "NIM's CSV": lambda name: f"blendShapes.{pascal(name)}",
    "Character Creator": lambda name: f"A{ARKIT_NAMES.index(name) + 1:02d}_{snake(name).title()}",
    "blanks": lambda name: f"  {name} ",
    "CR": lambda name: f"{name}\r",
    "BOM": lambda name: f"\ufeff{name}",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_52_of_52(dialect: str) -> None:
    """Each name maps to its own shape, and to no other."""
    found = map_columns([DIALECTS[dialect](name) for name in ARKIT_NAMES])
    assert found.shapes == {index: (index,) for index in range(52)}
    assert (found.angles, found.left_out) == ({}, ())


def test_ready_player_me_and_halves() -> None:
    """Combined shapes, and shapes split in two."""
    names = [
        "mouthOpen",
        "mouthSmile",
        "eyesClosed",
        "eyesLookUp",
        "eyesLookDown",
        "browInnerUp_L",
        "browInnerUpRight",
        "cheekPuff.L",
        "cheekPuff_R",
    ]
    found = map_columns(names)
    assert found.left_out == ()
    assert {ARKIT_NAMES[index]: columns for index, columns in found.shapes.items()} == {
        "jawOpen": (0,),
        "mouthSmileLeft": (1,),
        "mouthSmileRight": (1,),
        "eyeBlinkLeft": (2,),
        "eyeBlinkRight": (2,),
        "eyeLookUpLeft": (3,),
        "eyeLookUpRight": (3,),
        "eyeLookDownLeft": (4,),
        "eyeLookDownRight": (4,),
        "browInnerUp": (5, 6),
        "cheekPuff": (7, 8),
    }


def test_a_column_of_the_shapes_own_name_counts_first() -> None:
    """Ready Player Me's avatars have both."""
    found = map_columns(["eyesClosed", "eyeBlinkLeft", "browInnerUp_L", "browInnerUp", "browInnerUp_R"])
    assert found.shapes[ARKIT_INDEX["eyeBlinkLeft"]] == (1,)
    assert found.shapes[ARKIT_INDEX["eyeBlinkRight"]] == (0,)
    assert found.shapes[ARKIT_INDEX["browInnerUp"]] == (3,)


def test_angles() -> None:
    """Live Link Face's nine, and Azure's three."""
    assert map_columns([pascal(name) for name in ANGLE_NAMES]).angles == {index: index for index in range(9)}
    assert map_columns(["headRoll", "leftEyeRoll", "rightEyeRoll"]).angles == {2: 0, 5: 1, 8: 2}


def test_what_is_known_to_move_nothing_is_not_left_out() -> None:
    """MediaPipe's first column, and the tongue of Audio2Face-3D."""
    assert map_columns(["_neutral", "TongueTipUp", "TongueNarrow"]).left_out == ()


@pytest.mark.parametrize("name", ["", "hair", "viseme_O", "mouth", "jaw", "L", "A", "eyeBlinkLeftish", "CTRL_expressions_mouthCornerPullL"])
def test_what_is_not_known(name: str) -> None:
    """Nothing is guessed."""
    found = map_columns([name])
    assert (found.shapes, found.angles, found.left_out) == ({}, {}, (0,))
