"""The visible mouth moves with the audible sound: measured on the pictures shown by the client.

All components are real and run in real time: relay, edge client, GLES off-screen. `tests/lab/mouth/score_pictures.py` does the
same with more speech and prints the shares.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from avatar_relay import avatarkit
from avatar_relay.limits import AVATARKIT_KEYFRAMES_PER_SECOND
from relay_server.sources.local.source import LocalSource
from relay_server.sources.recording import RecordingSource
from relay_server.sources.source import AudioChunk, FileSpeech, Item, Performance, Source, Speech
from tests.lab.backend import Script
from tests.lab.data import debian_speech, shared_data
from tests.lab.mouth.on_pictures import MouthOnPictures, watch_mouth
from tests.lab.mouth.score_pictures import judge_speech

pytestmark = pytest.mark.alone

WINDOW_S = 0.04


def loudness(samples: NDArray[np.float64], rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle and RMS of each window, relative to the loudest."""
    size = round(rate_hz * WINDOW_S)
    rms = np.sqrt((samples[: len(samples) // size * size].reshape(-1, size) ** 2).mean(1))
    return (np.arange(len(rms), dtype=np.float64) + 0.5) * WINDOW_S, np.asarray(rms / rms.max(), np.float64)


def watched(source: Source, path: Path, record: Path | None = None) -> MouthOnPictures:
    """Pictures shown during the sound."""
    return watch_mouth(Script(source, FileSpeech(path), path.name), record=record)


def assert_speaks(seen: MouthOnPictures, samples: NDArray[np.float64], rate_hz: int) -> None:
    """Open far more in speech than in silence, and shut in silence (a long one: 0.2 s after sound and before it)."""
    times_s, level = loudness(samples, rate_hz)
    opening = seen.opening_at(times_s)
    loud = level > 0.1
    quiet = np.convolve(level < 0.02, np.ones(11), "same") > 10.5
    assert loud.sum() > 20 and quiet.sum() >= 5
    assert np.mean(opening[loud] > 0) > 0.5
    assert np.mean(opening[quiet] > 0) < 0.15
    assert opening[loud].mean() > 5 * max(1.0, opening[quiet].mean())


def speech_between_silences(path: Path) -> tuple[NDArray[np.float64], int]:
    """Write human speech to `path`; return its samples and their rate."""
    speech, rate_hz = soundfile.read(debian_speech("data/librivox/sense_and_sensibility_01_austen_64kb-0880.wav"))
    silence = np.zeros(round(0.8 * rate_hz))  # the clips have no long enough pause of their own
    samples = np.concatenate([silence, speech, silence])
    soundfile.write(path, samples, rate_hz, subtype="PCM_16")
    return samples, rate_hz


def opening_of(path: Path, messages: int) -> dict[str, Any]:
    """The first motion messages of a recorded conversation, with their sound."""
    document: dict[str, Any] = json.loads(path.read_text())
    motion = [base64.b64decode(message) for message in document["animation_messages_base64"][:messages]]
    motion[-1] = avatarkit.write(replace(avatarkit.read(motion[-1]), end=True))
    samples = sum(map(avatarkit.count_keyframes, motion)) * document["sample_rate"] // AVATARKIT_KEYFRAMES_PER_SECOND
    document["animation_messages_base64"] = [base64.b64encode(message).decode() for message in motion]
    document["audio_base64"] = base64.b64encode(base64.b64decode(document["audio_base64"])[: 2 * int(samples)]).decode()
    return document


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("messages", "keyframes", "position_ms"),
    [pytest.param(2, 150, 6_000, id="opening"), pytest.param(6, 507, 20_280, marks=pytest.mark.slow, id="all")],
)
def test_a_real_avatarkit_conversation(tmp_path: Path, messages: int, keyframes: int, position_ms: int) -> None:
    """A recorded conversation of the vendor: all keyframes, all sound, one end, and a mouth that speaks and rests."""
    path = tmp_path / "recording.json"
    recording = opening_of(shared_data("avatarkit-recording-16k.json"), messages)
    path.write_text(json.dumps(recording))
    seen = watched(RecordingSource(), path, record=tmp_path)
    figures = seen.figures
    assert figures["keyframes_received"] == keyframes
    assert figures["underruns"] == figures["dropped_payloads"] == figures["late_payloads"] == 0
    assert seen.published.reason == "completed"
    assert seen.published.position_ms == pytest.approx(position_ms, abs=20)
    assert_speaks(seen, np.frombuffer(base64.b64decode(recording["audio_base64"]), "<i2").astype(np.float64), 16_000)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_people_speak_through_the_local_source(tmp_path: Path) -> None:
    """Human speech with motion derived from its sound: the mouth opens with it, and is shut before and after it.

    In the suite, `relay_server/sources/test_mouth_scores.py` judges that motion, and `test_link_cut.py` sees a mouth move with it.
    """
    samples = speech_between_silences(tmp_path / "speech.wav")
    seen = watched(LocalSource(), tmp_path / "speech.wav")
    assert_speaks(seen, *samples)


class SoundOnly:
    """A source that yields another source's sound, without motion."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def name(self) -> str:
        """See `Source`."""
        return "sound only"

    async def perform(self, speech: Speech) -> Performance:
        """See `Source`."""
        performance = await self._source.perform(speech)
        return replace(performance, motion_format=None, items=_sound_of(performance))


async def _sound_of(performance: Performance) -> AsyncIterator[Item]:
    async for item in performance.items:
        if isinstance(item, AudioChunk):
            yield item


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_people_speak_without_motion(tmp_path: Path) -> None:
    """Only sound reaches the device: its own analyser moves the mouth."""
    samples = speech_between_silences(tmp_path / "speech.wav")
    seen = watched(SoundOnly(LocalSource()), tmp_path / "speech.wav")
    assert seen.figures["keyframes_received"] == 0
    assert_speaks(seen, *samples)


@pytest.mark.timeout(120)
def test_lips_close_where_lips_must() -> None:
    """p, b and m: with the relay's voice, the visible lips close on at least 70 % of them, and vowels open them."""
    score = judge_speech(("Bob might pop five more purple balloons, but my mother made plum jam.",), "gles")
    print(f"speech, on the pictures: {score}")  # noqa: T201
    assert score.bilabials > 10
    assert score.bilabials_close >= 0.7
    assert score.vowels_open >= 0.6  # fewer pictures are shown while the machine is busy
