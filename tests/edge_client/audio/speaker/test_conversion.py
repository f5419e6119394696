"""Conversion to the card's rate."""

from __future__ import annotations

import os

import numpy as np
import pytest

from edge_client.audio.resampler import Resampler
from edge_client.audio.speaker.conversion import ConvertedEngine
from edge_client.audio.speaker.engine import SpeakerEngine
from edge_client.audio.speaker.memory import GAIN_ONE, SpeakerMemory, SpeakerStatus, create_memory

RATE_HZ = 48_000


@pytest.mark.parametrize("card_rate_hz", [8_000, 16_000, 44_100, 96_000])
def test_converted_and_in_time(card_rate_hz: int) -> None:
    """The card gets the ring's content as resampled in one piece, at once and whole; the clock accounts for the resampler's delay."""
    descriptor = create_memory(RATE_HZ)
    memory = SpeakerMemory(descriptor, RATE_HZ)
    os.close(descriptor)
    memory.begin(0, gain=GAIN_ONE, paused=False)
    sent = np.random.default_rng(1).integers(-20_000, 20_000, RATE_HZ * 5 // 4).astype(np.int16)
    memory.write(sent)
    card = ConvertedEngine(SpeakerEngine(memory, RATE_HZ), RATE_HZ, card_rate_hz)
    frames, delay, got = card_rate_hz // 100, card_rate_hz // 50, []
    for number in range(80):
        got.append(card.render(frames, time_us=10_000 * number, delay_frames=delay, device_dry=number == 50))
        assert len(got[-1]) == frames
    expected = Resampler(RATE_HZ, card_rate_hz).process(sent)[: len(got) * frames]
    assert np.array_equal(np.concatenate(got), expected)
    snapshot = memory.snapshot()
    assert snapshot is not None
    heard_us = snapshot.device_frame / RATE_HZ * 1e6
    assert snapshot.time_us - heard_us == pytest.approx(20_000, abs=25)
    assert memory[SpeakerStatus.DEVICE_DRY] == 1
    memory.close()
