"""Takes of Live Link Face: rows are placed by their time codes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar_relay import weights
from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.media import AngleUnit
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.pose import HEAD_ROTATION
from relay_server.sources.motion_files.csv_files import read_csv
from relay_server.sources.motion_files.motion_clip import MotionClip, MotionFileError
from tests.relay_server.sources.motion_files.takes import SHAPES, Take, jaw_at, take, yaw_at

NTSC_30, NTSC_60 = 30 / 1.001, 60 / 1.001
HEADER = ",".join(("Timecode", "BlendShapeCount", *SHAPES))


def shown(clip: MotionClip, every_s: float = 0.002) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return times and poses as shown by a device, in payloads of 15 rows."""
    format = clip.motion_format
    decoder = make_motion_decoder(format)
    track = decoder.make_track(format.keyframes_per_second)
    for start in range(0, len(clip.rows), 15):
        assert track.add(round(start * 1e6 / format.keyframes_per_second), decoder.decode(weights.write(clip.rows[start : start + 15])))
    assert decoder.complaint() is None
    times_s = np.arange(0, track.length_us / 1e6 - 1 / format.keyframes_per_second, every_s)
    samples = [track.sample(round(time_s * 1e6)) for time_s in times_s]
    return times_s, np.stack([sample.pose for sample in samples if sample is not None])


def blinks_of(times_s: NDArray[np.float64], lids: NDArray[np.float32]) -> NDArray[np.float64]:
    """The middle of each blink: the time at which the lids are closest."""
    closed = np.flatnonzero(lids > 0.3)
    runs = np.split(closed, np.flatnonzero(np.diff(closed) > 1) + 1)
    return np.array([times_s[run[lids[run].argmax()]] for run in runs])


def read(found: Take, unit: AngleUnit = AngleUnit.RADIANS) -> MotionClip:
    """Read with sound as long as the take."""
    return read_csv(found.csv, found.seconds, unit)


def test_a_take_of_4_000_rows() -> None:
    """3 % of the rows missing, midnight passed, no columns of head and eyes: every blink and syllable within one keyframe."""
    found = take(4_000, start_s=86_400 - 20, missing=0.03, angles=False)
    assert 0.02 < 1 - found.kept.mean() < 0.04
    clip = read(found)
    assert clip.motion_format.keyframes_per_second == 60.0
    times_s, poses = shown(clip)
    blinks_s = blinks_of(times_s, poses[:, ARKIT_INDEX["eyeBlinkLeft"]])
    assert len(blinks_s) == len(found.blinks_s) > 15
    assert np.abs(blinks_s - found.blinks_s).max() < 1 / 60
    jaw, first = poses[:, ARKIT_INDEX["jawOpen"]], jaw_at(times_s[: 60 * 500])
    late_s = {lag: float(np.corrcoef(jaw[lag + 10 : 25_000 + lag], first[10:25_000])[0, 1]) for lag in range(-9, 10)}
    assert abs(max(late_s.items(), key=lambda found: found[1])[0]) * 0.002 < 1 / 60
    assert np.abs(jaw - jaw_at(times_s)).max() < 0.15


@pytest.mark.parametrize(
    ("count", "row_rate", "code_rate", "drop", "expected"),
    [
        (60, 60.0, 60.0, 0, 60.0),
        (30, 30.0, 30.0, 0, 30.0),
        (30, 60.0, 30.0, 0, 60.0),
        (30, NTSC_30, NTSC_30, 0, 29.97),
        (30, NTSC_30, NTSC_30, 2, 29.97),
        (60, NTSC_60, NTSC_60, 0, 59.94),
        (60, NTSC_60, NTSC_60, 4, 59.94),
        (25, 25.0, 25.0, 0, 25.0),
        (60, 59.904, 60.0, 0, 59.94),
    ],
)
def test_rates_are_inferred(count: int, row_rate: float, code_rate: float, drop: int, expected: float) -> None:
    """A minute and a quarter, 3 % of the rows missing: integer rate, over 1.001 with and without drop frames, a slow phone."""
    found = take(round(75 * row_rate), count=count, row_rate=row_rate, code_rate=code_rate, drop=drop, start_s=36_030, missing=0.03)
    clip = read(found)
    assert clip.motion_format.keyframes_per_second == pytest.approx(expected, abs=1e-4)
    times_s, poses = shown(clip, 0.008)
    blinks_s = blinks_of(times_s, poses[:, ARKIT_INDEX["eyeBlinkLeft"]])
    assert np.abs(blinks_s - found.blinks_s).max() < 1 / row_rate
    assert np.abs(poses[:, HEAD_ROTATION][:, 1] - yaw_at(times_s)).max() < 0.02


def test_drop_frame_by_its_sign() -> None:
    """A take of some seconds does not cross a minute."""
    found = take(300, count=30, row_rate=NTSC_30, code_rate=NTSC_30)
    csv = b"\n".join(line[:8] + line[8:].replace(b":", b";", 1) for line in found.csv.splitlines())
    assert read_csv(csv, 0.0, AngleUnit.RADIANS).motion_format.keyframes_per_second == pytest.approx(29.97, abs=1e-4)


def test_angles_in_degrees() -> None:
    """As written by some versions of the app."""
    found = take(200)
    lines = [line.split(",") for line in found.csv.decode().splitlines()]
    rows = [[*line[:54], str(float(line[54]) * 180 / np.pi), *line[55:]] for line in lines[1:]]
    csv = "\n".join(",".join(line) for line in (lines[0], *rows)).encode()
    times_s, poses = shown(read_csv(csv, 0.0, AngleUnit.DEGREES))
    assert np.abs(poses[:, HEAD_ROTATION][:, 1] - yaw_at(times_s)).max() < 0.01


def test_rows_that_were_not_tracked_are_a_gap() -> None:
    """The app writes a count of 0, or no weights: short gaps are interpolated, in long ones the face is held."""
    lines = take(120, angles=False).csv.splitlines()
    for row in (20, 21, 22, *range(60, 90)):
        lines[row + 1] = lines[row + 1].split(b",")[0] + (b",0" if row % 2 else b",52" + b"," * 52)
    clip = read_csv(b"\n".join(lines), 2.0, AngleUnit.RADIANS)
    assert len(clip.rows) == 120
    jaw = clip.rows[:, SHAPES.index("JawOpen")]
    assert np.abs(jaw[18:25] - jaw_at(np.arange(18, 25) / 60)).max() < 0.1
    np.testing.assert_allclose(jaw[60:89], jaw[59])


def test_last_columns_that_a_row_lacks_stay_as_they_were() -> None:
    """Only if the row's own count says so."""
    lines = take(10).csv.splitlines()
    cells = lines[5].split(b",")
    lines[5] = b",".join((cells[0], b"52", *cells[2:54]))
    clip = read_csv(b"\n".join(lines), 0.0, AngleUnit.RADIANS)
    assert clip.rows[4, 52] == clip.rows[3, 52] != 0.0


ROW = ",".join(["0.1"] * 52)


@pytest.mark.parametrize(
    ("csv", "said"),
    [
        ("", "line 1: it has no header"),
        ("Timecode", "line 1: it has no header"),
        ("Frame,JawOpen\n1,0.5", "line 1: its first column is 'Frame', not Timecode"),
        (HEADER, "it has no rows"),
        (f"{HEADER}\n10:00:00:00.000,52,{ROW[:-3]}abc", "line 2, column TongueOut: 'abc' is not a number"),
        (f"{HEADER}\n10:00:00:00.000,52,{ROW[:-3]}nan", "line 2, column TongueOut: 'nan' is not a number"),
        (f"{HEADER}\n10:00:00:00.000,52,{ROW}\n\n10:00:00:01.000,52,0.5", "line 4: it has 1 numbers for the header's 52 names"),
        (f"{HEADER}\n10:00:00:00.000,52,{ROW}\n10:00:00.5,52,{ROW}", "line 3, column Timecode: '10:00:00.5' is not a time code"),
        (f"{HEADER}\n10:61:00:00.000,52,{ROW}", "line 2, column Timecode: '10:61:00:00.000' is no time of a day"),
        (f"{HEADER}\n10:00:00:05,52,{ROW}\n10:00:00:04,52,{ROW}", "line 3, column Timecode: time does not go on from the one on line 2"),
        (f"{HEADER}\n10:00:00:05,52,{ROW}\n11:00:00:04,52,{ROW}", "it is 3600 s long; at most 900 s"),
        (f"{HEADER}\n10:00:00:05,0\n10:00:00:06,0", "the face was not tracked"),
        ("Timecode," + ",".join("abcdefg" * 50), "line 1: it has 351 columns"),
        ("Timecode,BlendShapeCount,JawOpen,JawOpen\n10:00:00:05,2,0,0", "2 columns of weights; 1 to 256 with different names"),
        (f'{HEADER}\n10:00:00:05,52,"{ROW}', "line 2: unexpected end of data"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_column(csv: str, said: str) -> None:
    """Nothing of it is played."""
    with pytest.raises(MotionFileError) as error:
        read_csv(csv.encode(), 1.0, AngleUnit.RADIANS)
    assert said in str(error.value)


def test_not_text() -> None:
    """The line is counted in bytes."""
    with pytest.raises(MotionFileError, match="line 2: it is not text in UTF-8"):
        read_csv(b"Timecode,JawOpen\n\xff\xfe", 1.0, AngleUnit.RADIANS)


def test_the_number_of_rows_is_bounded() -> None:
    """Checked before they are parsed as numbers."""
    with pytest.raises(MotionFileError, match="more than 120000 rows"):
        read_csv(b"Timecode,JawOpen\n" + b"10:00:00:00,0\n" * 130_000, 1.0, AngleUnit.RADIANS)
