"""A card that is unplugged while real PyAudio plays. The open handle stays dead, as with a real card: PortAudio
then spins in its handler of underruns, writes endlessly to standard error, and hangs when the stream is closed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyaudio")
from edge_client.audio.sink import Pcm
from edge_client.audio.sinks.pyaudio import PyAudioSink
from edge_client.audio.speaker import keeper
from tests.edge_client.audio.sinks.playing import ArrayFeed, make_noise, playing, speaker_pid, wait_until_heard
from tests.lab.sound_card.paced_card import RATE_HZ, PacedDevice, deep_paced_device, paced_device, paced_library

__all__ = ["deep_paced_device", "paced_device", "paced_library"]


@pytest.fixture
def short_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detect a stall sooner, to save time: no device of these tests needs as long as PulseAudio."""
    monkeypatch.setattr(keeper, "LIMITS", replace(keeper.LIMITS, progress_us=1_000_000))


def _wait_until_lost(sink: PyAudioSink) -> str:
    while not (reason := sink.counters().lost):
        time.sleep(0.01)
    return reason


def _wait_until_gone(pid: int) -> None:
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        time.sleep(0.01)


def _assert_one_gap(heard: Pcm, noise: Pcm) -> None:
    """All of the noise was heard in order; around one gap at most 250 ms of it twice, which the card had taken and played."""
    silent = np.flatnonzero(heard == 0)
    assert len(silent)
    assert np.all(np.diff(silent) == 1), "more than one gap"
    before, after = heard[: silent[0]], heard[silent[-1] + 1 :]
    assert np.array_equal(before, noise[: len(before)])
    assert np.array_equal(after, noise[len(noise) - len(after) :])
    assert 0 <= len(before) + len(after) - len(noise) < RATE_HZ // 4


@pytest.mark.parametrize("in_xrun", [False, True], ids=["while_playing", "in_an_xrun"])
def test_sound_goes_on_after_the_card_is_back(deep_paced_device: PacedDevice, short_stall: None, in_xrun: bool) -> None:
    """The loss is reported while PortAudio still spins; the old process is gone; the sound continues at the same position."""
    noise = make_noise(1.0)
    with playing(ArrayFeed(noise)) as sink:
        wait_until_heard(sink, RATE_HZ // 4)
        pid = speaker_pid()
        assert os.readlink(f"/proc/{pid}/fd/2").startswith("/memfd:"), "the child writes to our standard error"
        if in_xrun:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.3)
            deep_paced_device.unplug()
            os.kill(pid, signal.SIGCONT)
        else:
            deep_paced_device.unplug()
        assert "no progress for 1 s; the sound device may have been unplugged" in _wait_until_lost(sink)
        _wait_until_gone(pid)
        held = sink.anchor()
        assert held is not None
        assert held.rate_hz == 0
        deep_paced_device.plug_in()
        wait_until_heard(sink, len(noise))
        assert sink.counters().lost == ""
        assert sink.counters().restarts == 1
    _assert_one_gap(deep_paced_device.heard_between_first_and_last_sound(), noise)


@pytest.mark.slow
def test_pulled_while_it_is_opened(paced_device: PacedDevice) -> None:
    """PortAudio hangs while opening: the child's timer ends the process, and the next attempt finds the card."""
    noise = make_noise(1.0)
    with playing(ArrayFeed(noise)) as sink:
        wait_until_heard(sink, RATE_HZ // 4)
        paced_device.unplug_at_next_start()
        os.kill(speaker_pid(), signal.SIGKILL)
        while "hung" not in sink.counters().lost:
            time.sleep(0.01)
        paced_device.plug_in()
        wait_until_heard(sink, len(noise))
        assert sink.counters().restarts == 1


@pytest.mark.slow
def test_process_that_is_stopped_is_replaced(deep_paced_device: PacedDevice) -> None:
    """A child that runs no code at all does not prevent the sound from continuing."""
    noise = make_noise(1.0)
    with playing(ArrayFeed(noise)) as sink:
        wait_until_heard(sink, RATE_HZ // 4)
        pid = speaker_pid()
        os.kill(pid, signal.SIGSTOP)
        wait_until_heard(sink, len(noise))
        _wait_until_gone(pid)
        assert sink.counters().restarts == 1


@pytest.mark.slow
def test_closing_does_not_wait_for_a_device_that_hangs(paced_device: PacedDevice) -> None:
    """The process is killed if it does not end within its time."""
    with playing(ArrayFeed(make_noise(5.0))) as sink:
        wait_until_heard(sink, RATE_HZ // 10)
        pid = speaker_pid()
        paced_device.hang()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.slow
def test_closing_does_not_wait_for_an_opening_that_hangs(paced_device: PacedDevice) -> None:
    """An attempt to reopen the lost device is aborted."""
    with playing(ArrayFeed(make_noise(5.0))) as sink:
        wait_until_heard(sink, RATE_HZ // 10)
        pid = speaker_pid()
        paced_device.hang()
        os.kill(pid, signal.SIGKILL)
        _wait_until_lost(sink)
        time.sleep(1.0)  # the next process is in that call now, or soon
        began = time.monotonic()
    assert time.monotonic() - began < 3
