"""The speaker process is stopped and killed at random moments: recovery time of the sound, and no loss."""

from __future__ import annotations

import logging
import os
import random
import signal
import time

import numpy as np
import pytest

pytest.importorskip("pyaudio")
from tests.edge_client.audio.sinks.playing import ArrayFeed, make_noise, playing, speaker_pid, wait_until_heard
from tests.lab.ground_truth.heard import find, stretches
from tests.lab.sound_card.paced_card import RATE_HZ, PacedDevice, deep_paced_device, paced_library

__all__ = ["deep_paced_device", "paced_library"]

_log = logging.getLogger(__name__)

GAP_FRAMES = RATE_HZ // 20


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(("number", "back_s"), [(signal.SIGKILL, 2.0), (signal.SIGSTOP, 3.5)], ids=["killed", "stopped"])
def test_nothing_is_lost(deep_paced_device: PacedDevice, number: signal.Signals, back_s: float, pytestconfig: pytest.Config) -> None:
    """Each time, sound is back in time, and continues at the last position or before: what the card had taken may be heard twice."""
    count = pytestconfig.getoption("cases") or 100
    chance = random.Random(pytestconfig.getoption("seed"))
    noise = make_noise(count * 1.5 + 5)
    taken: list[float] = []
    with playing(ArrayFeed(noise)) as sink:
        wait_until_heard(sink, RATE_HZ // 4)
        for _ in range(count):
            time.sleep(chance.uniform(0.3, 1.3))
            sink_frame = wait_until_heard(sink, 1).frame
            os.kill(speaker_pid(), number)
            since_s = time.monotonic()
            restarts = sink.counters().restarts
            while sink.counters().restarts == restarts or sink.counters().lost:
                time.sleep(0.005)
            wait_until_heard(sink, round(sink_frame) + RATE_HZ // 2)
            taken.append(time.monotonic() - since_s - 0.5)
        assert sink.counters().restarts == count
    _log.info("sound back after %s: median %.2f s, most %.2f s", number.name, float(np.median(taken)), max(taken))
    end = 0
    for first, last in stretches(deep_paced_device.samples(), GAP_FRAMES):
        for run in find(deep_paced_device.samples()[first:last], noise).runs:
            assert run.sent_frame <= end, f"{run.sent_frame - end} frames lost"
            end = max(end, run.sent_frame + run.frames)
    assert max(taken) <= back_s
