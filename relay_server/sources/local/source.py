"""Source `local`: plays a file of speech, with mouth motion derived from its sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from avatar_relay.media import AudioFormat, Codec, Pacing
from avatar_relay.mouth.analyser import MouthAnalyser
from avatar_relay.mouth.shapes import KEYFRAMES_PER_SECOND, MOTION_FORMAT, to_weights
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.interleave import Interleaver
from relay_server.sources.local.audio_file import AudioFile
from relay_server.sources.local.audio_readers import AudioFileError
from relay_server.sources.source import AudioChunk, FileSpeech, Irregularity, Item, MotionChunk, Performance, SourceError, Speech

BLOCK_S = 0.5
"""Sound that is read and analysed at a time, in s: about 2 ms of work on another thread."""


class LocalSource:
    """Plays files of speech."""

    name = "local"

    async def perform(self, speech: Speech) -> Performance:
        """Open and check the file; it is analysed as it is read. Raises `SourceError`."""
        if not isinstance(speech, FileSpeech):
            raise SourceError(Fault(Reason.SPEECH_MISSING, "the source local takes a file of speech, not text", "file"))
        try:
            file, peak_db = await asyncio.to_thread(_open, speech.path)
        except (AudioFileError, OSError) as error:
            raise SourceError(_fault(speech.path, error)) from error
        audio_format = AudioFormat(Codec.PCM_S16LE, file.rate_hz)
        return Performance(audio_format, MOTION_FORMAT, Pacing.BURST, _items(file, peak_db, speech.path))


def _open(path: Path) -> tuple[AudioFile, float]:
    file = AudioFile(path)
    try:
        return file, file.peak_db()
    except AudioFileError:
        file.close()
        raise


def _fault(path: Path, error: Exception) -> Fault:
    if isinstance(error, OSError):
        return Fault(Reason.SPEECH_FILE_UNKNOWN, f"{path.name} cannot be read: {error.strerror}", "file")
    return Fault(Reason.SPEECH_FILE_INVALID, f"{path.name} cannot be played: {error}", "file")


def irregularities_of(file: AudioFile) -> list[Irregularity]:
    """The irregularities found so far in a file."""
    return [Irregularity(Fault(Reason.AUDIO_IRREGULAR, text, "file")) for text in file.irregularities()]


async def _items(file: AudioFile, peak_db: float, path: Path) -> AsyncIterator[Item]:
    steps = _steps(file, peak_db)
    try:
        for irregular in irregularities_of(file):
            yield irregular
        while (items := await asyncio.to_thread(next, steps, None)) is not None:
            for item in items:
                yield item
    except AudioFileError as error:
        raise SourceError(_fault(path, error)) from error
    finally:
        file.close()


def _steps(file: AudioFile, peak_db: float) -> Iterator[list[AudioChunk | MotionChunk]]:
    """The work, block by block; each step runs on any thread, one at a time."""
    analyser = MouthAnalyser(file.rate_hz, peak_db)
    out = Interleaver(file.rate_hz, KEYFRAMES_PER_SECOND)
    for samples in file.blocks(BLOCK_S):
        out.push_motion(to_weights(analyser.push(samples / 32_768.0)))
        out.push_audio(samples)
        yield out.take()
    out.push_motion(to_weights(analyser.finish()))
    yield out.take(ended=True)
