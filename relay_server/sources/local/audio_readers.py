"""Readers of sound files, one for each container, which return mono samples: libsndfile's, and our own for Ogg Opus.

A truncated file is read as far as possible, and reported as an irregularity.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from avatar_relay.errors import SoundError
from avatar_relay.sound.containers import HEAD_BYTES, Container, id3_bytes, sniff
from avatar_relay.sound.irregularities import Irregularities
from avatar_relay.sound.layout import MAX_CHANNELS, VORBIS_LAYOUTS, WAV_LAYOUTS, mono_gains, speakers_of_mask
from avatar_relay.sound.ogg_opus import OggOpusReader
from avatar_relay.sound.wav import WavFormat, WavReader

FILE_RATES_HZ = (4_000, 192_000)

_READ_BYTES = 16 << 10
_WAV_HEAD_BYTES = 1 << 20
"""The chunks before the samples are examined up to this size."""


class AudioFileError(ValueError):
    """The file cannot be played as speech; the text names the problem."""


class AudioReader(Protocol):
    """Reads one file, any number of times. One reading thread at a time; `close` may be called from any other."""

    @property
    def rate_hz(self) -> int:
        """Rate of the samples."""
        ...

    @property
    def frames(self) -> int | None:
        """Length of the file in frames, if it is known before reading."""
        ...

    @property
    def irregularities(self) -> Irregularities:
        """Irregularities that do not prevent playing."""
        ...

    def blocks(self, frames: int) -> Iterator[NDArray[np.float64]]:
        """All samples from the start, in blocks of about `frames`; full scale is 1. Raises `AudioFileError`."""
        ...

    def close(self) -> None:
        """Close the file; a concurrent reader gets `AudioFileError`. Idempotent."""
        ...


def open_reader(path: Path) -> AudioReader:
    """The reader for a file, by its content. Raises `AudioFileError`, or `OSError` if it cannot be read."""
    # libsndfile does not report why a file cannot be opened; the system does.
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if sniff(head) is Container.ID3:
            file.seek(id3_bytes(head))
            head = file.read(HEAD_BYTES)
            if not head.startswith(b"OggS"):
                head = b"ID3"
    if head.startswith(b"OggS") and b"OpusHead" in head:
        return OggOpusFile(path)
    found = sniff(head) if head else None
    try:
        return SndFile(path)
    except soundfile.LibsndfileError as error:
        if found in (None, Container.UNDECIDED):
            raise AudioFileError("it is not WAV, FLAC, Ogg or MP3, or it is damaged") from error
        raise AudioFileError(f"it is {found.value if found else ''}, which cannot be read: {error.error_string}") from error


class OggOpusFile:
    """Ogg Opus, by the reader that devices also use."""

    frames: int | None = None
    rate_hz = OggOpusReader.rate_hz

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed = False
        self.irregularities = Irregularities()

    def blocks(self, frames: int) -> Iterator[NDArray[np.float64]]:
        """See `AudioReader`. The block size depends on the file, not on `frames`."""
        reader = OggOpusReader()
        with self._path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                if self._closed:
                    raise AudioFileError("it was closed")
                yield from self._decoded(reader, data)
        yield from self._decoded(reader, None)
        for text in reader.irregularities():
            self.irregularities.tell(text, text)

    def close(self) -> None:
        """See `AudioReader`."""
        self._closed = True

    def _decoded(self, reader: OggOpusReader, data: bytes | None) -> Iterator[NDArray[np.float64]]:
        try:
            samples = reader.finish() if data is None else reader.decode(data)
        except SoundError as error:
            raise AudioFileError(str(error)) from error
        if len(samples):
            yield samples / 32_768.0


class SndFile:
    """WAV, FLAC, Ogg Vorbis, MP3 and other formats that libsndfile reads."""

    def __init__(self, path: Path) -> None:
        """Raises `AudioFileError`, and `soundfile.LibsndfileError` for a format unknown to libsndfile."""
        self._path = path
        self._lock = threading.Lock()
        """Prevents libsndfile from freeing what a reader on another thread still uses."""
        self._closed = False
        self.irregularities = Irregularities()
        self._wav = _wav_header(path)
        self._patched = False
        self._file = self._open()
        if self._wav is not None and not self._file.frames:
            self._patched = True
            self._file.close()
            self._file = self._open()
        try:
            self._check()
        except AudioFileError:
            self.close()
            raise
        self.rate_hz: int = self._file.samplerate
        self.frames: int | None = self._file.frames
        self._gains = np.array(mono_gains(self._speakers(), self._file.channels))

    def blocks(self, frames: int) -> Iterator[NDArray[np.float64]]:
        """See `AudioReader`."""
        self._begin()
        count, broken = 0, False
        while not broken:
            block, broken = self._read(frames)
            count += len(block)
            if broken and not count:
                raise AudioFileError("it is damaged: not a sample can be read")
            if broken:
                self.irregularities.tell("cut", f"it is damaged after {count / self.rate_hz:.3f} s: what is before that is played")
            if not len(block):
                return
            if not np.isfinite(block).all():
                raise AudioFileError("it holds samples that are not finite")
            yield block[:, 0] if len(self._gains) == 1 else block @ self._gains

    def _read(self, frames: int) -> tuple[NDArray[np.float64], bool]:
        """The next samples, and whether the file is broken after them: libsndfile returns what it can before it fails."""
        block = np.full((frames, self._file.channels), np.nan)
        try:
            with self._lock:
                return self._file.read(out=block), False
        except (soundfile.SoundFileError, RuntimeError) as error:
            if self._closed:
                raise AudioFileError("it was closed") from error
            return block[: int(np.argmax(np.isnan(block[:, 0])))], True

    def close(self) -> None:
        """See `AudioReader`."""
        with self._lock:
            self._closed = True
            self._file.close()

    def _open(self) -> Any:
        if self._patched and self._wav is not None:
            return _StraightSoundFile(_SizedWav(self._path.open("rb"), self._wav[1]))
        return _StraightSoundFile(str(self._path))

    def _begin(self) -> None:
        """Reopen the file at its start, because some encodings do not support seeking."""
        with self._lock:
            if not self._closed:
                self._file.close()
                self._file = self._open()

    def _check(self) -> None:
        rate_hz, channels = self._file.samplerate, self._file.channels
        if not FILE_RATES_HZ[0] <= rate_hz <= FILE_RATES_HZ[1]:
            raise AudioFileError(f"its rate is {rate_hz} Hz; {FILE_RATES_HZ[0]} to {FILE_RATES_HZ[1]} Hz are read")
        if not 1 <= channels <= MAX_CHANNELS:
            raise AudioFileError(f"it has {channels} channels; 1 to {MAX_CHANNELS} are read")
        if self._file.frames <= 0:
            raise AudioFileError("it holds no sound")

    def _speakers(self) -> tuple[int, ...] | None:
        channels = self._file.channels
        mask = self._wav[0].channel_mask if self._wav is not None else 0
        if mask:
            return speakers_of_mask(mask, channels)
        return (VORBIS_LAYOUTS if self._file.format == "OGG" else WAV_LAYOUTS)[channels - 1]


class _StraightSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Reads from start to end. The package would seek to the current position after each read, which causes clicks in VBR MP3."""

    def seekable(self) -> bool:
        """False: do not seek."""
        return False


class _SizedWav(io.RawIOBase):
    """A WAV file whose header is patched with the actual size of the samples, for a header without one."""

    def __init__(self, file: BinaryIO, data_begins: int) -> None:
        self._file = file
        self._field = data_begins - 4
        size = self._file.seek(0, io.SEEK_END) - data_begins
        self._file.seek(0)
        self._size = size.to_bytes(4, "little")

    def readinto(self, buffer: Any) -> int:
        """Read the file's bytes, with the size patched in."""
        begin = self._file.tell()
        data = bytearray(self._file.read(len(buffer)))
        for index, byte in enumerate(self._size, self._field - begin):
            if 0 <= index < len(data):
                data[index] = byte
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As in the file."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()


def _wav_header(path: Path) -> tuple[WavFormat, int] | None:
    """A WAV's format, and the offset of its samples; None if it is not WAV, or our reader does not understand it."""
    wav = WavReader(lambda format: None)
    with path.open("rb") as file:
        try:
            wav.feed(file.read(_WAV_HEAD_BYTES))
        except SoundError:
            return None
    return None if wav.format is None or not wav.data_begins else (wav.format, wav.data_begins)
