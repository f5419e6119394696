"""Real PyAudio on real ALSA, in the real speaker process; a paced ALSA device captures its output."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyaudio")
from edge_client.audio.sink import Pcm
from edge_client.audio.sinks.pyaudio import PyAudioSink
from edge_client.choices import Side
from tests.edge_client.audio.sinks.playing import ArrayFeed, make_noise, playing, speaker_pid, wait_until_heard
from tests.lab.sound_card.paced_card import RATE_HZ, PacedDevice, deep_paced_device, paced_device, paced_library

__all__ = ["deep_paced_device", "paced_device", "paced_library"]

_log = logging.getLogger(__name__)

_FADE = 480


def test_heard_is_what_was_given(deep_paced_device: PacedDevice) -> None:
    """Three seconds of noise are captured behind ALSA sample for sample, including the first and the last."""
    noise = make_noise(3.0)
    feed = ArrayFeed(noise)
    with playing(feed) as sink:
        sink.expect(True)
        feed.wait_until_given()
        assert sink.name == "PyAudio on ALSA, paced"
        sink.expect(False)
        assert sink.counters().underruns == 0
        assert sink.counters() is sink.counters(), "the player asks often: they are made anew only when one has changed"
    assert np.array_equal(deep_paced_device.heard_between_first_and_last_sound(), noise)


def test_a_sink_that_mutes_at_silence_is_kept_awake(deep_paced_device: PacedDevice) -> None:
    """Dither of one step precedes and follows the sound, never a period of digital silence; the sound is bit for bit."""
    noise = make_noise(0.5)
    sink = PyAudioSink(device="paced", keep_alive=True)
    sink.start(ArrayFeed(noise))
    try:
        wait_until_heard(sink, len(noise))
        time.sleep(0.3)
    finally:
        sink.close()
    heard = deep_paced_device.samples()
    loud = np.flatnonzero(np.abs(heard) > 1)
    assert np.array_equal(heard[loud[0] : loud[-1] + 1], noise)
    after = heard[loud[-1] + 1 :]
    assert len(after) > RATE_HZ // 10
    assert np.abs(after).max() == 1
    assert all(piece.any() for piece in np.array_split(after, len(after) // 2_000)[1:])


def test_a_card_that_rests_is_released_and_taken_again(deep_paced_device: PacedDevice) -> None:
    """No process holds it meanwhile, which is no fault; the sound that follows is whole, and nothing is heard twice."""
    first, second = make_noise(0.3), make_noise(0.3, seed=2)
    feed = ArrayFeed(first)
    sink = PyAudioSink(device="paced", release_after_s=0.5)
    sink.start(feed)
    try:
        wait_until_heard(sink, len(first))
        deadline = time.monotonic() + 10
        while not (why := sink.counters().why):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(AssertionError, match="no speaker process"):
            while time.monotonic() < deadline:
                speaker_pid()
                time.sleep(0.01)
        assert why == "released while nothing is said"
        assert (sink.counters().lost, sink.counters().opening, sink.counters().restarts) == ("", False, 0)
        anchor = sink.anchor()
        assert anchor is not None and anchor.frame == len(first)
        heard = deep_paced_device.heard_between_first_and_last_sound()
        assert np.array_equal(heard, first)
        feed.add(second)
        sink.expect(True)
        wait_until_heard(sink, len(first) + len(second))
        sink.expect(False)
    finally:
        sink.close()
    heard = deep_paced_device.heard_between_first_and_last_sound()
    assert np.array_equal(heard[: len(first)], first)
    assert np.array_equal(heard[-len(second) :], second)
    assert not heard[len(first) : -len(second)].any()


def test_content_after_idle_starts_at_once(deep_paced_device: PacedDevice) -> None:
    """Two pieces with silence between them: each is whole, and the second does not wait for a buffer to fill."""
    first, second = make_noise(0.3), make_noise(0.3, seed=2)
    feed = ArrayFeed(first)
    with playing(feed) as sink:
        wait_until_heard(sink, len(first))
        anchor = sink.anchor()
        assert anchor is not None
        assert (anchor.frame, anchor.rate_hz, anchor.limit_frame) == (len(first), 0, len(first))
        time.sleep(0.1)
        added_at = time.monotonic()
        feed.add(second)
        sink.expect(True)
        wait_until_heard(sink, len(first) + 1)
        assert time.monotonic() - added_at < 0.5
        sink.expect(False)
    heard = deep_paced_device.heard_between_first_and_last_sound()
    assert np.array_equal(heard[: len(first)], first)
    assert not heard[len(first) : -len(second)].any()
    assert np.array_equal(heard[-len(second) :], second)


def test_clear_tells_the_last_frame_that_was_heard(deep_paced_device: PacedDevice) -> None:
    """The capture ends with the frame returned by `clear`; what is fed afterwards is heard whole, from the next index."""
    first, second = make_noise(5.0), make_noise(0.3, seed=3)
    feed = ArrayFeed(first)
    with playing(feed) as sink:
        wait_until_heard(sink, RATE_HZ // 2)
        feed.end()
        heard_end = sink.clear()
        given = feed.given
        wait_until_heard(sink, heard_end)
        time.sleep(0.05)
        feed.add(second)
        last = wait_until_heard(sink, given + len(second))
        assert last.limit_frame == given + len(second)
        assert sink.counters().underruns == 0
    heard = deep_paced_device.heard_between_first_and_last_sound()
    before, between, after = heard[:heard_end], heard[heard_end : -len(second)], heard[-len(second) :]
    assert np.array_equal(before[: heard_end - _FADE], first[: heard_end - _FADE])
    assert before.all()
    assert not between.any()
    assert np.array_equal(after, second)


def test_clear_does_not_wait_for_a_pull_that_waits_for_its_caller(deep_paced_device: PacedDevice) -> None:
    """A caller that holds a lock needed by `pull` is answered nevertheless."""
    lock = threading.Lock()

    class LockedFeed(ArrayFeed):
        def pull(self, frames: int) -> Pcm:
            with lock:
                return super().pull(frames)

    with playing(LockedFeed(make_noise(5.0))) as sink:
        wait_until_heard(sink, RATE_HZ // 4)
        with lock:
            time.sleep(0.1)
            began = time.monotonic()
            assert sink.clear() > RATE_HZ // 4
            assert time.monotonic() - began < 0.4


def test_pause_loses_nothing(deep_paced_device: PacedDevice) -> None:
    """Around a pause each frame is heard once: 480 fade out, 480 fade in, all others are unchanged."""
    noise = make_noise(1.5)
    feed = ArrayFeed(noise)
    with playing(feed) as sink:
        sink.expect(True)
        wait_until_heard(sink, RATE_HZ // 2)
        sink.pause()
        time.sleep(0.4)
        held = sink.anchor()
        assert held is not None
        assert held.rate_hz == 0
        sink.resume()
        feed.wait_until_given()
        sink.expect(False)
        assert sink.counters().underruns == 0
    end = int(held.frame)
    heard = deep_paced_device.heard_between_first_and_last_sound()
    assert np.array_equal(heard[: end - _FADE], noise[: end - _FADE])
    assert heard[: end - 1].all()
    rest = len(noise) - end
    assert not heard[end - 1 : len(heard) - rest].any()
    assert heard[-rest:].all()
    assert np.array_equal(heard[_FADE - rest :], noise[end + _FADE :])


def test_volume(deep_paced_device: PacedDevice) -> None:
    """At gain 0.5 from the start, each sample is half its value, rounded."""
    noise = make_noise(0.3)
    sink = PyAudioSink(device="paced")
    sink.set_volume(0.5, muted=False)
    sink.start(ArrayFeed(noise))
    wait_until_heard(sink, len(noise))
    sink.close()
    assert np.array_equal(deep_paced_device.heard_between_first_and_last_sound(), np.rint(noise * np.float32(0.5)).astype(np.int16))


def test_stereo_device_plays_both_sides(paced_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card without mono plays the same on both channels."""
    device = PacedDevice(paced_library, tmp_path, fields="buffer_min 8192", channels=2)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(device.config))
    noise = make_noise(0.4)
    with playing(ArrayFeed(noise)) as sink:
        wait_until_heard(sink, len(noise))
    sides = device.heard_between_first_and_last_sound().reshape(-1, 2)
    assert np.array_equal(sides[:, 0], noise)
    assert np.array_equal(sides[:, 1], noise)


@pytest.mark.parametrize(("side", "sounds"), [("left", 0), ("right", 1)])
def test_one_side(paced_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: Side, sounds: int) -> None:
    """One loudspeaker of the pair plays; the other one is silent."""
    device = PacedDevice(paced_library, tmp_path, fields="buffer_min 8192 channels_max 2")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(device.config))
    noise = make_noise(0.3)
    sink = PyAudioSink(device="paced", side=side)
    sink.start(ArrayFeed(noise))
    wait_until_heard(sink, len(noise))
    sink.close()
    samples = device.samples()[: len(device.samples()) // 2 * 2].reshape(-1, 2)
    heard = samples[:, sounds]
    places = np.flatnonzero(heard)
    assert np.array_equal(heard[places[0] : places[-1] + 1], noise)
    assert not samples[:, 1 - sounds].any()


def test_killed_speaker_is_started_again(deep_paced_device: PacedDevice) -> None:
    """After kill -9 a new process continues at the last frame that was heard, and the reason is reported."""
    noise = make_noise(2.0)
    with playing(ArrayFeed(noise)) as sink:
        wait_until_heard(sink, RATE_HZ // 2)
        os.kill(speaker_pid(), signal.SIGKILL)
        killed_ns = time.monotonic_ns()
        wait_until_heard(sink, len(noise))
        counters = sink.counters()
    assert counters.restarts == 1
    assert counters.last_fault == counters.last_loss == "the speaker process: it was killed by SIGKILL"
    heard = deep_paced_device.heard_between_first_and_last_sound()
    silent = np.flatnonzero(heard == 0)
    assert np.all(np.diff(silent) == 1), "more than one gap"
    before, after = heard[: silent[0]], heard[silent[-1] + 1 :]
    assert np.array_equal(before, noise[: len(before)])
    assert np.array_equal(after, noise[len(noise) - len(after) :])
    start = deep_paced_device.events()[0]
    heard_when_killed = (killed_ns - start.time_ns) * 1e-9 * RATE_HZ - int(np.flatnonzero(deep_paced_device.samples())[0])
    error_ms = (len(noise) - len(after) - heard_when_killed) / RATE_HZ * 1e3
    _log.info("resumed %.2f ms after the last frame that was heard", error_ms)
    assert abs(error_ms) < 100


def test_closes_while_the_device_is_lost(paced_device: PacedDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a lost device is retried repeatedly; the position does not change, and closing does not wait."""
    sink = PyAudioSink(device="paced")
    sink.start(ArrayFeed(make_noise(5.0)))
    wait_until_heard(sink, RATE_HZ // 10)
    (tmp_path / "empty.conf").write_text("", encoding="ascii")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "empty.conf"))
    os.kill(speaker_pid(), signal.SIGKILL)
    deadline = time.monotonic() + 5
    while sink.counters().restarts == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.4)
    first, second = sink.anchor(), sink.anchor()
    assert first is not None
    assert second is not None
    assert first.frame == second.frame >= RATE_HZ // 10
    assert first.rate_hz == 0
    assert sink.clear() == first.frame
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 3


def test_aborted_speaker_whose_device_is_away_for_a_while(
    deep_paced_device: PacedDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PortAudio aborts, and the device cannot be opened for a while: the reasons are reported, and then the sound continues."""
    noise = make_noise(1.0)
    (tmp_path / "empty.conf").write_text("", encoding="ascii")
    with playing(ArrayFeed(noise)) as sink:
        wait_until_heard(sink, RATE_HZ // 4)
        with monkeypatch.context() as away:
            away.setenv("ALSA_CONFIG_PATH", str(tmp_path / "empty.conf"))
            os.kill(speaker_pid(), signal.SIGABRT)
            lost: list[str] = []
            deadline = time.monotonic() + 10
            while len(lost) < 2 and time.monotonic() < deadline:
                if (reason := sink.counters().lost) and reason not in lost:
                    lost.append(reason)
                time.sleep(0.005)
        wait_until_heard(sink, len(noise))
        assert sink.counters().lost == ""
        assert sink.counters().restarts == 1
    ended, away_reason = lost
    assert ended == "the speaker process: it was killed by SIGABRT"
    assert away_reason
    heard = deep_paced_device.heard_between_first_and_last_sound()
    silent = np.flatnonzero(heard == 0)
    before, after = heard[: silent[0]], heard[silent[-1] + 1 :]
    assert np.array_equal(before, noise[: len(before)])
    assert np.array_equal(after, noise[len(noise) - len(after) :])


@pytest.mark.alone
@pytest.mark.parametrize("ppm", [0, 300])
def test_anchor_follows_the_device(paced_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ppm: int) -> None:
    """The sink's position is the device's own, even if its clock runs fast; it never decreases."""
    device = PacedDevice(paced_library, tmp_path, fields=f"ppm {ppm} buffer_min 4096")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(device.config))
    told: list[tuple[int, float]] = []
    with playing(ArrayFeed(make_noise(20.0))) as sink:
        wait_until_heard(sink, 1)
        while len(told) < 150:
            anchor = sink.anchor()
            assert anchor is not None
            told.append((anchor.time_us, anchor.frame))
            assert anchor.limit_frame - anchor.frame > 0.05 * RATE_HZ, "a face that looks ahead would be held up"
            time.sleep(0.01)
    start = next(event for event in device.events() if event.kind == "start")
    first_frame = int(np.flatnonzero(device.samples())[0])
    rate_hz = RATE_HZ * (1 + ppm * 1e-6)
    times_us, frames = np.array(told).T
    true_frames = start.frame + (times_us - start.time_ns / 1e3) * 1e-6 * rate_hz - first_frame
    error_ms = np.abs(frames - true_frames) / RATE_HZ * 1e3
    figures = {"p50": float(np.median(error_ms)), "p99": float(np.quantile(error_ms, 0.99)), "max": float(error_ms.max())}
    _log.info("anchor error in ms at %s ppm: %s", ppm, figures)
    assert figures["p99"] <= 1.0
    assert np.all(np.diff(frames) > -0.01 * RATE_HZ / 1e3)


def test_starving_is_counted_once_each(deep_paced_device: PacedDevice) -> None:
    """Content that is due and missing counts as one underrun however long it lasts, with the silence it caused."""
    first, second = make_noise(0.3), make_noise(0.3, seed=2)
    feed = ArrayFeed(first)
    with playing(feed) as sink:
        wait_until_heard(sink, 1)
        sink.expect(True)
        wait_until_heard(sink, len(first))
        time.sleep(0.2)
        feed.add(second)
        wait_until_heard(sink, len(first) + RATE_HZ // 100)
        sink.expect(False)
        wait_until_heard(sink, len(first) + len(second))
        counters = sink.counters()
    assert counters.underruns == 1
    assert counters.silence_frames >= 0.2 * RATE_HZ
    assert "1 times no content in time" in counters.last_fault


def test_device_that_runs_dry_is_counted_once(paced_device: PacedDevice) -> None:
    """A process that is held up longer than the device's buffer: the device's underflow counts as one underrun."""
    with playing(ArrayFeed(make_noise(3.0))) as sink:
        wait_until_heard(sink, RATE_HZ // 4)
        before = sink.counters().underruns
        pid = speaker_pid()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.25)
        os.kill(pid, signal.SIGCONT)
        wait_until_heard(sink, RATE_HZ)
        counters = sink.counters()
    xruns = sum(event.kind == "xrun" for event in paced_device.events())
    assert before < counters.underruns <= xruns
    assert "device ran dry" in counters.last_fault
