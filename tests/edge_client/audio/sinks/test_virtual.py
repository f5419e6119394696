"""The virtual device, block by block on virtual time, and its thread."""

import threading
import time

import numpy as np
import pytest

from edge_client.audio.sink import Pcm
from edge_client.audio.sinks.virtual import PERIOD_US, VirtualDevice, VirtualSink

RATE_HZ = 48_000
PERIOD = 480


class Queue:
    """A feed of given samples."""

    def __init__(self, pcm: Pcm | None = None) -> None:
        self.pcm = np.zeros(0, np.int16) if pcm is None else pcm

    def pull(self, frames: int) -> Pcm:
        """Return what is available."""
        taken, self.pcm = self.pcm[:frames], self.pcm[frames:]
        return taken


class Rig:
    """A device, its feed, and all that it played."""

    def __init__(self, frames: int = 0, value: int | None = None) -> None:
        ramp = np.arange(1, frames + 1, dtype=np.int16)
        self.feed = Queue(ramp if value is None else np.full(frames, value, np.int16))
        self.blocks: list[Pcm] = []
        self.device = VirtualDevice(rate_hz=RATE_HZ, tap=self.blocks.append)
        self.time_us = 0

    def step(self, blocks: int = 1) -> Pcm:
        """Play blocks; returns them in one piece."""
        before = len(self.blocks)
        for _ in range(blocks):
            self.device.step(self.feed, self.time_us)
            self.time_us += PERIOD_US
        return np.concatenate(self.blocks[before:])


def test_plays_every_sample_once_and_then_silence() -> None:
    """Pulled samples are played bit for bit, in order, padded with silence."""
    rig = Rig(1_000)
    played = rig.step(4)
    assert played[:1_000].tolist() == list(range(1, 1_001))
    assert not played[1_000:].any()


def test_anchor_is_the_block_and_freezes_where_content_ends() -> None:
    """The anchor names the first frame of the block that begins now; the position never exceeds what was handed over."""
    rig = Rig(1_000)
    assert rig.device.anchor() is None
    rig.step(2)
    anchor = rig.device.anchor()
    assert anchor is not None
    assert anchor.frame == 480
    assert anchor.frame_at(10_000 + 5_000) == 720
    assert anchor.frame_at(10_000_000) == 1_000


def test_underrun_is_counted_once_until_content_comes_again() -> None:
    """One gap is one underrun, however long; its silence is counted."""
    rig = Rig(480)
    rig.device.expect(True)
    rig.step(4)
    rig.feed.pcm = np.ones(480, np.int16)
    rig.step(2)
    counters = rig.device.counters()
    assert counters.underruns == 2
    assert counters.silence_frames == 4 * PERIOD


def test_silence_that_is_not_content_missing_is_no_underrun() -> None:
    """If no content is expected, none is missing."""
    rig = Rig(700)
    rig.step(5)
    assert rig.device.counters().underruns == 0
    assert rig.device.counters().silence_frames == 0


def test_clear_fades_within_ten_milliseconds_and_says_what_was_heard() -> None:
    """One faded block, then silence; the count ends with the last frame above gain 0."""
    rig = Rig(4_800, value=10_000)
    rig.step(2)
    heard = rig.device.clear()
    rig.feed.pcm = np.zeros(0, np.int16)
    played = rig.step(3)
    assert heard == 2 * PERIOD + PERIOD - 1
    assert np.flatnonzero(played)[-1] == PERIOD - 2
    assert np.abs(np.diff(played[:PERIOD].astype(int))).max() <= 10_000 / 480 + 1


def test_content_after_a_clear_is_whole_and_counts_on() -> None:
    """Samples pulled after a clear are played from the first one, unchanged; their indexes continue those of all that was pulled."""
    rig = Rig(4_800, value=10_000)
    rig.step(1)
    rig.device.clear()
    rig.feed.pcm = np.arange(1, 481, dtype=np.int16)
    assert rig.step(2)[PERIOD:].tolist() == list(range(1, 481))
    anchor = rig.device.anchor()
    assert anchor is not None
    assert anchor.frame == 5 * PERIOD


def test_clear_of_nothing_hears_nothing_more() -> None:
    """A clear on an empty device returns the end of what was heard before."""
    rig = Rig(480)
    assert rig.device.clear() == 0
    rig.step(2)
    assert rig.device.clear() == 480


def test_pause_holds_everything_and_resume_goes_on_at_the_next_sample() -> None:
    """Fade out, hold, fade in: no sample is skipped or played twice."""
    rig = Rig(4_800, value=10_000)
    rig.step(1)
    rig.device.pause()
    paused = rig.step(5)
    anchor = rig.device.anchor()
    assert anchor is not None
    assert (anchor.frame, anchor.rate_hz) == (960, 0.0)
    assert not paused[PERIOD:].any()
    rig.device.resume()
    played = rig.step(9)
    assert np.flatnonzero(played)[-1] + 1 == 4_800 - 960
    assert (played[PERIOD : 4_800 - 960] == 10_000).all()


def test_clear_while_paused_then_resume_starts_at_full_gain() -> None:
    """A new conversation after a paused one does not fade in: its first word is whole."""
    rig = Rig(4_800, value=10_000)
    rig.step(1)
    rig.device.pause()
    rig.step(2)
    heard = rig.device.clear()
    rig.device.resume()
    rig.feed.pcm = np.full(480, 7, np.int16)
    assert heard == 959
    assert (rig.step(1) == 7).all()


def test_mute_is_heard_as_nothing() -> None:
    """Frames at gain 0 do not count as heard."""
    rig = Rig(4_800, value=10_000)
    rig.device.set_volume(1.0, muted=True)
    assert not rig.step(3).any()
    assert rig.device.clear() == 0


def test_volume_scales_exactly_in_the_middle_of_sound() -> None:
    """A change of volume ramps for one ramp, then holds."""
    rig = Rig(4_800, value=10_000)
    rig.step(1)
    rig.device.set_volume(0.5, muted=False)
    played = rig.step(3)
    assert played[0] > 9_900
    assert (played[PERIOD:] == 5_000).all()


def test_thread_plays_out_what_it_pulled() -> None:
    """The sink's own thread, on a clock that jumps with each sleep: all content is played, also at close."""
    now_us = [0]
    done = threading.Event()
    played: list[Pcm] = []

    def sleep_us(us: int) -> None:
        now_us[0] += us
        if now_us[0] > 200_000:
            done.set()
            time.sleep(0.001)

    sink = VirtualSink(rate_hz=RATE_HZ, tap=played.append, clock_us=lambda: now_us[0], sleep_us=sleep_us)
    sink.start(Queue(np.arange(1, 5_001, dtype=np.int16)))
    assert done.wait(10)
    sink.close()
    heard = np.concatenate(played)
    assert heard[:5_000].tolist() == list(range(1, 5_001))
    assert sink.name == "virtual"


@pytest.mark.parametrize(("tapped", "wakes"), [(False, 20), (True, 100)])
def test_a_second_of_rest_wakes_rarely_unless_somebody_listens(tapped: bool, wakes: int) -> None:
    """Every fifth block while no content is expected; a recording has each block of silence."""
    now_us, slept, played = [0], list[int](), list[Pcm]()
    over = threading.Event()

    def sleep_us(us: int) -> None:
        now_us[0] += us
        slept.append(us)
        if now_us[0] >= 1_000_000:
            over.set()
            time.sleep(0.05)

    tap = played.append if tapped else None
    sink = VirtualSink(rate_hz=RATE_HZ, tap=tap, clock_us=lambda: now_us[0], sleep_us=sleep_us)
    sink.start(Queue())
    assert over.wait(10)
    sink.close()
    assert wakes <= len(slept) <= wakes + 2
