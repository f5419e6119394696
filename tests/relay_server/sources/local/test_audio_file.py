"""Files of speech."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.sound.ogg_opus import OggOpusReader
from relay_server.sources.local import audio_file
from relay_server.sources.local.audio_file import AudioFile
from relay_server.sources.local.audio_readers import AudioFileError
from tests.avatar_relay.sound.ogg_muxing import TakenApart
from tests.avatar_relay.sound.streams import TAG, wav
from tests.edge_client.audio.decoders.clips import encode, need_opus_tools, tones
from tests.lab.recordings import speech_like


def write(path: Path, samples: NDArray[np.generic], rate_hz: int = 16_000, subtype: str = "PCM_16") -> Path:
    """Write a file of these samples; the suffix selects the format."""
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
    """At each of the wire's rates, for every possible value."""
    samples = np.arange(-32_768, 32_768, 7).astype(np.int16)
    path = write(tmp_path / name, samples, rate_hz)
    np.testing.assert_array_equal(samples_of(path), samples)


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "DOUBLE"])
def test_finer_samples_are_rounded(tmp_path: Path, subtype: str) -> None:
    """Rounded to 16 bits; samples beyond full scale are clipped."""
    samples = np.array([0.0, 0.5, -0.5, 0.25 + 2**-18, 0.999999, -1.0])
    np.testing.assert_array_equal(
        samples_of(write(tmp_path / "a.wav", samples, subtype=subtype)), [0, 16_384, -16_384, 8_192, 32_767, -32_768]
    )
    loud = write(tmp_path / "loud.wav", np.array([3.0, -3.0], np.float32), subtype="FLOAT")
    np.testing.assert_array_equal(samples_of(loud), [32_767, -32_768])


def test_channels_are_averaged(tmp_path: Path) -> None:
    """Sound on one side only is audible too."""
    stereo = np.array([[1_000, 3_000], [-500, 500]], np.int16)
    np.testing.assert_array_equal(samples_of(write(tmp_path / "a.wav", stereo)), [2_000, 0])


@pytest.mark.parametrize(("name", "subtype"), [("a.ogg", "VORBIS"), ("a.ogg", "OPUS")])
def test_ogg(tmp_path: Path, name: str, subtype: str) -> None:
    """Both common codecs of Ogg; the loudness is that of the original."""
    speech = speech_like(2.0, 48_000)
    decoded = samples_of(write(tmp_path / name, speech, 48_000, subtype))
    assert abs(decoded.size - speech.size) <= 960
    assert np.std(decoded) == pytest.approx(np.std(speech), rel=0.1)


@pytest.mark.parametrize("rate_hz", [6_000, 11_025, 96_000])
def test_other_rates_become_48_khz(tmp_path: Path, rate_hz: int) -> None:
    """A tone keeps its pitch, length and loudness at another rate."""
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
    """Reading then continues from the start."""
    samples = np.zeros(32_000, np.int16)
    samples[20_000:24_000] = 16_384
    file = AudioFile(write(tmp_path / "a.wav", samples))
    assert file.peak_db() == pytest.approx(-6.02, abs=0.01)
    np.testing.assert_array_equal(np.concatenate(list(file.blocks(1.0))), samples)
    file.close()


def riff(rate_hz: int, channels: int, data_bytes: int, data: bytes) -> bytes:
    """A WAV header with arbitrary claims, and some data."""
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
        (b"\0\0\0\x20ftypM4A \0\0\0\0" + b"\0" * 100, r"it is MP4 \(ftyp\), which cannot be read"),
        (riff(16_000, 1, 0, b""), "holds no sound"),
        (riff(1_000, 1, 200, b"\0" * 200), "rate is 1000 Hz"),
        (riff(500_000, 1, 200, b"\0" * 200), "rate is 500000 Hz"),
        (riff(16_000, 40, 8_000, b"\0" * 8_000), "40 channels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_not_be_played_says_why(tmp_path: Path, data: bytes, text: str) -> None:
    """Each fault has its own text."""
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(AudioFileError, match=text):
        samples_of(path)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long and too large files are refused before anything is read."""
    path = write(tmp_path / "a.wav", np.zeros(32_000, np.int16))
    monkeypatch.setattr(audio_file, "MAX_SECONDS", 1)
    with pytest.raises(AudioFileError, match="2 s long; at most 1 s"):
        AudioFile(path)
    monkeypatch.setattr(audio_file, "MAX_FILE_BYTES", 1_000)
    with pytest.raises(AudioFileError, match="64044 bytes; at most 1000"):
        AudioFile(path)


def test_samples_that_are_not_finite(tmp_path: Path) -> None:
    """Floating-point files can contain any value."""
    path = write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.5]), subtype="FLOAT")
    with pytest.raises(AudioFileError, match="not finite"):
        samples_of(path)


@pytest.mark.parametrize("name", ["none.wav", "."])
def test_what_is_not_a_file(tmp_path: Path, name: str) -> None:
    """A folder is refused like a missing file."""
    with pytest.raises(FileNotFoundError):
        AudioFile(tmp_path / name)


def test_reading_after_it_was_closed(tmp_path: Path) -> None:
    """A reader gets an error; closing twice is not an error."""
    file = AudioFile(write(tmp_path / "a.wav", np.zeros(80_000, np.int16)))
    blocks = file.blocks(0.01)
    next(blocks)
    file.close()
    file.close()
    with pytest.raises(AudioFileError):
        next(blocks)


def test_closing_while_another_thread_reads(tmp_path: Path) -> None:
    """Reading ends with an error or with the whole file; nothing crashes."""
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


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF])
def test_wav_whose_length_was_not_known(tmp_path: Path, size: int) -> None:
    """As written by programs that stream it: all of it is read, and nothing is reported."""
    samples = speech_like(1.0, 16_000)
    path = tmp_path / "a.wav"
    path.write_bytes(wav(samples.tobytes(), data_size=size, riff_size=size, before=TAG))
    file = AudioFile(path)
    assert file.peak_db() > -40
    np.testing.assert_array_equal(np.concatenate(list(file.blocks(0.1))), samples)
    assert file.irregularities() == []
    file.close()


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "GSM610", "IMA_ADPCM", "MS_ADPCM", "PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_other_encodings_of_wav(tmp_path: Path, subtype: str) -> None:
    """Read twice, as the source does: for the level, and for playback."""
    speech = speech_like(1.0, 16_000)
    file = AudioFile(write(tmp_path / "a.wav", speech / 32_768, subtype=subtype))
    level = file.peak_db()
    decoded = np.concatenate(list(file.blocks(0.1)))
    file.close()
    assert 0 <= decoded.size - speech.size < 600
    assert np.std(decoded) == pytest.approx(np.std(speech), rel=0.1)
    assert level > -40


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
@pytest.mark.parametrize("channels", [3, 5, 6, 8])
def test_a_voice_in_the_centre_is_kept(tmp_path: Path, name: str, channels: int) -> None:
    """-3 dB at most, in the channel order of each container; the LFE channel is left out."""
    voice = 0.3 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)
    ogg = name.endswith("ogg")
    samples = np.zeros((24_000, channels))
    samples[:, 1 if ogg else 2] = voice
    if channels >= 6:
        samples[:, -1 if ogg else 3] = 0.9
    path = tmp_path / name
    soundfile.write(path, samples, 24_000)
    decoded = samples_of(path)
    assert 20 * np.log10(np.std(decoded) / 32_768 / np.std(voice)) == pytest.approx(-2.5, abs=0.1)


def test_a_channel_mask_is_heeded(tmp_path: Path) -> None:
    """A mask with channel positions, and an impossible one."""
    samples = np.zeros((1_000, 2), "<i2")
    samples[:, 0] = 10_000
    for mask, wanted in ((0x4 | 0x8, 7_500), (0x3, 5_000), (0x1, 5_000)):
        data = bytearray(wav(samples.tobytes(), channels=2, extensible=True))
        data[40:44] = mask.to_bytes(4, "little")
        (tmp_path / "a.wav").write_bytes(data)
        np.testing.assert_array_equal(samples_of(tmp_path / "a.wav"), np.full(1_000, wanted))


def test_a_flac_that_breaks_off_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    """The truncation is reported."""
    path = write(tmp_path / "a.flac", speech_like(3.0, 16_000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    file = AudioFile(path)
    heard = sum(len(block) for block in file.blocks(0.1))
    (told,) = file.irregularities()
    file.close()
    assert heard % 4_096 == 0
    assert 8_000 < heard < 36_000
    assert "damaged after" in told


@pytest.mark.parametrize("tag", [b"", b"ID3\x03\0\0\0\0\0\x0a" + bytes(10)])
def test_ogg_opus_is_read_as_a_device_reads_it(tmp_path: Path, tag: bytes) -> None:
    """Identical to the sample, with the same reports; also after an ID3 tag, and chained."""
    need_opus_tools()
    stream = TakenApart(encode(tmp_path, tones(0.9)))
    data = tag + stream.mux(granule=lambda frames, _, last: 0 if last else frames) + stream.mux(serial=8)
    reader = OggOpusReader()
    wanted = np.concatenate([reader.decode(data), reader.finish()])
    path = tmp_path / "a.opus"
    path.write_bytes(data)
    file = AudioFile(path)
    assert file.rate_hz == 48_000
    assert file.peak_db() > -40
    np.testing.assert_array_equal(np.concatenate(list(file.blocks(0.1))), wanted)
    assert file.irregularities() == reader.irregularities() != []
    file.close()


def test_an_mp3_is_read(tmp_path: Path) -> None:
    """With the padding that its encoder added at both ends, and identical for blocks of any length."""
    speech = speech_like(1.0, 24_000)
    path = tmp_path / "a.mp3"
    soundfile.write(path, speech, 24_000, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE", compression_level=0.6)
    whole = samples_of(path, 10.0)
    assert abs(whole.size - speech.size) < 2_400
    np.testing.assert_array_equal(samples_of(path, 0.07), whole)


@given(
    st.sampled_from(["wav", "flac", "ogg"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
)
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
