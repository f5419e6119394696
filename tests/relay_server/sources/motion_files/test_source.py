"""A motion file with a sound file beside it: performance and display."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import weights
from avatar_relay.media import AngleUnit
from avatar_relay.reasons import Reason
from relay_server.sources.motion_files.csv_files import read_csv
from relay_server.sources.motion_files.json_files import parse_json, read_json
from relay_server.sources.motion_files.motion_clip import MotionFileError
from relay_server.sources.recording import RecordingSource
from relay_server.sources.source import AudioChunk, FileSpeech, Irregularity, MotionChunk, SourceError
from tests.relay_server.sources.local.test_source import irregular_opus
from tests.relay_server.sources.motion_files.takes import take
from tests.relay_server.sources.motion_files.test_json_files import DOCUMENTS
from tests.relay_server.sources.performances import read_all

RATE_HZ = 16_000


def put(folder: Path, name: str, content: bytes, seconds: float = 2.0) -> tuple[Path, np.ndarray[tuple[int], np.dtype[np.int16]]]:
    """Write a file and its sound."""
    samples = np.random.default_rng(3).integers(-3_000, 3_000, round(seconds * RATE_HZ)).astype(np.int16)
    path = folder / name
    path.write_bytes(content)
    soundfile.write(path.with_suffix(".wav"), samples, RATE_HZ, subtype="PCM_16")
    return path, samples


@pytest.mark.parametrize(("name", "content"), [("take.csv", take(130).csv), ("cues.json", DOCUMENTS["Rhubarb"].encode())])
async def test_sound_and_motion_are_performed_in_their_order(tmp_path: Path, name: str, content: bytes) -> None:
    """The sound is identical to the sample, every row appears once, and no sound precedes motion of the same time."""
    path, samples = put(tmp_path, name, content)
    performance = await RecordingSource().perform(FileSpeech(path))
    assert performance.motion_format is not None
    width, rate = 4 * len(performance.motion_format.blendshape_names), performance.motion_format.keyframes_per_second
    sound, rows = b"", 0
    async for item in performance.items:
        match item:
            case MotionChunk(data):
                rows += len(weights.read(data, width // 4))
            case AudioChunk(data):
                sound += data
                assert rows / rate >= min(len(sound) / 2 / RATE_HZ, 2.0) - 0.01
    assert sound == samples.tobytes()
    assert rows == {"take.csv": 120, "cues.json": 60}[name]  # motion after the sound's end is not shown


async def test_irregular_sound_is_told(tmp_path: Path) -> None:
    """The irregularity is that of the sound file; reported once, before the sound."""
    path = tmp_path / "take.csv"
    path.write_bytes(take(40).csv)
    path.with_suffix(".opus").write_bytes(irregular_opus(tmp_path))
    performed = await read_all(await RecordingSource().perform(FileSpeech(path)))
    (told,) = performed.told
    assert "would cut off" in told
    assert isinstance(performed.items[0], Irregularity)


async def test_motion_that_is_shorter_than_its_sound(tmp_path: Path) -> None:
    """The sound continues."""
    path, samples = put(tmp_path, "take.csv", take(40).csv)
    items = [item async for item in (await RecordingSource().perform(FileSpeech(path))).items]
    assert b"".join(item.data for item in items if isinstance(item, AudioChunk)) == samples.tobytes()


async def test_the_unit_of_angles_is_said(tmp_path: Path) -> None:
    """By the caller that plays the file."""
    path, _ = put(tmp_path, "take.csv", take(40).csv)
    performance = await RecordingSource().perform(FileSpeech(path, AngleUnit.DEGREES))
    assert performance.motion_format is not None
    assert performance.motion_format.angle_unit is AngleUnit.DEGREES
    await performance.items.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "content", "sound", "said"),
    [
        ("take.csv", b"Timecode,JawOpen\n10:00:00:00,x", True, "line 2, column JawOpen: 'x' is not a number"),
        ("take.csv", take(10).csv, False, "there is no sound beside it: a file take with one of .wav, .flac"),
        ("take.csv", b"Frame,JawOpen\n", False, "not Timecode"),
        ("cues.json", b"{}", True, "neither of AvatarKit"),
    ],
)
async def test_what_can_not_be_played(tmp_path: Path, name: str, content: bytes, sound: bool, said: str) -> None:
    """The error contains the file's name and the fault, not its path."""
    path, _ = put(tmp_path, name, content)
    if not sound:
        path.with_suffix(".wav").unlink()
    with pytest.raises(SourceError) as error:
        await RecordingSource().perform(FileSpeech(path))
    assert error.value.fault.reason is Reason.SPEECH_FILE_INVALID
    assert name in error.value.fault.text
    assert said in error.value.fault.text
    assert str(tmp_path) not in error.value.fault.text


async def test_sound_is_not_taken_from_elsewhere(tmp_path: Path) -> None:
    """A link that leaves the folder is not accepted as sound."""
    inside, outside = tmp_path / "speech", tmp_path / "secret"
    inside.mkdir()
    outside.mkdir()
    path, _ = put(outside, "take.csv", take(10).csv)
    (inside / "take.csv").write_bytes(path.read_bytes())
    (inside / "take.wav").symlink_to(path.with_suffix(".wav"))
    with pytest.raises(SourceError, match="no sound beside it"):
        await RecordingSource().perform(FileSpeech(inside / "take.csv"))


SMALL_CSV = take(12).csv
SMALL_JSON = json.dumps({"exportFps": 30, "facsNames": ["JawOpen"], "weightMat": [[0.5], [0.25]]}).encode()


@given(
    st.sampled_from([(SMALL_CSV, True), (SMALL_JSON, False), *((text.encode(), False) for text in DOCUMENTS.values())]),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.sampled_from([*b'0159.,:;-eE"[]{}\n\r\0\xff', *range(32, 64)])), max_size=8),
    st.integers(0, 1 << 16),
)
def test_mutated_files_never_crash(file: tuple[bytes, bool], changes: list[tuple[int, int]], cut: int) -> None:
    """A clip with finite rows, or `MotionFileError`."""
    original, is_csv = file
    data = bytearray(original)
    for position, value in changes:
        data[position % len(data)] = value
    data = data[: max(1, cut % (len(data) * 2))]
    try:
        clip = read_csv(bytes(data), 1.0, AngleUnit.RADIANS) if is_csv else read_json(parse_json(bytes(data)), 1.0, AngleUnit.RADIANS)
    except MotionFileError:
        return
    assert np.isfinite(clip.rows).all()
    assert clip.rows.shape[1] == len(clip.motion_format.blendshape_names)
