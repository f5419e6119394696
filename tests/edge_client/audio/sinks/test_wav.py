"""The recording of the output of a sink."""

import resource
import wave
from pathlib import Path

import numpy as np
import pytest

from edge_client.audio.sinks.wav import WavTap


def _read(path: Path) -> tuple[int, list[int]]:
    with wave.open(str(path)) as file:
        return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2").tolist()


def test_file_holds_what_was_played(tmp_path: Path) -> None:
    """The file has every block in order, at the device's rate."""
    tap = WavTap(tmp_path / "played.wav", 24_000)
    tap(np.array([1, 2], np.int16))
    tap(np.array([-3], np.int16))
    tap.close()
    assert _read(tmp_path / "played.wav") == (24_000, [1, 2, -3])


def test_file_can_be_read_without_close(tmp_path: Path) -> None:
    """After a crash all but the last second is in the file."""
    tap = WavTap(tmp_path / "played.wav", 8_000)
    for _ in range(25):
        tap(np.ones(800, np.int16))
    _, samples = _read(tmp_path / "played.wav")
    assert len(samples) >= 16_000
    tap.close()


def test_blocks_after_close_are_ignored(tmp_path: Path) -> None:
    """A sink that continues to play does no harm; nor does closing twice."""
    tap = WavTap(tmp_path / "played.wav", 8_000)
    tap.close()
    tap(np.ones(8, np.int16))
    tap.close()
    assert _read(tmp_path / "played.wav") == (8_000, [])


def test_file_that_can_not_be_written_is_told_at_once() -> None:
    """A file that cannot be written is reported at once, not in the middle of the sound."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError):
        WavTap(full, 8_000)


def test_full_disk_ends_the_recording_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The sound continues whatever the disk does; what was written can be read."""
    tap = WavTap(tmp_path / "played.wav", 8_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_044, hard))
    try:
        for _ in range(10):
            tap(np.ones(100, np.int16))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    tap.close()
    assert _read(tmp_path / "played.wav") == (8_000, [1] * 500)
    assert len(caplog.records) == 1
