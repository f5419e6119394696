"""When a conversation's first sound is released."""

from __future__ import annotations

import pytest

from avatar_relay.media import ConversationOpen, Pacing
from edge_client.playback.events import PlaybackConfig
from edge_client.playback.live_conversations import LiveConversation
from edge_client.playback.playing import Playing, make_audio
from edge_client.playback.playout import Ahead
from edge_client.playback.release import Release
from tests.edge_client.playback_bench import PCM, RATE_HZ, REAL_DECODERS, audio_payloads, tone

STEP_US = 10_000


def first_released_ms(ahead: Ahead, pacing: Pacing, *, speed: float) -> float:
    """How much sound has come when the first of it is released, if it comes in steps of 10 ms, `speed` times as fast as real time."""
    conversation = LiveConversation(ConversationOpen("a", PCM, pacing=pacing))
    playing = Playing(conversation, make_audio(conversation, REAL_DECODERS, RATE_HZ, max_bytes=1 << 20), None, 0)
    release = Release(PlaybackConfig(), RATE_HZ)
    for number, payload in enumerate(audio_payloads(tone(RATE_HZ), payload_us=STEP_US), 1):
        now_us = round(number * STEP_US / speed)
        playing.push(payload, now_us)
        playing.audio.decode(RATE_HZ, now_us, can_wait=True)
        if release.step(playing, ahead, now_us).chunks:
            return number * STEP_US / 1e3
    raise AssertionError("no sound was released")


@pytest.mark.parametrize(("buffer_ms", "expected_ms"), [(0, 20), (15, 20), (50, 50), (150, 150)])
def test_a_sound_device_can_fill_its_buffer_at_once(buffer_ms: int, expected_ms: int) -> None:
    """`BURST`, hardly faster than real time: with less than the device takes at once, the first word would have a gap."""
    ahead = Ahead(0, 0, buffer_ms * 1_000, buffer_ms * 1_000)
    assert first_released_ms(ahead, Pacing.BURST, speed=1.2) == expected_ms


def test_an_output_offset_is_no_buffer() -> None:
    """A television delays sound by 200 ms, and takes none of it at once."""
    assert first_released_ms(Ahead(0, 0, 220_000, 20_000), Pacing.BURST, speed=1.2) == 20
