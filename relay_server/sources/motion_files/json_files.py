"""Motion as JSON: exports of Audio2Face, blendshapes and viseme ids of Azure, mouth cues of Rhubarb, speech marks of Polly.

Formats, by content:

- `{"exportFps", "facsNames", "weightMat"}`: Audio2Face.
- `{"mouthCues": [{"start", "end", "value"}]}`: Rhubarb; seconds.
- a list of `{"audioOffset", "visemeId"}` (also `audio_offset`, `viseme_id`), or such a list as `visemes`: Azure; 100 ns.
- a list of `{"FrameIndex", "BlendShapes"}`: Azure's blendshapes, 55 numbers 60 times a second.
- lines of `{"time", "type": "viseme", "value"}`: Polly; ms. Lines of other types are skipped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from avatar_relay.arkit import ARKIT_NAMES
from avatar_relay.limits import MAX_KEYFRAMES_PER_SECOND
from avatar_relay.media import AngleUnit, NameSet
from avatar_relay.mouth.viseme_sets import PHONEMES
from relay_server.sources.motion_files.cues import Cue, clip_of_cues
from relay_server.sources.motion_files.motion_clip import MAX_ROWS, MotionClip, MotionFileError, clip_of

AZURE_NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft", "eyeWideLeft",
    "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight",
    "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut", "headRoll", "leftEyeRoll", "rightEyeRoll",
)  # fmt: skip
AZURE_RATE = 60.0
_TICK_S = 1e-7


def read_json(document: Any, sound_s: float, angle_unit: AngleUnit) -> MotionClip:
    """The clip of a document in one of these formats. Raises `MotionFileError`."""
    match document:
        case {"weightMat": _, "facsNames": _}:
            return _audio2face(document, angle_unit)
        case {"mouthCues": [*entries]}:
            return clip_of_cues(_cues(entries, "mouthCues", ("start",), ("value",), 1.0, NameSet.RHUBARB), sound_s)
        case {"visemes": [*entries]} if entries:
            return _azure(entries, "visemes", sound_s)
        case [{"BlendShapes": _}, *_]:
            return _azure_shapes(document, angle_unit)
        case [{"type": str()}, *_]:
            return _polly(document, sound_s)
        case [dict(), *_]:
            return _azure(document, "", sound_s)
    raise MotionFileError("it is JSON, but neither of AvatarKit, Audio2Face, Rhubarb, Azure nor Polly")


def parse_json(data: bytes) -> Any:
    """A JSON document, or the list of one document per line. Raises `MotionFileError` with line and column."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MotionFileError(f"byte {error.start}: it is not text in UTF-8") from error
    try:
        return json.loads(text)
    except RecursionError as error:
        raise MotionFileError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise MotionFileError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    return [_line(line, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _line(text: str, number: int) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise MotionFileError(f"line {number}: it is not a JSON document of its own") from error


def _audio2face(document: dict[str, Any], angle_unit: AngleUnit) -> MotionClip:
    names = document["facsNames"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MotionFileError("facsNames is not a list of names")
    rate = _number(document.get("exportFps"), "exportFps")
    if not 1 <= rate <= MAX_KEYFRAMES_PER_SECOND:
        raise MotionFileError(f"exportFps is {rate:g}; 1 to {MAX_KEYFRAMES_PER_SECOND:g} are played")
    rows = _rows(document["weightMat"], "weightMat", len(names))
    return clip_of(names, np.arange(len(rows)) / rate, np.array(rows, np.float32), rate=rate, angle_unit=angle_unit)


def _azure_shapes(entries: list[Any], angle_unit: AngleUnit) -> MotionClip:
    times: list[float] = []
    found: list[list[float]] = []
    for index, entry in enumerate(entries):
        where = f"[{index}]"
        if not isinstance(entry, dict) or "BlendShapes" not in entry:
            raise MotionFileError(f"{where} has no BlendShapes")
        rows = _rows(entry["BlendShapes"], f"{where}.BlendShapes", len(AZURE_NAMES))
        first = _number(entry.get("FrameIndex"), f"{where}.FrameIndex")
        if first < 0 or (times and first / AZURE_RATE <= times[-1]):
            raise MotionFileError(f"{where}.FrameIndex is {first:g}: its frames are not behind those before it")
        times += [(first + row) / AZURE_RATE for row in range(len(rows))]
        found += rows
        if len(found) > MAX_ROWS:
            raise MotionFileError(f"{where}: it has more than {MAX_ROWS} rows")
    return clip_of(list(AZURE_NAMES), np.array(times), np.array(found, np.float32), rate=AZURE_RATE, angle_unit=angle_unit)


def _azure(entries: list[Any], at: str, sound_s: float) -> MotionClip:
    keys = ("audioOffset", "audio_offset", "AudioOffset"), ("visemeId", "viseme_id", "VisemeId")
    return clip_of_cues(_cues(entries, at, *keys, _TICK_S, NameSet.AZURE), sound_s)


def _polly(entries: list[Any], sound_s: float) -> MotionClip:
    marks = [entry if isinstance(entry, dict) and entry.get("type") == "viseme" else None for entry in entries]
    return clip_of_cues(_cues(marks, "", ("time",), ("value",), 1e-3, NameSet.POLLY), sound_s)


def _cues(
    entries: Sequence[Any], at: str, time_keys: Sequence[str], value_keys: Sequence[str], unit_s: float, name_set: NameSet
) -> list[Cue]:
    """The cues of entries with a time and a viseme's name; None entries are skipped."""
    if len(entries) > MAX_ROWS:
        raise MotionFileError(f"{at or 'it'} has {len(entries)} entries; at most {MAX_ROWS} are read")
    cues: list[Cue] = []
    for index, entry in enumerate(entries):
        where = f"{at}[{index}]"
        if entry is None:
            continue
        if not isinstance(entry, dict):
            raise MotionFileError(f"{where} is not an object")
        time_key = next((key for key in time_keys if key in entry), time_keys[0])
        value_key = next((key for key in value_keys if key in entry), value_keys[0])
        start_s, name = _number(entry.get(time_key), f"{where}.{time_key}") * unit_s, str(entry.get(value_key))
        if start_s < 0 or (cues and start_s < cues[-1].start_s):
            raise MotionFileError(f"{where}.{time_key}: {start_s:g} s is before the entry before it")
        if name not in PHONEMES[name_set]:
            raise MotionFileError(f"{where}.{value_key}: {name[:32]!r} is not a viseme of {name_set.value.capitalize()}")
        cues.append(Cue(start_s, PHONEMES[name_set][name]))
    return cues


def _rows(value: Any, where: str, width: int) -> list[list[float]]:
    if not isinstance(value, list) or len(value) > MAX_ROWS:
        raise MotionFileError(f"{where} is not a list of at most {MAX_ROWS} rows")
    for index, row in enumerate(value):
        if not isinstance(row, list) or len(row) != width:
            raise MotionFileError(f"{where}[{index}] is not a row of {width} numbers")
    return [[_number(cell, f"{where}[{index}][{column}]") for column, cell in enumerate(row)] for index, row in enumerate(value)]


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MotionFileError(f"{where} is not a number")
    return float(value)


assert len(AZURE_NAMES) == len(ARKIT_NAMES) + 3
