"""The viseme sets of services and avatars as displayed: rows decoded, drawn, and the lips measured on every picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from avatar_relay.media import NameSet
from avatar_relay.mouth.viseme_sets import PHONEMES
from avatar_relay.mouth.visemes import is_vowel
from edge_client.face.renderer import Renderer
from edge_client.face.screens import open_renderer
from tests.avatar_relay.test_columns import NAMES
from tests.edge_client.motion.test_visemes import LIPS, OPEN, REST, pose_at, track_of
from tests.lab.face.pixels import mouth_opening_px

pytestmark = pytest.mark.slow

PICTURES_PER_KEYFRAME = 2
SETS = tuple(OPEN)
VOWELS = [(name_set, name) for name_set in SETS for name in NAMES[name_set] if is_vowel(PHONEMES[name_set].get(name, ""))]
CLOSURES = [(name_set, LIPS[name_set], name) for name_set, name in VOWELS if name_set in LIPS]


@pytest.fixture(params=["gles", "flat"], scope="module")
def face(request: pytest.FixtureRequest) -> Iterator[Renderer]:
    """Each face, off-screen, one at a time, in pictures 480 pixels high."""
    renderer = open_renderer(choice=request.param, size=(480, 480), fullscreen=False, headless=True)
    yield renderer
    renderer.close()


def openings(face: Renderer, name_set: NameSet, spoken: list[tuple[str, int]]) -> list[list[float]]:
    """The gap between the lips in pixels, on all pictures of each part of the speech (60 pictures a second)."""
    track, found, start = track_of(name_set, spoken), [], 0
    for _, count in spoken:
        part = []
        for keyframe in np.arange(start, start + count, 1 / PICTURES_PER_KEYFRAME):
            face.draw(pose_at(track, float(keyframe)))
            part.append(mouth_opening_px(face.read()))
        found.append(part)
        start += count
    return found


@pytest.mark.parametrize(("name_set", "lips", "vowel"), CLOSURES, ids=lambda value: getattr(value, "name", value))
def test_lips_closed_for_p_b_m(face: Renderer, name_set: NameSet, lips: str, vowel: str) -> None:
    """On each picture from a closure's first keyframe to its last, 33 ms apart, between vowels; the vowels are open."""
    _, before, closed, behind, _ = openings(face, name_set, [("", 4), (vowel, 5), (lips, 2), (vowel, 5), ("", 4)])
    assert max(closed[: PICTURES_PER_KEYFRAME + 1]) == 0
    assert min(max(before), max(behind)) > 0


@pytest.mark.parametrize(("name_set", "vowel"), VOWELS, ids=lambda value: getattr(value, "name", value))
def test_lips_apart_for_vowels(face: Renderer, name_set: NameSet, vowel: str) -> None:
    """On each picture of a vowel of 167 ms except those next to silence, and shut on each in silence."""
    before, spoken, behind = openings(face, name_set, [(REST.get(name_set, ""), 6), (vowel, 5), (REST.get(name_set, ""), 8)])
    assert min(spoken[2:-2]) > 0
    assert max(before[:-6]) == max(behind[6:]) == 0


def test_every_set_was_looked_at() -> None:
    """A vowel of each set, and a closure of each except VRM's, which has none."""
    assert {name_set for name_set, _ in VOWELS} == set(PHONEMES)
    assert {name_set for name_set, *_ in CLOSURES} == set(PHONEMES) - {NameSet.VRM}
