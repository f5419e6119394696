"""Mouth motion from sound, on the device."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.media import MotionEncoding, MotionFormat, Pacing
from avatar_relay.mouth.analyser import LATENCY_S, MouthAnalyser
from avatar_relay.mouth.live_analyser import LOOK_AHEAD_S
from avatar_relay.mouth.shapes import KEYFRAMES_PER_SECOND, to_weights
from edge_client.motion.audio_mouth import CALL_S, MAX_WAITING, AudioMouth, with_mouth
from edge_client.motion.mouth_source import BLEND_SHARE, MouthSource, heard_share
from edge_client.motion.pose import HEAD_ROTATION, neutral_pose
from edge_client.playback.live_conversations import LiveConversation
from edge_client.playback.playing import make_audio_mouth
from tests.avatar_relay.mouth.test_features import vowel
from tests.edge_client.face.poses import pose_of
from tests.edge_client.playback_bench import open_

RATE_HZ = 16_000
JAW = ARKIT_INDEX["jawOpen"]
AVATARKIT = MotionFormat(MotionEncoding.AVATARKIT_V2, 25.0)
WEIGHTS = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 30.0, ("jawOpen",))


def speech(seconds: float) -> NDArray[np.int16]:
    """Open vowels, and pauses of the same length."""
    syllable = np.concatenate([vowel(750, 1_250, RATE_HZ) * 0.5, np.zeros(RATE_HZ // 2)])
    samples = np.tile(syllable, int(np.ceil(seconds)))[: round(seconds * RATE_HZ)]
    return np.asarray(np.rint(samples * 32_767)).astype(np.int16)


def jaws(ear: AudioMouth, seconds: float, start_s: float = 0.0) -> list[float]:
    """The jaw at each keyframe of the analyser, after all pending sound was analysed; -1 if unknown."""
    while ear.analyse():
        pass
    times = np.arange(round(seconds * KEYFRAMES_PER_SECOND)) / KEYFRAMES_PER_SECOND + start_s
    samples = [ear.sample(round(time * 1e6)) for time in times]
    return [float(sample.pose[JAW]) if sample is not None and sample.covered else -1.0 for sample in samples]


def test_the_ear_says_what_the_analyser_says() -> None:
    """In whatever pieces the sound arrives, on its own media timeline."""
    sound = speech(3.0)
    analyser = MouthAnalyser(RATE_HZ)
    whole = to_weights(np.vstack((analyser.push(sound / 32_768), analyser.finish())))
    ear = AudioMouth(RATE_HZ, 1.0)
    for start in range(0, len(sound), 700):
        ear.hear(start * 1e6 / RATE_HZ, sound[start : start + 700])
    ear.end()
    found = jaws(ear, 3.0)
    assert max(found) > 0.2
    assert found == pytest.approx(whole[: len(found), 0].tolist(), abs=1e-2)


def test_it_knows_what_lies_its_latency_back() -> None:
    """With a second of sound heard, analysed in whole steps, the mouth is known to about `LATENCY_S` before its end."""
    ear = AudioMouth(RATE_HZ, 1.0)
    ear.hear(0.0, speech(1.0))
    known = [value >= 0 for value in jaws(ear, 1.0)]
    assert all(known[: int((1 - LATENCY_S) * KEYFRAMES_PER_SECOND)])
    assert not known[-1]


def test_a_jump_of_the_line_begins_afresh() -> None:
    """Skipped sound moves nothing: later motion is at its own PTS."""
    ear, sound = AudioMouth(RATE_HZ, 1.0), speech(1.0)
    ear.hear(0.0, sound)
    ear.hear(5e6, sound)
    ear.end()
    first, second = jaws(ear, 0.9), jaws(ear, 0.9, 5.0)
    assert max(first) > 0.2
    assert second == pytest.approx(first, abs=0.02)


def test_a_steered_line_is_followed_and_memory_is_bounded() -> None:
    """A device's crystal is 300 ppm off: the sound and the PTS drift apart, and the mouth follows the PTS."""
    ear, block = AudioMouth(RATE_HZ, 1.0), speech(0.5)
    for index in range(240):
        ear.hear(index * 0.5e6 * 1.0003, block)
        ear.analyse()
        ear.sample(round(index * 0.5e6))
    last = 239 * 0.5 * 1.0003
    assert max(jaws(ear, 0.1, last)) >= 0
    assert len(ear._track) < 60


def test_releasing_sound_analyses_nothing() -> None:
    """The thread that feeds the sound is not delayed; the drawing thread does the work, a bounded part of it with each picture."""
    ear = AudioMouth(RATE_HZ, 1.0)
    ear.hear(0.0, speech(3.0))
    ear.end()
    assert ear.sample(0) is None
    calls = 0
    while ear.analyse():
        calls += 1
    assert calls >= 3.0 / CALL_S
    assert max(jaws(ear, 1.0)) > 0.2


def test_sound_that_nobody_analyses_is_bounded() -> None:
    """Without a face the oldest sound is dropped; a face that starts later continues from the sound kept."""
    ear, sound = AudioMouth(RATE_HZ, 1.0), speech(10.0)
    for index in range(30):
        ear.hear(index * 10e6, sound)
        ear.end()
    assert len(ear._waiting) <= MAX_WAITING
    assert max(jaws(ear, 9.0, 290.0)) > 0.2


def test_a_share_of_the_mouth_and_nothing_else_is_mixed() -> None:
    """Head, brows and eyes remain the payload's; the mouth is mixed from both."""
    said = pose_of(jawOpen=0.2, browInnerUp=0.7)
    said[HEAD_ROTATION] = (0.1, 0.2, 0.3)
    mixed = with_mouth(said, pose_of(jawOpen=0.6), 0.5)
    assert mixed[JAW] == pytest.approx(0.4)
    assert mixed[ARKIT_INDEX["browInnerUp"]] == pytest.approx(0.7)
    assert mixed[HEAD_ROTATION] == pytest.approx(said[HEAD_ROTATION])
    assert said[JAW] == pytest.approx(0.2)


def test_lips_that_are_heard_to_touch_do() -> None:
    """Lips that touch according to the sound do so, however open the payload has them."""
    heard = pose_of(jawOpen=0.06, mouthClose=0.06, mouthPress=0.3)
    mixed = with_mouth(pose_of(jawOpen=0.5, mouthLowerDown=0.4), heard, BLEND_SHARE)
    assert mixed == pytest.approx(heard, abs=1e-6)


def test_shares_by_source_and_format() -> None:
    """By default sound has a share if motion contains less of the mouth than sound does, or is missing; by setting always or never."""
    assert heard_share(MouthSource.AUTO, AVATARKIT) == BLEND_SHARE
    assert heard_share(MouthSource.AUTO, WEIGHTS) == 0
    assert heard_share(MouthSource.AUTO, None) == 1
    for motion in (AVATARKIT, WEIGHTS, None):
        assert heard_share(MouthSource.PAYLOAD, motion) is None
        assert heard_share(MouthSource.AUDIO, motion) == 1
    assert heard_share(MouthSource.BLEND, None) == 1
    assert heard_share(MouthSource.BLEND, WEIGHTS) == BLEND_SHARE
    assert neutral_pose()[JAW] == 0


@pytest.mark.parametrize("pacing", Pacing)
def test_the_sound_of_either_pacing_is_analysed(pacing: Pacing) -> None:
    """In `LIVE`, payloads alone drive what they cover, as sound is known less far ahead."""
    mouth = make_audio_mouth(LiveConversation(open_("c", pacing=pacing, motion=AVATARKIT)), MouthSource.AUTO, RATE_HZ)
    assert mouth is not None
    assert mouth.share == (BLEND_SHARE if pacing is Pacing.BURST else 0.0)
    assert make_audio_mouth(LiveConversation(open_("c", pacing=pacing)), MouthSource.PAYLOAD, RATE_HZ) is None


def test_live_sound_is_analysed_as_it_comes() -> None:
    """A mouth is known `LOOK_AHEAD_S` and a frame of 10 ms behind the sound, and held if more is late."""
    ear = AudioMouth(RATE_HZ, 1.0, live=True)
    sound, step = speech(2.0), RATE_HZ // 50
    for start in range(0, len(sound), step):
        ear.hear(start * 1e6 / RATE_HZ, sound[start : start + step])
        assert ear.analyse()
        assert not ear.analyse()
        heard_us = round((start + step) * 1e6 / RATE_HZ)
        known = ear.sample(heard_us - round(LOOK_AHEAD_S * 1e6) - 11_000)
        assert start < 3 * step or (known is not None and known.pts_us >= heard_us - LOOK_AHEAD_S * 1e6 - 11_001)
    late, later = ear.sample(heard_us + 50_000), ear.sample(heard_us + 200_000)
    assert late is not None
    assert later is not None
    assert (late.covered, later.covered) == (True, False)
