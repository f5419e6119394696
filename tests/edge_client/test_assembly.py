"""The parts of a device by its settings."""

from __future__ import annotations

import pytest

from avatar_relay.media import AudioFormat, Codec
from avatar_relay.messages import Media
from edge_client.assembly import make_playback
from edge_client.audio.sinks.virtual import PERIOD_US
from edge_client.config import EdgeConfig
from tests.edge_client.motion.test_audio_mouth import RATE_HZ, speech
from tests.edge_client.playback_bench import SteppedSink, audio_payloads, open_


@pytest.mark.parametrize("has_face", [True, False])
def test_sound_is_analysed_only_for_a_face(has_face: bool) -> None:
    """Sound without motion moves the mouth of a face that is drawn; without one the work would only delay the sound."""
    sink = SteppedSink()
    playback = make_playback(EdgeConfig(), sink, None, has_face=has_face)
    sink.start(playback)
    now_us = 1_000_000
    for message in (
        open_("a", motion=None, audio=AudioFormat(Codec.PCM_S16LE, RATE_HZ)),
        Media("a", audio_payloads(speech(1.0), rate_hz=RATE_HZ)),
    ):
        playback.handle(message, now_us)
    moved = False
    for _ in range(60):
        sink.step(now_us)
        playback.tick(now_us)
        moved = moved or playback.view(now_us).motion is not None
        now_us += PERIOD_US
    assert moved is has_face
