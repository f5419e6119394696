"""Files of speech."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar_relay.limits import PCM_RATES_HZ
from relay_server.sources.local import audio_file
from relay_server.sources.local.audio_file import AudioFile
from relay_server.sources.local.audio_readers import AudioFileError
from tests.lab.recordings import speech_like


def write(path: Path, samples: NDArray[np.generic], rate_hz: int = 16_000, subtype: str = "PCM_16") -> Path:
    """A file of these samples; the name says its format."""
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return path


def samples_of(path: Path, block_s: float = 0.1) -> NDArray[np.int16]:
    """All samples of a file."""
    file = AudioFile(path)
    try:
        return np.concatenate(list(file.blocks(block_s)))
    finally:
        file.close()


@pytest.mark.parametrize("rate_hz", PCM_RATES_HZ)
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_16_bit_mono_passes_sample_for_sample(tmp_path: Path, name: str, rate_hz: int) -> None:
    """At each of the wire's rates, every value that there is."""
    samples = np.arange(-32_768, 32_768, 7).astype(np.int16)
    path = write(tmp_path / name, samples, rate_hz)
    np.testing.assert_array_equal(samples_of(path), samples)


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "DOUBLE"])
def test_finer_samples_are_rounded(tmp_path: Path, subtype: str) -> None:
    """16 bit is what travels; what is louder than full scale is cut."""
    samples = np.array([0.0, 0.5, -0.5, 0.25 + 2**-18, 0.999999, -1.0])
    np.testing.assert_array_equal(
        samples_of(write(tmp_path / "a.wav", samples, subtype=subtype)), [0, 16_384, -16_384, 8_192, 32_767, -32_768]
    )
    loud = write(tmp_path / "loud.wav", np.array([3.0, -3.0], np.float32), subtype="FLOAT")
    np.testing.assert_array_equal(samples_of(loud), [32_767, -32_768])


def test_channels_are_averaged(tmp_path: Path) -> None:
    """What is on one side only is heard too."""
    stereo = np.array([[1_000, 3_000], [-500, 500]], np.int16)
    np.testing.assert_array_equal(samples_of(write(tmp_path / "a.wav", stereo)), [2_000, 0])


@pytest.mark.parametrize(("name", "subtype"), [("a.ogg", "VORBIS"), ("a.ogg", "OPUS")])
def test_ogg(tmp_path: Path, name: str, subtype: str) -> None:
    """Both codecs that Ogg usually has; the loudness is that of the original."""
    speech = speech_like(2.0, 48_000)
    decoded = samples_of(write(tmp_path / name, speech, 48_000, subtype))
    assert abs(decoded.size - speech.size) <= 960
    assert np.std(decoded) == pytest.approx(np.std(speech), rel=0.1)


@pytest.mark.parametrize("rate_hz", [6_000, 11_025, 96_000])
def test_other_rates_become_48_khz(tmp_path: Path, rate_hz: int) -> None:
    """The same sound at another rate: a tone keeps its pitch, its length and its loudness."""
    tone = (10_000 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)).astype(np.int16)
    path = write(tmp_path / "a.wav", tone, rate_hz)
    file = AudioFile(path)
    assert file.rate_hz == 48_000
    resampled = np.concatenate(list(file.blocks(0.03)))
    file.close()
    assert abs(resampled.size - 48_000) <= 2
    wanted = 10_000 * np.sin(2 * np.pi * 440 * np.arange(resampled.size) / 48_000)
    middle = slice(2_000, -2_000)
    assert np.abs(resampled - wanted)[middle].max() < 50


def test_peak_is_that_of_the_loudest_moment(tmp_path: Path) -> None:
    """And reading goes on from the start."""
    samples = np.zeros(32_000, np.int16)
    samples[20_000:24_000] = 16_384
    file = AudioFile(write(tmp_path / "a.wav", samples))
    assert file.peak_db() == pytest.approx(-6.02, abs=0.01)
    np.testing.assert_array_equal(np.concatenate(list(file.blocks(1.0))), samples)
    file.close()


def riff(rate_hz: int, channels: int, data_bytes: int, data: bytes) -> bytes:
    """A WAV header that claims what it likes, and some data."""
    head = b"WAVEfmt " + (16).to_bytes(4, "little") + (1).to_bytes(2, "little") + channels.to_bytes(2, "little")
    head += rate_hz.to_bytes(4, "little") + (rate_hz * channels * 2).to_bytes(4, "little") + (channels * 2).to_bytes(2, "little")
    head += (16).to_bytes(2, "little") + b"data" + data_bytes.to_bytes(4, "little") + data
    return b"RIFF" + (len(head)).to_bytes(4, "little") + head


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not WAV, FLAC, Ogg or MP3"),
        (b"hello, this is no sound at all" * 10, "not WAV, FLAC, Ogg or MP3"),
        (b"OggS" + b"\0" * 100, "not WAV, FLAC, Ogg or MP3"),
        (b"fLaC" + b"\xff" * 100, "not WAV, FLAC, Ogg or MP3"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0" + b"\0" * 100, r"it is MP4 \(ftyp\), which can not be read"),
        (riff(16_000, 1, 0, b""), "holds no sound"),
        (riff(1_000, 1, 200, b"\0" * 200), "rate is 1000 Hz"),
        (riff(500_000, 1, 200, b"\0" * 200), "rate is 500000 Hz"),
        (riff(16_000, 40, 8_000, b"\0" * 8_000), "40 channels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_not_be_played_says_why(tmp_path: Path, data: bytes, text: str) -> None:
    """Each fault has a text of its own."""
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(AudioFileError, match=text):
        samples_of(path)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long and too large are said before anything is read."""
    path = write(tmp_path / "a.wav", np.zeros(32_000, np.int16))
    monkeypatch.setattr(audio_file, "MAX_SECONDS", 1)
    with pytest.raises(AudioFileError, match="2 s long; at most 1 s"):
        AudioFile(path)
    monkeypatch.setattr(audio_file, "MAX_FILE_BYTES", 1_000)
    with pytest.raises(AudioFileError, match="64044 bytes; at most 1000"):
        AudioFile(path)


def test_samples_that_are_not_finite(tmp_path: Path) -> None:
    """Floating-point files can hold anything."""
    path = write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.5]), subtype="FLOAT")
    with pytest.raises(AudioFileError, match="not finite"):
        samples_of(path)


@pytest.mark.parametrize("name", ["none.wav", "."])
def test_what_is_not_a_file(tmp_path: Path, name: str) -> None:
    """A folder is no more a file than one that is missing."""
    with pytest.raises(FileNotFoundError):
        AudioFile(tmp_path / name)


def test_reading_after_it_was_closed(tmp_path: Path) -> None:
    """A reader gets an error; closing twice is no fault."""
    file = AudioFile(write(tmp_path / "a.wav", np.zeros(80_000, np.int16)))
    blocks = file.blocks(0.01)
    next(blocks)
    file.close()
    file.close()
    with pytest.raises(AudioFileError):
        next(blocks)


def test_closing_while_another_thread_reads(tmp_path: Path) -> None:
    """It ends with an error or with the whole file, nothing crashes."""
    path = write(tmp_path / "a.wav", np.zeros(800_000, np.int16))
    frames: list[int] = []

    def read(file: AudioFile) -> None:
        count = 0
        with contextlib.suppress(AudioFileError):
            for block in file.blocks(0.01):
                count += block.size
        frames.append(count)

    for _ in range(5):
        file = AudioFile(path)
        reader = threading.Thread(target=read, args=(file,))
        reader.start()
        file.close()
        reader.join()
    assert len(frames) == 5
    assert max(frames) <= 800_000


@given(
    st.sampled_from(["wav", "flac", "ogg"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_mutated_files_never_crash(tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[float, int]]) -> None:
    """Samples, or `AudioFileError`."""
    folder = tmp_path_factory.getbasetemp()
    subtype = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS"}[kind]
    path = write(folder / f"mutated.{kind}", speech_like(0.2, 8_000), 8_000, subtype)
    data = bytearray(path.read_bytes())
    for place, value in changes:
        # Early bytes, where the headers are, are hit as often as all the others.
        data[int(place**3 * len(data))] = value
    path.write_bytes(data)
    with contextlib.suppress(AudioFileError):
        assert samples_of(path).dtype == np.int16
