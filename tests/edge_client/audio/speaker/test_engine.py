from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_client.audio.sink import Pcm
from edge_client.audio.speaker.engine import SETTLING_CALLBACKS, SpeakerEngine
from edge_client.audio.speaker.memory import GAIN_ONE, SpeakerControl, SpeakerMemory, SpeakerStatus, create_memory

_RATE_HZ = 48_000
_BUFFER = 1_024
_FADE = 480


class Bench:
    """An engine whose device requests buffers on command."""

    def __init__(self, *, begin: int = 0, paused: bool = False) -> None:
        self._descriptor = create_memory(_RATE_HZ)
        self.memory = SpeakerMemory(self._descriptor, _RATE_HZ)
        self.memory.begin(begin, gain=GAIN_ONE, paused=paused)
        self.engine = SpeakerEngine(self.memory, _RATE_HZ)
        self._time_us = 0

    def render(self, frames: int = _BUFFER, *, dry: bool = False) -> Pcm:
        self._time_us += frames * 1_000_000 // _RATE_HZ
        return self.engine.render(frames, time_us=self._time_us, delay_frames=float(_BUFFER), device_dry=dry)

    def write(self, frames: int, value: int = 1_000) -> Pcm:
        samples = np.full(frames, value, np.int16)
        self.memory.write(samples)
        return samples

    def clear(self) -> None:
        self.memory[SpeakerControl.CLEAR_LIMIT] = self.memory[SpeakerControl.WRITTEN]
        self.memory[SpeakerControl.GENERATION] += 1

    @property
    def cleared(self) -> bool:
        return self.memory[SpeakerStatus.GENERATION_DONE] == self.memory[SpeakerControl.GENERATION]

    def close(self) -> None:
        self.memory.close()
        os.close(self._descriptor)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A running engine with an empty ring."""
    made = Bench()
    yield made
    made.close()


def test_content_goes_out_bit_for_bit(bench: Bench) -> None:
    """At gain 1 samples are unchanged; missing samples of a buffer are silence."""
    samples = np.random.default_rng(2).integers(-32768, 32768, 1_500).astype(np.int16)
    bench.memory.write(samples)
    heard = np.concatenate([bench.render(), bench.render()])
    assert np.array_equal(heard[:1_500], samples)
    assert not heard[1_500:].any()
    assert bench.memory[SpeakerStatus.AUDIBLE_END] == 1_500


@given(
    steps=st.lists(st.tuples(st.integers(0, 3_000), st.sampled_from([64, 480, 1_024, 2_048])), max_size=40),
    begin=st.integers(0, 10**12),
)
@example(steps=[(321, 64), *[(3_000, 64)] * 4], begin=0)  # 12,001 frames are left for the last buffer
def test_no_sample_is_lost_or_doubled(steps: list[tuple[int, int]], begin: int) -> None:
    """However content arrives and buffers are requested, all of it is output in order."""
    bench = Bench(begin=begin)
    sent = heard = np.zeros(0, np.int16)
    for arriving, frames in steps:
        samples = (np.arange(len(sent), len(sent) + min(arriving, bench.memory.free_frames)) % 30_000 + 1).astype(np.int16)
        bench.memory.write(samples)
        sent = np.concatenate([sent, samples])
        heard = np.concatenate([heard, bench.render(frames)])
    heard = np.concatenate([heard, bench.render(len(sent) + 64)])
    assert np.array_equal(heard[heard != 0], sent)
    assert bench.memory[SpeakerStatus.CONSUMED] == begin + len(sent)
    bench.close()


def test_clear_fades_within_10_ms_and_tells_where(bench: Bench) -> None:
    """After a clear 480 frames fade out, the rest is discarded, and the last audible frame is reported exactly."""
    bench.write(4_000)
    bench.render()
    bench.clear()
    heard = bench.render()
    assert np.all(np.diff(heard.astype(int)) <= 0)
    assert heard[0] > 900
    audible = int(np.flatnonzero(heard)[-1]) + 1
    assert audible <= _FADE
    assert bench.cleared
    assert audible <= bench.memory[SpeakerStatus.AUDIBLE_END] - _BUFFER <= _FADE
    assert bench.memory[SpeakerStatus.CONSUMED] == 4_000
    assert not bench.render().any()


def test_content_after_a_clear_starts_at_once_at_full_gain(bench: Bench) -> None:
    """The next conversation is in the same buffer right after the fade, whole."""
    bench.write(4_000)
    bench.render()
    bench.clear()
    bench.write(300, value=777)
    heard = bench.render()
    assert heard[_FADE : _FADE + 300].tolist() == [777] * 300


def test_clear_of_what_was_not_begun(bench: Bench) -> None:
    """None of it is heard, not even in a fade: the card had not asked for any."""
    bench.write(4_000)
    bench.clear()
    bench.write(300, value=777)
    assert bench.render()[:300].tolist() == [777] * 300
    assert bench.memory[SpeakerStatus.AUDIBLE_END] == 4_300


def test_clear_with_less_than_a_fade_left(bench: Bench) -> None:
    """With less than a fade left, the fade is as long as what is left."""
    bench.write(_BUFFER + 100)
    bench.render()
    bench.clear()
    heard = bench.render()
    assert not heard[100:].any()
    assert bench.cleared


def test_clear_of_nothing(bench: Bench) -> None:
    """An empty ring answers too, and the audible end does not change."""
    bench.write(100)
    bench.render()
    bench.clear()
    bench.render()
    assert bench.cleared
    assert bench.memory[SpeakerStatus.AUDIBLE_END] == 100


def test_clear_beyond_what_was_written() -> None:
    """The limit may be beyond the ring's content, which a restart left unsent: none of it is waited for."""
    bench = Bench(begin=5_000)
    bench.memory[SpeakerControl.CLEAR_LIMIT] = 9_000
    bench.memory[SpeakerControl.GENERATION] = 1
    assert not bench.render().any()
    assert bench.memory[SpeakerStatus.CONSUMED] == 9_000
    assert not bench.render().any()
    bench.memory[SpeakerControl.WRITTEN] = 9_000
    bench.write(10)
    assert (bench.render() != 0).sum() == 10
    bench.close()


def test_pause_holds_and_resume_goes_on(bench: Bench) -> None:
    """Pause fades 480 frames out and holds the rest; resume fades in; each frame is output once."""
    bench.write(6_000)
    bench.render()
    bench.memory[SpeakerControl.PAUSED] = 1
    fading = bench.render()
    assert bench.memory[SpeakerStatus.CONSUMED] == _BUFFER + _FADE
    assert not fading[_FADE:].any()
    assert not bench.render().any()
    bench.memory[SpeakerControl.PAUSED] = 0
    back = bench.render()
    assert np.all(np.diff(back[:_FADE].astype(int)) >= 0)
    assert np.all(back[_FADE:] == 1_000)
    assert bench.memory[SpeakerStatus.CONSUMED] == _BUFFER + _FADE + _BUFFER


def test_clear_while_paused_is_silent(bench: Bench) -> None:
    """Discarded content is not heard, and what follows waits for resume, whole."""
    bench.write(6_000)
    bench.render()
    bench.memory[SpeakerControl.PAUSED] = 1
    bench.render()
    audible_end = bench.memory[SpeakerStatus.AUDIBLE_END]
    bench.clear()
    assert not bench.render().any()
    assert bench.cleared
    assert bench.memory[SpeakerStatus.AUDIBLE_END] == audible_end
    bench.write(500, value=5)
    assert not bench.render().any()
    bench.memory[SpeakerControl.PAUSED] = 0
    assert (bench.render() == 5).sum() == 500


def test_content_that_comes_in_a_pause_is_held_whole(bench: Bench) -> None:
    """A pause without sound needs no fade, neither out nor in."""
    bench.memory[SpeakerControl.PAUSED] = 1
    bench.render()
    bench.write(2_000)
    assert not bench.render().any()
    bench.memory[SpeakerControl.PAUSED] = 0
    assert np.all(bench.render() == 1_000)


def test_volume_ramps_and_muted_frames_are_not_audible(bench: Bench) -> None:
    """The gain changes linearly; frames at gain 0 do not move the audible end."""
    bench.write(8_000)
    bench.render()
    bench.memory[SpeakerControl.GAIN] = 0
    heard = bench.render()
    assert np.all(np.diff(heard.astype(int)) <= 0)
    assert heard[0] > 900
    assert not heard[_FADE:].any()
    assert bench.memory[SpeakerStatus.AUDIBLE_END] == _BUFFER + _FADE - 1
    bench.render()
    assert bench.memory[SpeakerStatus.AUDIBLE_END] == _BUFFER + _FADE - 1
    bench.memory[SpeakerControl.GAIN] = GAIN_ONE // 2
    bench.render()
    assert np.all(bench.render() == 500)


def test_volume_set_in_silence_holds_from_the_first_frame(bench: Bench) -> None:
    """Muted before it begins, none of it is heard."""
    bench.render()
    bench.memory[SpeakerControl.GAIN] = 0
    bench.write(_BUFFER)
    assert not bench.render().any()


def test_running_out_is_an_underrun_only_while_content_is_due(bench: Bench) -> None:
    """One count for each underrun, however long; none if nothing is expected, nor before the first content."""
    memory = bench.memory
    memory[SpeakerControl.EXPECTED] = 1
    bench.render()
    assert memory[SpeakerStatus.STARVED] == 0
    bench.write(100)
    for _ in range(3):
        bench.render()
    assert memory[SpeakerStatus.STARVED] == 1
    assert memory[SpeakerStatus.SILENCE_FRAMES] == 3 * _BUFFER - 100
    bench.write(100)
    bench.render()
    assert memory[SpeakerStatus.STARVED] == 2
    memory[SpeakerControl.EXPECTED] = 0
    bench.write(100)
    bench.render()
    bench.render()
    assert memory[SpeakerStatus.STARVED] == 2
    memory[SpeakerControl.EXPECTED] = 1
    silence_frames = memory[SpeakerStatus.SILENCE_FRAMES]
    bench.render()
    assert memory[SpeakerStatus.SILENCE_FRAMES] == silence_frames


def test_clear_is_no_underrun(bench: Bench) -> None:
    """Silence after a clear is intended."""
    bench.memory[SpeakerControl.EXPECTED] = 1
    bench.write(4_000)
    bench.render()
    bench.clear()
    bench.render()
    bench.render()
    assert bench.memory[SpeakerStatus.STARVED] == 0


def test_device_that_ran_dry_counts_while_it_matters(bench: Bench) -> None:
    """The device's own underflow counts during content, not in idle silence."""
    bench.render(dry=True)
    assert bench.memory[SpeakerStatus.DEVICE_DRY] == 0
    bench.write(4_000)
    bench.render()
    bench.render(dry=True)
    assert bench.memory[SpeakerStatus.DEVICE_DRY] == 1


def test_clock_counts_after_the_first_callbacks(bench: Bench) -> None:
    """The anchor appears once the device's delay is plausible, and counts from the buffer before it."""
    bench.write(12_000)
    for _ in range(SETTLING_CALLBACKS):
        bench.render()
        assert bench.memory.snapshot() is None
    bench.render()
    snapshot = bench.memory.snapshot()
    assert snapshot is not None
    anchor = snapshot.anchor_at(snapshot.time_us, _RATE_HZ)
    assert anchor is not None
    assert anchor.frame == SETTLING_CALLBACKS * _BUFFER - _BUFFER
    assert anchor.limit_frame == (SETTLING_CALLBACKS + 1) * _BUFFER
