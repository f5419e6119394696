"""Cards that appear late or return as another one: each start of the speaker selects and negotiates from the beginning."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyaudio")
from edge_client.audio.card_memory import CardMemory
from edge_client.audio.resampler import Resampler
from edge_client.audio.sink import Pcm
from edge_client.audio.sinks.pyaudio import PyAudioSink
from edge_client.audio.speaker.memory import MAX_PERIOD_US
from tests.edge_client.audio.sinks.playing import ArrayFeed, make_noise, playing, speaker_pid, wait_until_heard
from tests.lab.ground_truth.heard import find
from tests.lab.sound_card.paced_card import RATE_HZ, PacedDevice, deep_paced_device, paced_device, paced_library

__all__ = ["deep_paced_device", "paced_device", "paced_library"]

DEEP = "buffer_min 8192"
AS_DEFAULT = "pcm.!default { PACED }\n"


def wait_for(holds: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sounding(samples: Pcm) -> Pcm:
    places = np.flatnonzero(samples)
    return samples[places[0] : places[-1] + 1] if len(places) else samples[:0]


def without_silence(samples: Pcm) -> Pcm:
    """All samples but the zeros, of which noise has none: a busy machine may run the card dry."""
    return samples[np.flatnonzero(samples)]


def ends_alike(heard: Pcm, sent: Pcm, tolerance: int) -> bool:
    """Whether the capture is the end of what was sent, up to a rounding error."""
    return len(heard) > 0 and bool(np.all(np.abs(heard.astype(int) - sent[-len(heard) :].astype(int)) <= tolerance))


def test_a_named_card_that_comes_late(deep_paced_device: PacedDevice) -> None:
    """Until the card exists, nothing is pulled and the reason is reported; then all is heard."""
    deep_paced_device.unplug()
    noise = make_noise(0.5)
    feed = ArrayFeed(noise)
    with playing(feed) as sink:
        wait_for(lambda: "paced: it cannot be opened: No such device" in sink.counters().lost)
        assert feed.given == 0
        deep_paced_device.plug_in()
        wait_until_heard(sink, len(noise))
        assert sink.counters().lost == ""
        assert sink.counters().restarts == 0
    assert np.array_equal(without_silence(deep_paced_device.samples()), noise)


def test_a_virtual_card_plays_until_there_is_one(deep_paced_device: PacedDevice) -> None:
    """Without a name, the sound continues on a virtual card in real time, and moves to the card at the current sample."""
    deep_paced_device.configure(DEEP, more=AS_DEFAULT)
    deep_paced_device.unplug()
    noise = make_noise(6.0)
    sink = PyAudioSink(fallback=True)
    sink.start(ArrayFeed(noise))
    try:
        wait_until_heard(sink, RATE_HZ // 4)
        assert "No such device" in sink.counters().unheard
        assert sink.counters().lost == ""
        assert sink.name.startswith("a virtual device")
        deep_paced_device.plug_in()
        wait_for(lambda: sink.name == "PyAudio on ALSA, default")
        wait_until_heard(sink, len(noise))
        assert sink.counters().unheard == ""
        assert sink.counters().restarts == 0
    finally:
        sink.close()
    assert ends_alike(deep_paced_device.heard_between_first_and_last_sound(), noise, 0)


def test_a_card_that_comes_back_with_another_rate(deep_paced_device: PacedDevice) -> None:
    """The sink keeps its rate; the rest is played at the card's, from the position of the loss."""
    noise = np.convolve(make_noise(2.0), np.ones(48) / 48, "same").astype(np.int16)  # low tones: a fraction of a frame makes no difference
    with playing(ArrayFeed(noise)) as sink:
        wait_until_heard(sink, RATE_HZ // 2)
        deep_paced_device.unplug()
        wait_for(lambda: sink.counters().lost)
        before = len(deep_paced_device.samples())
        deep_paced_device.configure(DEEP, rate_hz=44_100)
        deep_paced_device.plug_in()
        wait_until_heard(sink, len(noise))
        assert sink.rate_hz == RATE_HZ
        time.sleep(0.1)
    heard = sounding(deep_paced_device.samples()[before:])[-44_100:]
    whole = Resampler(RATE_HZ, 44_100)
    expected = np.concatenate([whole.process(noise), whole.flush()])
    found = np.argmax(np.correlate(expected.astype(float), heard[:2_000].astype(float), "valid"))
    alike = np.corrcoef(heard[:20_000], expected[found : found + 20_000])[0, 1]
    assert alike > 0.99


def test_a_renamed_default(deep_paced_device: PacedDevice) -> None:
    """After a loss the default output is another card: it is used, and the sound continues there."""
    deep_paced_device.configure(DEEP, more=AS_DEFAULT)
    noise = make_noise(1.0)
    sink = PyAudioSink()
    sink.start(ArrayFeed(noise))
    try:
        wait_until_heard(sink, RATE_HZ // 4)
        deep_paced_device.unplug()
        wait_for(lambda: sink.counters().lost)
        deep_paced_device.configure(DEEP, name="another", more='pcm.!default "another"\n')
        deep_paced_device.plug_in()
        wait_until_heard(sink, len(noise))
    finally:
        sink.close()
    assert ends_alike(sounding(deep_paced_device.samples()[-RATE_HZ // 2 :]), noise, 0)


@pytest.mark.parametrize(("form", "channels"), [("S24_LE", 2), ("S32_LE", 1), ("IEC958_SUBFRAME_LE", 2)])
def test_formats(deep_paced_device: PacedDevice, form: str, channels: int) -> None:
    """A card without 16-bit samples gets a format it supports, with the very same samples in it."""
    deep_paced_device.configure(f"{DEEP} format {form}", channels=channels)
    noise = make_noise(0.3)
    with playing(ArrayFeed(noise)) as sink:
        wait_until_heard(sink, len(noise))
    words = deep_paced_device.words()[::channels]
    shift = {"S24_LE": 8, "S32_LE": 16, "IEC958_SUBFRAME_LE": 12}[form]
    assert np.array_equal(without_silence((words >> shift).astype(np.int16)), noise)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_a_card_with_one_other_rate(deep_paced_device: PacedDevice, rate_hz: int) -> None:
    """A tone has the right pitch, and the position is the card's."""
    deep_paced_device.configure(DEEP, rate_hz=rate_hz)
    tone = np.rint(8_000 * np.sin(2 * np.pi * 1_000 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
    with playing(ArrayFeed(tone)) as sink:
        anchor = wait_until_heard(sink, RATE_HZ // 2)
        start = next(event for event in deep_paced_device.events() if event.kind == "start")
        wait_until_heard(sink, len(tone))
        time.sleep(0.1)
    heard = deep_paced_device.samples()
    begun = int(np.argmax(np.abs(heard) > 1_000)) / rate_hz
    true_s = (anchor.time_us * 1_000 - start.time_ns) * 1e-9 - begun
    assert anchor.frame / RATE_HZ == pytest.approx(true_s, abs=0.003)
    spectrum = np.abs(np.fft.rfft(sounding(heard)[: rate_hz // 2]))
    assert int(np.argmax(spectrum)) * 2 == 1_000


def test_a_period_longer_than_usual(deep_paced_device: PacedDevice) -> None:
    """A card with a period of a quarter of a second does not underrun."""
    deep_paced_device.configure("period_min 12000")
    noise = make_noise(2.0)
    with playing(ArrayFeed(noise)) as sink:
        sink.expect(True)
        wait_until_heard(sink, RATE_HZ)
        assert sink.counters().starved == 0
        sink.expect(False)
        wait_until_heard(sink, len(noise))
    assert np.array_equal(without_silence(deep_paced_device.samples()), noise)


def test_a_period_that_is_too_long(deep_paced_device: PacedDevice) -> None:
    """A period that is too long is refused, and the reason is reported."""
    deep_paced_device.configure(f"period_min {RATE_HZ * MAX_PERIOD_US // 1_000_000 + 100}")
    with playing(ArrayFeed(make_noise(0.1))) as sink:
        wait_for(lambda: "s of sound at once" in sink.counters().lost)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [("format DSD_U8", "paced: it takes no samples that 16 bits in 1 or 2 channels convert to, but DSD_U8"), ("channels 9", "")],
)
def test_errors_name_what_is_wrong(deep_paced_device: PacedDevice, fields: str, complaint: str) -> None:
    """The error names the format if that is the cause; nine channels are played."""
    deep_paced_device.configure(fields.partition("channels 9")[0], channels=9 if "channels 9" in fields else 1)
    noise = make_noise(0.2)
    with playing(ArrayFeed(noise)) as sink:
        if complaint:
            wait_for(lambda: complaint in sink.counters().lost)
        else:
            wait_until_heard(sink, len(noise))


@pytest.mark.parametrize("name", ["plughw:CARD=Device", "hw:1,0", "sysdefault:CARD=vc4hdmi0"])
def test_names_of_alsa(paced_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A name listed by `aplay -L` is used as it is. (A configuration replaces the kernel's cards.)"""
    device = PacedDevice(paced_library, tmp_path)
    cards = "".join(
        f"pcm.!{kind} {{ @args [ CARD DEV ] @args.CARD {{ type string }} @args.DEV {{ type integer default 0 }} PACED }}\n"
        for kind in ("hw", "plughw", "sysdefault")
    )
    device.configure(DEEP, more=cards)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(device.config))
    noise = make_noise(0.2)
    sink = PyAudioSink(device=name)
    sink.start(ArrayFeed(noise))
    try:
        wait_until_heard(sink, len(noise))
        assert sink.name == f"PyAudio on ALSA, {name}"
    finally:
        sink.close()
    assert np.array_equal(without_silence(device.samples()), noise)


def test_a_buffer_that_ran_dry_grows_in_silence(deep_paced_device: PacedDevice, tmp_path: Path) -> None:
    """Not during sound, of which the card still holds a part; sound that follows is heard whole, and the size is stored for the card."""
    first, second = make_noise(0.8), make_noise(0.3, seed=2)
    feed, cards = ArrayFeed(first), CardMemory(tmp_path)
    sink = PyAudioSink(device="paced", cards=cards)
    sink.start(feed)
    try:
        sink.expect(True)
        wait_until_heard(sink, RATE_HZ // 10)
        pid = speaker_pid()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.4)
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: sink.counters().device_dry)
        assert speaker_pid() == pid
        feed.wait_until_given()
        sink.expect(False)
        wait_for(lambda: cards.buffers_us.get("paced", 0) >= 20_000)
        feed.add(second)
        wait_until_heard(sink, len(first) + len(second))
        assert speaker_pid() != pid
        assert sink.counters().restarts == 0
    finally:
        sink.close()
    assert CardMemory(tmp_path).buffers_us == cards.buffers_us
    found = find(deep_paced_device.samples(), np.concatenate([first, second]))
    assert (found.repeated_frames, found.unheard_at_end) == (0, 0)
    assert np.array_equal(sounding(deep_paced_device.samples())[-len(second) :], second)
