"""Source `local`: a file of speech, and mouth motion derived from its sound."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avatar_relay.media import AudioFormat, Codec, Pacing
from avatar_relay.mouth.shapes import BLENDSHAPE_NAMES, MOTION_FORMAT
from avatar_relay.reasons import Reason
from relay_server.sources.local.source import LocalSource
from relay_server.sources.source import FileSpeech, Irregularity, SourceError, TextSpeech
from tests.avatar_relay.sound.ogg_muxing import TakenApart
from tests.edge_client.audio.decoders.clips import encode, need_opus_tools, tones
from tests.lab.data import PROJECT_ROOT, alsa_sample
from tests.lab.mouth.lip_opening import OPEN_FROM, SHUT_BELOW, lip_opening
from tests.lab.recordings import speech_like
from tests.relay_server.sources.performances import assert_motion_is_in_time, read_all

DEMO_CLIP = PROJECT_ROOT / "relay_server" / "sources" / "assets" / "demo.wav"


async def test_performance(tmp_path: Path) -> None:
    """PCM at the file's rate, identical to the sample, and weights of equal length, in bursts, motion in time."""
    path = tmp_path / "a.wav"
    speech = speech_like(3.3, 22_050)
    soundfile.write(path, speech, 22_050)
    performance = await LocalSource().perform(FileSpeech(path))
    assert performance.audio_format == AudioFormat(Codec.PCM_S16LE, 22_050)
    assert performance.motion_format == MOTION_FORMAT
    assert performance.pacing is Pacing.BURST
    performed = await assert_motion_is_in_time(performance)
    assert performed.audio == speech.astype("<i2").tobytes()


async def test_demo_clip_moves_the_mouth() -> None:
    """The committed clip: at rest before and after, open in between, a few seconds long."""
    performed = await assert_motion_is_in_time(await LocalSource().perform(FileSpeech(DEMO_CLIP)))
    opening = lip_opening(performed.rows(len(BLENDSHAPE_NAMES)))
    assert 3 * 30 <= opening.size <= 6 * 30
    assert opening[:5].max() < SHUT_BELOW
    assert opening[-8:].max() < SHUT_BELOW
    assert np.mean(opening > OPEN_FROM) > 0.4


def irregular_opus(folder: Path) -> bytes:
    """A stream whose last granule position would cut off all of it."""
    need_opus_tools()
    return TakenApart(encode(folder, tones(0.9))).mux(granule=lambda frames, _, last: 0 if last else frames)


async def test_irregular_sound_is_told(tmp_path: Path) -> None:
    """Reported once, and all of it is performed."""
    path = tmp_path / "a.opus"
    path.write_bytes(irregular_opus(tmp_path))
    performed = await read_all(await LocalSource().perform(FileSpeech(path)))
    (told,) = [item.fault for item in performed.items if isinstance(item, Irregularity)]
    assert told.reason is Reason.AUDIO_IRREGULAR
    assert "would cut off" in told.text
    clip = TakenApart(path.read_bytes())
    assert len(performed.audio) // 2 == clip.frames - clip.pre_skip


async def test_human_speech() -> None:
    """ "Front, center": two words, a pause, two syllables; 48 kHz."""
    performed = await assert_motion_is_in_time(await LocalSource().perform(FileSpeech(alsa_sample("Front_Center.wav"))))
    opening = lip_opening(performed.rows(len(BLENDSHAPE_NAMES)))
    assert opening[2:7].max() > OPEN_FROM
    assert opening[14:22].max() < SHUT_BELOW
    assert opening[24:40].max() > 2 * OPEN_FROM


async def test_many_at_once(tmp_path: Path) -> None:
    """One source serves many conversations."""
    path = tmp_path / "a.flac"
    soundfile.write(path, speech_like(2.0, 16_000), 16_000)
    source = LocalSource()
    performances = [await source.perform(FileSpeech(path)) for _ in range(5)]
    performed = await asyncio.gather(*[read_all(performance) for performance in performances])
    assert len({(one.audio, one.motion) for one in performed}) == 1


async def test_given_up_early(tmp_path: Path) -> None:
    """A reader may stop after the first item, or be cancelled within one: the file is closed, nothing is raised later."""
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like(60.0, 16_000), 16_000)
    performance = await LocalSource().perform(FileSpeech(path))
    async for _ in performance.items:
        break
    task = asyncio.create_task(read_all(await LocalSource().perform(FileSpeech(path))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("content", "reason", "text"),
    [
        (b"no sound", Reason.SPEECH_FILE_INVALID, r"a\.wav cannot be played: it is not WAV"),
        (None, Reason.SPEECH_FILE_UNKNOWN, r"a\.wav cannot be read: no such file"),
    ],
)
async def test_files_that_can_not_be_played(tmp_path: Path, content: bytes | None, reason: Reason, text: str) -> None:
    """The error contains the file's name and the fault, not its path."""
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=text) as caught:
        await LocalSource().perform(FileSpeech(path))
    assert caught.value.fault.reason is reason
    assert str(tmp_path) not in caught.value.fault.text


async def test_text_is_refused() -> None:
    """It plays files only."""
    with pytest.raises(SourceError, match="takes a file of speech"):
        await LocalSource().perform(TextSpeech("Hello"))
