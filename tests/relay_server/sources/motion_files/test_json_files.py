"""Exports of Audio2Face, and timed visemes of three services."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.media import AngleUnit, NameSet
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES
from avatar_relay.mouth.viseme_sets import PHONEMES
from relay_server.sources.motion_files.csv_files import read_csv
from relay_server.sources.motion_files.json_files import AZURE_NAMES, parse_json, read_json
from relay_server.sources.motion_files.motion_clip import MotionClip, MotionFileError
from tests.lab.mouth.lip_opening import OPEN_FROM, SHUT_BELOW, lip_opening

RADIANS = AngleUnit.RADIANS
SOUND_S = 2.0
SPOKEN = [(0.0, "sil"), (0.30, "p"), (0.40, "a"), (0.70, "p"), (0.78, "E"), (1.10, "sil")]
"""Polly's: closures at 0.35 and 0.74 s, vowels at 0.55 and 0.95 s, pauses at the ends."""
RHUBARB = {"sil": "X", "p": "A", "a": "D", "E": "C"}
AZURE = {"sil": 0, "p": 21, "a": 2, "E": 4}

DOCUMENTS: dict[str, str] = {
    "Rhubarb": json.dumps(
        {
            "metadata": {"soundFile": "/anywhere.wav", "duration": SOUND_S},
            "mouthCues": [{"start": start, "end": start + 0.1, "value": RHUBARB[name]} for start, name in SPOKEN],
        }
    ),
    "Azure": json.dumps([{"audioOffset": round(start * 1e7), "visemeId": AZURE[name]} for start, name in SPOKEN]),
    "Azure, in Python": json.dumps({"visemes": [{"audio_offset": round(start * 1e7), "viseme_id": AZURE[name]} for start, name in SPOKEN]}),
    "Polly": "\n".join(
        [json.dumps({"time": 0, "type": "sentence", "start": 0, "end": 9, "value": "papa"})]
        + [json.dumps({"time": round(start * 1000), "type": "viseme", "value": name}) for start, name in SPOKEN]
    ),
}


def read(text: str) -> MotionClip:
    """Read beside two seconds of sound."""
    return read_json(parse_json(text.encode()), SOUND_S, RADIANS)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_timed_visemes_close_and_open_the_lips(kind: str) -> None:
    """Shut for p, open for vowels, at rest in pauses, at the times of the sound."""
    clip = read(DOCUMENTS[kind])
    rate = clip.motion_format.keyframes_per_second
    assert clip.motion_format.blendshape_names == BLENDSHAPE_NAMES
    assert len(clip.rows) == SOUND_S * rate
    opening = lip_opening(clip.rows)
    for shut_s in (0.1, 0.35, 0.74, 1.3, 1.9):
        assert opening[round(shut_s * rate)] < SHUT_BELOW
    for open_s in (0.55, 0.95):
        assert opening[round(open_s * rate)] > OPEN_FROM


def test_audio2face_export() -> None:
    """At its own rate, with its own spelling."""
    rows = np.linspace(0, 1, 90 * 52).reshape(90, 52)
    names = [name[0].upper() + name[1:] for name in ARKIT_NAMES]
    document = {"exportFps": 60.0, "trackPath": "a.wav", "numPoses": 52, "numFrames": 90, "facsNames": names, "weightMat": rows.tolist()}
    clip = read(json.dumps(document))
    assert (clip.motion_format.keyframes_per_second, clip.motion_format.blendshape_names) == (60.0, tuple(names))
    assert clip.motion_format.name_set is NameSet.ARKIT
    np.testing.assert_allclose(clip.rows, rows, rtol=1e-6)


def test_audio2face_3d_csv() -> None:
    """Time codes in seconds, names with a prefix, a row missing."""
    times_s = [row / 30 for row in range(60) if row != 7]
    lines = [f"{time_s:.6f},{time_s / 2},{1 - time_s / 2}" for time_s in times_s]
    csv = "\n".join(("timeCode,blendShapes.JawOpen,blendShapes.EyeBlinkLeft", *lines)).encode()
    clip = read_csv(csv, SOUND_S, RADIANS)
    assert clip.motion_format.keyframes_per_second == 30.0
    np.testing.assert_allclose(clip.rows[:, 0], np.arange(60) / 60, atol=1e-5)


def test_azure_blendshapes() -> None:
    """Chunks of 55 numbers, 60 times a second; time between two chunks is a gap."""
    row = [0.0] * len(AZURE_NAMES)
    document = [{"FrameIndex": 0, "BlendShapes": [row] * 30}, {"FrameIndex": 36, "BlendShapes": [[*row[:-3], 0.1, 0.0, 0.0]] * 30}]
    clip = read(json.dumps(document))
    assert (clip.motion_format.keyframes_per_second, clip.rows.shape) == (60.0, (66, 55))
    head = clip.rows[:, AZURE_NAMES.index("headRoll")]
    np.testing.assert_allclose(head[28:38], [0, 0, 1 / 70, 2 / 70, 3 / 70, 4 / 70, 5 / 70, 6 / 70, 0.1, 0.1], atol=1e-6)
    assert set(ARKIT_NAMES) < set(AZURE_NAMES)


A2F: dict[str, Any] = {"exportFps": 30, "facsNames": ["JawOpen"], "weightMat": [[0.5]]}
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1, column 1"),
        ('{"a": \n nonsense}', "line 2, column 2"),
        (DEEP, "nested too deeply"),
        ("{}", "neither of AvatarKit, Audio2Face, Rhubarb, Azure nor Polly"),
        ("[]", "neither of"),
        ("[1, 2]", "neither of"),
        ('{"time": 1, "type": "viseme", "value": "p"}\n{', "line 2: it is not a JSON document of its own"),
        (json.dumps(A2F | {"exportFps": 0}), "exportFps is 0; 1 to 240"),
        (json.dumps(A2F | {"exportFps": "30"}), "exportFps is not a number"),
        (json.dumps(A2F | {"facsNames": [1]}), "facsNames is not a list of names"),
        (json.dumps(A2F | {"weightMat": [[0.5], [0.5, 0.5]]}), "weightMat[1] is not a row of 1 numbers"),
        (json.dumps(A2F | {"weightMat": [[0.5], ["x"]]}), "weightMat[1][0] is not a number"),
        (json.dumps(A2F | {"weightMat": [[float("nan")]]}), "weightMat[0][0] is not a number"),
        (json.dumps(A2F | {"weightMat": []}), "it has no rows"),
        (json.dumps({"mouthCues": []}), "it has no visemes"),
        (json.dumps({"mouthCues": [{"start": 0, "value": "Q"}]}), "mouthCues[0].value: 'Q' is not a viseme of Rhubarb"),
        (json.dumps({"mouthCues": [{"start": 1, "value": "A"}, {"start": 0.5, "value": "A"}]}), "mouthCues[1].start: 0.5 s is before"),
        (json.dumps({"mouthCues": [{"start": True, "value": "A"}]}), "mouthCues[0].start is not a number"),
        (json.dumps({"mouthCues": [{"start": 1e9, "value": "A"}]}), "at most 900 s are played"),
        (json.dumps([{"audioOffset": 0, "visemeId": 22}]), "[0].visemeId: '22' is not a viseme of Azure"),
        (json.dumps([{"FrameIndex": 0, "BlendShapes": [[0] * 54]}]), "[0].BlendShapes[0] is not a row of 55 numbers"),
        (
            json.dumps([{"FrameIndex": 0, "BlendShapes": [[0] * 55] * 2}, {"FrameIndex": 1, "BlendShapes": [[0] * 55]}]),
            "[1].FrameIndex is 1",
        ),
    ],
)
def test_what_is_wrong_is_told_by_its_place(text: str, said: str) -> None:
    """Nothing of it is played."""
    with pytest.raises(MotionFileError) as error:
        read(text)
    assert said in str(error.value)


def test_each_set_has_what_its_service_says() -> None:
    """22 ids of Azure, 9 shapes of Rhubarb."""
    assert set(PHONEMES[NameSet.AZURE]) == {str(viseme) for viseme in range(22)}
    assert set(PHONEMES[NameSet.RHUBARB]) == set("ABCDEFGHX")
