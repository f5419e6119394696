"""The service's messages: expected bytes, and parsing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_server.sources.audio2face import wire
from relay_server.sources.audio2face.settings import Emotion, EmotionStrengths
from tests.lab.services.audio2face import animation, header, status

# As the PyPI packages nvidia-audio2face-3d 1.3.0 and nvidia-ace 1.0.0 write them; `scripts/a2f_check` compares with them.
HEADER_16K = "0a090a07100118807d2010"
HEADER_EMOTIONS = "0a170a07100118807d20101a0c1801250000003f2d0000803e"
AUDIO_JOY = "121b0a0201001215090000000000000840120a0a036a6f79150000803f"
END = "1a00"


def test_header() -> None:
    """Mono 16-bit PCM at a rate, and nothing else."""
    assert wire.write_header(16_000, EmotionStrengths(), has_emotions=False).hex() == HEADER_16K


def test_header_with_emotions() -> None:
    """The header enables them."""
    assert wire.write_header(16_000, EmotionStrengths(0.25, 0.5), has_emotions=True).hex() == HEADER_EMOTIONS


def test_audio_and_end() -> None:
    """Samples with timed emotions; an end message that is empty but present."""
    assert wire.write_audio(b"\1\0", (Emotion(3.0, {"joy": 1.0}),)).hex() == AUDIO_JOY
    assert wire.write_end().hex() == END


def test_reads_header() -> None:
    """Names in order, and a rate."""
    assert wire.read_answer(header(24_000, ("JawOpen", "a")).SerializeToString()) == wire.Header(("JawOpen", "a"), 24_000)


@pytest.mark.parametrize("said", [{"channel_count": 2}, {"bits_per_sample": 8}, {"audio_format": 4}])
def test_sound_that_we_do_not_read_has_no_rate(said: dict[str, int]) -> None:
    """Our own sound is then played."""
    message = header(16_000)
    for name, value in said.items():
        setattr(message.animation_data_stream_header.audio_header, name, value)
    answer = wire.read_answer(message.SerializeToString())
    assert isinstance(answer, wire.Header)
    assert answer.pcm_rate_hz is None


def test_reads_animation() -> None:
    """Weights bit for bit, including unusable ones: validation is not done at this layer."""
    weights = np.array([0.1, -2.0, np.nan, np.inf], np.float32)
    answer = wire.read_answer(animation(0.5, weights, b"\1\0").SerializeToString())
    assert isinstance(answer, wire.Animation)
    (keyframe,) = answer.keyframes
    assert (keyframe.time_s, answer.audio) == (0.5, b"\1\0")
    assert keyframe.weights.tobytes() == weights.tobytes()


@pytest.mark.parametrize("code", [*wire.StatusCode, 9])
def test_reads_status(code: int) -> None:
    """Unknown codes stay numbers."""
    answer = wire.read_answer(status(code, "so").SerializeToString())
    assert answer == wire.ServiceStatus(code, "so")
    assert isinstance(answer, wire.ServiceStatus)
    assert isinstance(answer.code, wire.StatusCode) == (code < 4)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """A parsed answer, or a clear error."""
    try:
        wire.read_answer(data)
    except wire.ServiceWireError as error:
        assert "no message of the service" in str(error)
