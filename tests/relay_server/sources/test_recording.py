"""Source `recording`: a recorded AvatarKit conversation."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay import avatarkit
from avatar_relay.media import AudioFormat, Codec, MotionEncoding, Pacing
from avatar_relay.reasons import Reason
from relay_server.sources.recording import MAX_FILE_BYTES, RecordingError, RecordingSource, parse_recording
from relay_server.sources.source import AudioChunk, FileSpeech, MotionChunk, SourceError, TextSpeech
from tests.lab.data import shared_data
from tests.lab.recordings import motion_messages, recording, write_recording
from tests.relay_server.sources.performances import Performed, read_all

SMALL = json.dumps(recording((3, 4), 8_000)).encode()


def assert_motion_before_sound(performed: Performed, sample_rate_hz: int) -> None:
    """Check that sound never precedes its motion."""
    heard_s = shown_s = 0.0
    for item in performed.items:
        if isinstance(item, AudioChunk):
            heard_s += len(item.data) / 2 / sample_rate_hz
            assert shown_s >= heard_s - 0.04 - 1e-9
        elif isinstance(item, MotionChunk):
            shown_s += avatarkit.count_keyframes(item.data) / 25


async def test_payloads_pass_bit_for_bit(tmp_path: Path) -> None:
    """Audio and motion are those of the file; motion is in time."""
    path = write_recording(tmp_path / "made.json", (50, 100, 57))
    performance = await RecordingSource().perform(FileSpeech(path))
    performed = await read_all(performance)
    assert performance.audio_format == AudioFormat(Codec.PCM_S16LE, 16_000)
    assert performance.motion_format is not None
    assert performance.motion_format.encoding is MotionEncoding.AVATARKIT_V2
    assert performance.pacing is Pacing.BURST
    assert performed.motion == motion_messages((50, 100, 57))
    assert performed.audio == base64.b64decode(json.loads(path.read_text())["audio_base64"])
    assert max(len(item.data) for item in performed.items if isinstance(item, AudioChunk)) == 3_200
    assert_motion_before_sound(performed, 16_000)


async def test_real_recording_passes_bit_for_bit() -> None:
    """20.3 s and 507 keyframes of a real recording."""
    path = shared_data("avatarkit-recording-16k.json")
    document = json.loads(path.read_text())
    performed = await read_all(await RecordingSource().perform(FileSpeech(path)))
    assert [base64.b64encode(data).decode() for data in performed.motion] == document["animation_messages_base64"]
    assert performed.audio == base64.b64decode(document["audio_base64"])
    assert sum(map(avatarkit.count_keyframes, performed.motion)) == 507
    assert_motion_before_sound(performed, document["sample_rate"])


def changed(**values: object) -> bytes:
    """The small recording with other values; None removes a key."""
    document = json.loads(SMALL) | values
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not JSON"),
        (b"RIFF\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not a JSON object"),
        (changed(sample_rate=None), "sample_rate is not one of 8000"),
        (changed(sample_rate=11_025), "sample_rate is not one of"),
        (changed(sample_rate="16000"), "sample_rate is not one of"),
        (changed(sample_rate=[16_000]), "sample_rate is not one of"),
        (changed(audio_format="opus"), "audio_format is not pcm_s16le_mono"),
        (changed(audio_base64=None), "audio_base64 is not a text"),
        (changed(audio_base64="!!!!"), "audio_base64 is not base64"),
        (changed(audio_base64="é"), "audio_base64 is not base64"),
        (changed(audio_base64=""), "0 bytes"),
        (changed(audio_base64="AAAA"), "3 bytes: not whole 16-bit samples"),
        (changed(animation_messages_base64=None), "not a list"),
        (changed(animation_messages_base64=[]), "not a list of 1 to"),
        (changed(animation_messages_base64=[7]), r"animation_messages_base64\[0\] is not a text"),
        (changed(animation_messages_base64=["AAAA"]), r"animation_messages_base64\[0\]: "),
        (changed(animation_messages_base64=["A" * 4_000_000]), r"animation_messages_base64\[0\] has 3000000 bytes"),
        (b" " * (MAX_FILE_BYTES + 1), "larger than"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_recording_says_why(data: bytes, text: str) -> None:
    """Each fault has its own text, with the invalid key."""
    with pytest.raises(RecordingError, match=text):
        parse_recording(data)


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_mutated_recordings_never_crash(changes: list[tuple[int, int]]) -> None:
    """A playable recording, or `RecordingError`."""
    data = bytearray(SMALL)
    for position, value in changes:
        data[position] = value
    try:
        parsed = parse_recording(bytes(data))
    except RecordingError:
        return
    assert len(parsed.messages) == len(parsed.keyframes)


async def test_file_that_is_no_recording(tmp_path: Path) -> None:
    """The error contains the file's name, not its path."""
    path = tmp_path / "notes.json"
    path.write_text("{}")
    with pytest.raises(SourceError, match=r"notes\.json is not motion that can be played: it is JSON, but") as caught:
        await RecordingSource().perform(FileSpeech(path))
    assert caught.value.fault.reason is Reason.SPEECH_FILE_INVALID
    assert str(tmp_path) not in caught.value.fault.text


async def test_file_that_is_not_there(tmp_path: Path) -> None:
    """Nor the path that was searched."""
    with pytest.raises(SourceError, match=r"none\.json cannot be read") as caught:
        await RecordingSource().perform(FileSpeech(tmp_path / "none.json"))
    assert caught.value.fault.reason is Reason.SPEECH_FILE_UNKNOWN
    assert str(tmp_path) not in caught.value.fault.text


async def test_text_is_refused() -> None:
    """A recording must be a file."""
    with pytest.raises(SourceError, match="takes a file"):
        await RecordingSource().perform(TextSpeech("Hello"))
