"""Plays a motion file with the sound file of the same name in its folder."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from avatar_relay.media import AngleUnit, AudioFormat, Codec, Pacing
from avatar_relay.reasons import Fault, Reason
from relay_server.sources.interleave import MOTION_WINDOW_S, Interleaver
from relay_server.sources.local.audio_file import AudioFile
from relay_server.sources.local.audio_readers import AudioFileError
from relay_server.sources.local.source import irregularities_of
from relay_server.sources.motion_files.csv_files import read_csv
from relay_server.sources.motion_files.json_files import parse_json, read_json
from relay_server.sources.motion_files.motion_clip import MAX_CSV_BYTES, MAX_JSON_BYTES, MotionClip, MotionFileError
from relay_server.sources.source import AudioChunk, FileSpeech, Irregularity, Item, MotionChunk, Performance, SourceError

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")
BLOCK_S = 0.5


class MotionFileSource:
    """Plays CSV, and JSON other than AvatarKit recordings."""

    name = "motion file"

    async def perform(self, speech: FileSpeech) -> Performance:
        """Read and check the whole file, and open its sound. Raises `SourceError`."""
        try:
            clip, sound, irregular = await asyncio.to_thread(_open, speech)
        except MotionFileError as error:
            text = f"{speech.path.name} is not motion that can be played: {error}"
            raise SourceError(Fault(Reason.SPEECH_FILE_INVALID, text, "file")) from error
        except OSError as error:
            raise SourceError(Fault(Reason.SPEECH_FILE_UNKNOWN, f"{speech.path.name} cannot be read: {error.strerror}", "file")) from error
        items = _items(clip, sound, irregular, speech.path)
        return Performance(AudioFormat(Codec.PCM_S16LE, sound.rate_hz), clip.motion_format, Pacing.BURST, items)


def sound_beside(path: Path) -> Path | None:
    """The sound file of a motion file: the same name and folder; None if there is none."""
    for suffix in SOUND_SUFFIXES:
        beside = path.with_suffix(suffix)
        if beside.is_file() and beside.resolve().is_relative_to(path.parent.resolve()):
            return beside
    return None


def read_motion(path: Path, sound_s: float, angle_unit: AngleUnit) -> MotionClip:
    """Read and check a file. Raises `MotionFileError`, or `OSError` if it cannot be read."""
    is_csv = path.suffix.lower() == ".csv"
    most = MAX_CSV_BYTES if is_csv else MAX_JSON_BYTES
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise MotionFileError(f"it is larger than {most} bytes")
    if is_csv:
        return read_csv(data, sound_s, angle_unit)
    document: Any = parse_json(data)
    return read_json(document, sound_s, angle_unit)


def _open(speech: FileSpeech) -> tuple[MotionClip, AudioFile, list[Irregularity]]:
    path = sound_beside(speech.path)
    if path is None:
        read_motion(speech.path, 0.0, speech.angle_unit)  # errors of the file itself come first
        kinds = ", ".join(SOUND_SUFFIXES)
        raise MotionFileError(f"there is no sound beside it: a file {speech.path.stem} with one of {kinds}")
    try:
        with_length = AudioFile(path)
        try:
            length = sum(block.size for block in with_length.blocks(BLOCK_S)) / with_length.rate_hz
            irregular = irregularities_of(with_length)
        finally:
            with_length.close()
        clip = read_motion(speech.path, length, speech.angle_unit)
        heard = math.ceil(length * clip.motion_format.keyframes_per_second)
        return replace(clip, rows=clip.rows[:heard]), AudioFile(path), irregular
    except AudioFileError as error:
        raise MotionFileError(f"its sound {path.name} cannot be played: {error}") from error


async def _items(clip: MotionClip, sound: AudioFile, irregular: list[Irregularity], path: Path) -> AsyncIterator[Item]:
    steps = _steps(clip, sound)
    try:
        for told in irregular:
            yield told
        while (items := await asyncio.to_thread(next, steps, None)) is not None:
            for item in items:
                yield item
    except AudioFileError as error:
        raise SourceError(Fault(Reason.SPEECH_FILE_INVALID, f"the sound of {path.name} cannot be played: {error}", "file")) from error
    finally:
        sound.close()


def _steps(clip: MotionClip, sound: AudioFile) -> Iterator[list[AudioChunk | MotionChunk]]:
    rate = clip.motion_format.keyframes_per_second
    out = Interleaver(sound.rate_hz, rate)
    pushed, frames = 0, 0
    for samples in sound.blocks(BLOCK_S):
        frames += samples.size
        due = round((frames / sound.rate_hz + MOTION_WINDOW_S) * rate)
        out.push_motion(clip.rows[pushed:due])
        pushed = max(pushed, min(due, len(clip.rows)))
        out.push_audio(samples)
        yield out.take(ended=pushed == len(clip.rows))
    yield out.take(ended=True)
