"""The maths of external measurements: locating played sound in the sent sound, and skew from sound and pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.ground_truth import heard, skew
from tests.lab.ground_truth.heard import DeviceClock, Pcm, Run
from tests.lab.ground_truth.skew import Seen, Shown, Sounding

SPEECH: Pcm = np.random.default_rng(1).integers(1, 30_000, 4_000).astype(np.int16)
LONG: Pcm = np.random.default_rng(2).integers(1, 30_000, 96_000).astype(np.int16)
_BLOCK = 2_400
SILENCE: Pcm = np.zeros(300, np.int16)


def test_whole_sound_is_found() -> None:
    """Silence before, between and after is ignored."""
    emitted = np.concatenate([SILENCE, SPEECH[:1_500], SILENCE, SPEECH[1_500:], SILENCE])
    found = heard.find(emitted, SPEECH)
    assert found.runs == (Run(300, 0, 1_500), Run(2_100, 1_500, 2_500))
    assert found.is_whole


@given(st.lists(st.integers(1, 3_999), min_size=1, max_size=6, unique=True), st.integers(20, 60))
def test_what_is_lost_is_counted(cuts: list[int], lost: int) -> None:
    """Samples missing at several positions, with or without silence instead, are counted exactly."""
    places = [place for place in sorted(cuts) if place > 40]
    places = [place for index, place in enumerate(places) if index == 0 or place - places[index - 1] > 120]
    places = [place for place in places if place + lost < len(SPEECH) - 40]
    kept = np.ones(len(SPEECH), bool)
    for place in places:
        kept[place : place + lost] = False
    found = heard.find(SPEECH[kept], SPEECH)
    assert found.lost_frames == lost * len(places)
    assert (found.foreign_frames, found.unheard_at_end) == (0, 0)
    assert sum(run.frames for run in found.runs) == kept.sum()


def test_samples_that_nobody_sent_and_an_end_that_is_missing() -> None:
    """A click, a stretch that is played again, and a tail that was never played."""
    click: Pcm = np.full(5, 31_000, np.int16)
    emitted = np.concatenate([SPEECH[:1_000], click, SPEECH[900:3_900]])
    found = heard.find(emitted, SPEECH)
    assert found.runs == (Run(0, 0, 1_000), Run(1_005, 900, 3_000))
    assert (found.lost_frames, found.repeated_frames, found.foreign_frames, found.unheard_at_end) == (0, 100, 5, 100)
    assert not found.is_whole


@given(st.integers(0, 95_000), st.integers(16, 95_000))
def test_sound_is_found_again_after_a_stretch_that_is_repeated(since: int, frames: int) -> None:
    """As after a sound server's underrun: 5,000 frames and more come again after a gap, and what follows is found."""
    end = min(since + frames, len(LONG))
    found = heard.find(np.concatenate([LONG[:end], SILENCE, LONG[since:]]), LONG)
    assert (found.repeated_frames, found.foreign_frames, found.lost_frames, found.unheard_at_end) == (end - since, 0, 0, 0)


def test_resampled_sound_is_followed() -> None:
    """Played 300 ppm fast, with a second of silence, and half a second skipped: each block is located correctly."""
    sent: Pcm = np.rint(np.convolve(np.random.default_rng(2).normal(0, 3_000, 48_000 * 4), np.ones(8) / 4)).astype(np.int16)
    places = np.arange(0, len(sent) - 2, 1 + 300e-6)
    played = np.rint(np.interp(places, np.arange(len(sent)), sent)).astype(np.int16)
    played[played == 0] = 1
    emitted = np.concatenate([SILENCE, played[:48_000], np.zeros(48_000, np.int16), played[72_000:]])
    found = heard.follow(emitted, sent)
    assert found.unknown_blocks == 0
    assert len(found.runs) > 40
    for run in found.runs:
        at = run.device_frame - 300 if run.device_frame < 48_300 else run.device_frame - 300 - 48_000 + 24_000
        middle = at + run.frames / 2
        assert abs(run.sent_frame + run.frames / 2 - middle * (1 + 300e-6)) <= 2
    assert found.skipped_frames == pytest.approx(24_000, abs=_BLOCK)
    assert found.repeated_frames == 0


def test_stretches_of_sound() -> None:
    """A short gap does not separate stretches."""
    emitted = np.concatenate([SILENCE, SPEECH[:100], SILENCE[:50], SPEECH[:100], SILENCE, SPEECH[:10]])
    assert heard.stretches(emitted, 100) == [(300, 550), (850, 860)]
    assert heard.stretches(SILENCE, 100) == []


def test_device_clock_runs_from_each_start() -> None:
    """A device that was stopped meanwhile continues at another time, at its own rate."""
    clock = DeviceClock([(0, 1_000_000_000), (48_000, 5_000_000_000)], 48_000 * (1 + 100e-6))
    assert clock.time_us(24_000) == pytest.approx(1_500_000 - 50, abs=0.1)
    assert clock.time_us(72_000) == pytest.approx(5_500_000 - 50, abs=0.1)
    with pytest.raises(ValueError, match="never started"):
        DeviceClock([], 48_000)


def test_skew_both_ways() -> None:
    """Pictures 5 ms late for their sound, 25 a second: 5 ms at each, and up to 45 ms between them."""
    sounding = Sounding(1_000_000, 0, 0.0, 2_000_000)
    shown = skew.shown_of([Seen(1_005_000 + number * 40_000, number * 40_000) for number in range(49)])
    found = skew.measure([sounding], shown)
    assert found.at_pictures_ms == pytest.approx(np.full(49, 5.0))
    assert found.picture_interval_ms == found.longest_hold_ms == 40.0
    assert set(found.at_heard_ms[:-10].round()) == {10, 20, 30, 40}


def test_a_fast_device_and_a_gap() -> None:
    """1,000 ppm fast: a picture in sync with the sound has no skew; one within a gap of the sound is not measured."""
    soundings = [Sounding(0, 0, 0.0, 1_001_000, 1.001), Sounding(1_500_000, 0, 1_001_000, 1_001_000, 1.001)]
    shown = [Shown(500_000, 0, 500_500), Shown(1_200_000, 0, 1_001_000), Shown(1_300_000, -1, 0), Shown(2_000_000, 0, 1_501_500)]
    found = skew.measure(soundings, shown)
    assert found.picture_times_us.tolist() == [500_000, 2_000_000]
    assert found.at_pictures_ms == pytest.approx([0, 0])


def test_conversations_are_told_apart() -> None:
    """By the restarting PTS; a face without a pose in between belongs to neither."""
    pictures = [Seen(0, 900_000), Seen(10, None), Seen(20, 1_000_000), Seen(30, 0), Seen(40, 40_000)]
    assert [picture.conversation for picture in skew.shown_of(pictures)] == [0, -1, 0, 1, 1]


def test_agreement_needs_the_same_picture() -> None:
    """The client's figure for a picture minus the measured one; pictures known to only one of them are left out."""
    truth = [(Shown(0, 0, 100), 2.0), (Shown(1, 0, 200), 3.0), (Shown(2, 1, 100), 4.0)]
    told = [(0, 100, 1.5), (0, 100, 9.0), (1, 100, 5.0), (2, 100, 7.0)]
    assert skew.agreement_ms(truth, told).tolist() == [-0.5, 1.0]


def test_nothing_heard_or_seen_is_told() -> None:
    """No figure is made up."""
    with pytest.raises(ValueError, match="nothing was heard"):
        skew.measure([], [Shown(0, 0, 0)])
    with pytest.raises(ValueError, match="no picture"):
        skew.measure([Sounding(0, 0, 0, 1)], [])
