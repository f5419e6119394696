"""The feed: sound out, keyframes in, resumed after the last keyframe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.limits import PCM_RATES_HZ
from avatar_relay.media import AudioFormat, Codec
from relay_server.sources.avatarkit.feed import END_GRACE_US, MAX_UNCOVERED_BYTES, SEND_BYTES, STALL_US, Feed

PCM = AudioFormat(Codec.PCM_S16LE, 16_000)
OGG = AudioFormat(Codec.OGG_OPUS, 48_000)
SECOND = 32_000


def drained(feed: Feed, now_us: int = 0) -> tuple[bytes, bool]:
    """Return all sound to be sent now, and whether it ended."""
    data, end = b"", False
    while (sending := feed.take(now_us)) is not None:
        data, end = data + sending.data, sending.end
        assert len(sending.data) <= SEND_BYTES
    return data, end


def test_everything_is_sent_and_the_end_is_said_once() -> None:
    """In pieces, with the end mark on the last one; a later end is an empty piece."""
    feed = Feed(PCM)
    feed.push(bytes(range(256)) * 500)
    assert drained(feed) == (bytes(range(256)) * 500, False)
    feed.finish()
    assert drained(feed) == (b"", True)
    assert feed.take(0) is None


@given(st.sampled_from(PCM_RATES_HZ), st.integers(1, 200), st.lists(st.integers(1, 60), max_size=6), st.lists(st.booleans(), max_size=6))
def test_after_a_rewind_sound_begins_at_the_next_keyframe(rate_hz: int, tenths: int, windows: list[int], cuts: list[bool]) -> None:
    """Whatever came before: each sample from the last received keyframe to the end is sent again, and none before it."""
    feed = Feed(AudioFormat(Codec.PCM_S16LE, rate_hz))
    sound = np.arange(rate_hz * tenths // 10).astype("<u2").tobytes()
    feed.push(sound)
    feed.finish()
    drained(feed)
    keyframes = 0
    for window, cut in zip(windows, cuts, strict=False):
        window = min(window, len(sound) // 2 * 25 // rate_hz - keyframes)
        if window <= 0:
            break
        keyframes += window
        feed.on_motion(window, False, 0)
        if cut:
            assert feed.rewind()
            assert drained(feed) == (sound[2 * round(keyframes * rate_hz / 25) :], True)
    assert feed.keyframes == keyframes


def test_encoded_sound_can_not_be_taken_up_midway() -> None:
    """It can be before any of it was sent."""
    feed = Feed(OGG)
    feed.push(bytes(1_000))
    assert feed.rewind()
    drained(feed)
    assert not feed.rewind()


def test_complete_with_the_end_mark_or_covered_and_waited_for() -> None:
    """Complete at once with the mark; without it, some time after the last keyframe."""
    feed = Feed(PCM)
    feed.push(bytes(2 * SECOND))
    feed.finish()
    drained(feed)
    feed.on_motion(49, False, 1_000)
    assert not feed.is_complete(1_000)
    assert feed.deadline_us() == 1_000 + END_GRACE_US
    assert feed.is_complete(1_000 + END_GRACE_US)
    feed.on_motion(1, True, 2_000)
    assert feed.is_complete(2_000)
    assert not feed.disagrees


def test_motion_is_overdue_where_it_was_waited_for() -> None:
    """Not while the server has less than a window of input."""
    feed = Feed(PCM)
    feed.push(bytes(SECOND))
    drained(feed, 0)
    assert feed.deadline_us() is None
    assert not feed.is_overdue(10 * STALL_US)
    feed.push(bytes(9 * SECOND))
    drained(feed, 7_000_000)
    assert not feed.is_overdue(7_000_000 + STALL_US - 1)
    assert feed.is_overdue(7_000_000 + STALL_US)


@pytest.mark.parametrize(("keyframes", "disagrees"), [(50, False), (48, False), (47, True), (53, True)])
def test_motion_that_disagrees_with_its_sound(keyframes: int, disagrees: bool) -> None:
    """By more than the server's rounding."""
    feed = Feed(PCM)
    feed.push(bytes(2 * SECOND))
    feed.on_motion(keyframes, True, 0)
    assert feed.disagrees == disagrees


@pytest.mark.parametrize(("audio_format", "data", "keyframes"), [(PCM, bytes(SECOND), 75), (OGG, bytes(500), 75)])
def test_motion_far_beyond_its_sound_is_not_plausible(audio_format: AudioFormat, data: bytes, keyframes: int) -> None:
    """The limit is one second of sound, or of Opus at the lowest rate, plus two."""
    feed = Feed(audio_format)
    feed.push(data)
    assert feed.is_plausible(keyframes)
    assert not feed.is_plausible(keyframes + 1)


def test_sound_is_bounded_until_motion_covers_it() -> None:
    """Keyframes free space again."""
    feed = Feed(PCM)
    while feed.has_room:
        feed.push(bytes(SECOND))
    drained(feed)
    feed.on_motion(25, False, 0)
    feed.on_motion(25, False, 0)
    assert feed.has_room
    assert MAX_UNCOVERED_BYTES > 60 * SECOND
