"""Sound without motion moves the mouth: the engine over the real decoders and the real analyser, on virtual time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from avatar_relay.arkit import ARKIT_INDEX
from avatar_relay.media import AudioFormat, Codec, Kind, MotionEncoding, MotionFormat, NameSet, Pacing, Payload
from avatar_relay.messages import AudioOnly, ConversationEnd, ConversationError, Media
from avatar_relay.reasons import Reason
from edge_client.motion.mouth_source import MouthSource
from edge_client.playback.events import PlaybackConfig
from tests.edge_client.motion.test_audio_mouth import AVATARKIT, RATE_HZ, WEIGHTS, speech
from tests.edge_client.playback_bench import JAW, Bench, audio_payloads, motion_payload, open_

PCM_16K = AudioFormat(Codec.PCM_S16LE, RATE_HZ)
JAW_INDEX = ARKIT_INDEX["jawOpen"]
BROW = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, ("jawOpen", "browInnerUp"))
BROW_INDEX = ARKIT_INDEX["browInnerUp"]
SECONDS = 3.0


def sound() -> Media:
    """Alternating half a second of an open vowel and half a second of silence."""
    return Media("a", audio_payloads(speech(SECONDS), rate_hz=RATE_HZ))


def jaws(bench: Bench) -> dict[int, float]:
    """The jaw on each picture by the audible PTS shown with it, in ms; 0 at rest."""
    return {
        view.audible_pts_us // 1_000: 0.0 if view.motion is None else float(view.motion[JAW_INDEX])
        for _, view in bench.views
        if view.audible_pts_us is not None
    }


def fault_text(bench: Bench) -> str:
    """The text of the first fault."""
    return next(output.fault.text for _, output in bench.outputs if isinstance(output, ConversationError))


def assert_speaks(jaw_by_ms: dict[int, float], begin_ms: int = 500, end_ms: int = 3_000) -> None:
    """Open within each vowel, shut within each pause."""
    for start in range(begin_ms, end_ms, 1_000):
        silence = [jaw for ms, jaw in jaw_by_ms.items() if start + 200 <= ms < start + 400]
        vowel = [jaw for ms, jaw in jaw_by_ms.items() if start + 600 <= ms < start + 900]
        assert max(silence) < 0.05
        assert not vowel or min(vowel) > 0.15


@pytest.mark.parametrize("motion", [None, WEIGHTS, AVATARKIT])
def test_sound_alone_moves_the_mouth(motion: MotionFormat | None) -> None:
    """No motion declared, or declared and none received: the jaw opens with the vowels from the first one on."""
    bench = Bench()
    bench.handle(open_("a", motion=motion, audio=PCM_16K), sound(), ConversationEnd("a", 0, 0))
    bench.run(3_500_000)
    found = jaws(bench)
    assert max(jaw for ms, jaw in found.items() if ms < 400) > 0.15
    assert_speaks(found)


@pytest.mark.parametrize("motion", [None, WEIGHTS])
def test_it_does_not_wait_for_the_end_of_the_sound(motion: MotionFormat | None) -> None:
    """More sound and motion may still arrive."""
    bench = Bench()
    bench.handle(open_("a", motion=motion, audio=PCM_16K), sound())
    bench.run(2_400_000)
    assert_speaks(jaws(bench), end_ms=2_000)


def test_a_device_told_to_use_payloads_only_stays_at_rest() -> None:
    """With `mouth_source = payload` the analyser is off, and the device stays at rest."""
    bench = Bench(config=PlaybackConfig(mouth_source=MouthSource.PAYLOAD))
    bench.handle(open_("a", motion=None, audio=PCM_16K), sound(), ConversationEnd("a", 0, 0))
    bench.run(1_000_000)
    assert all(view.motion is None for _, view in bench.views)


def live(bench: Bench, seconds: float, motion_seconds: float = 0.0, motion: MotionFormat | None = None) -> None:
    """Sound in real time, in payloads of 20 ms, and motion with a weight of 0.9 beside it for a while."""
    payloads = audio_payloads(speech(seconds), rate_hz=RATE_HZ, payload_us=20_000)
    bench.handle(open_("a", motion=motion, audio=PCM_16K, pacing=Pacing.LIVE))
    for index, payload in enumerate(payloads):
        bench.handle(Media("a", (payload,)))
        if index * 0.02 < motion_seconds and index % 2 == 0:
            bench.handle(Media("a", (motion_payload([0.9], seq=index // 2 + 1, first_keyframe=index // 2),)))
        bench.run(20_000)
    bench.handle(ConversationEnd("a", 0, 0))
    bench.run(500_000)


def test_live_sound_moves_the_mouth_at_its_time() -> None:
    """The jaw opens with each vowel and shuts after it: at most 45 ms late, none early by more than it takes to open."""
    bench = Bench()
    live(bench, 4.0)
    found = jaws(bench)
    assert_speaks(found, end_ms=4_000)
    for vowel_ms in (1_000, 2_000, 3_000):
        opens = min(ms for ms, jaw in found.items() if ms > vowel_ms - 200 and jaw > 0.1)
        shuts = min(ms for ms, jaw in found.items() if ms > vowel_ms + 400 and jaw < 0.1)
        assert -30 <= opens - vowel_ms <= 45
        assert -30 <= shuts - (vowel_ms + 500) <= 75  # a pause lasts at least 30 ms


def test_live_motion_that_stops_is_taken_over_without_a_jump() -> None:
    """Motion for a second and a half, then the sound alone, which is silent there: the mouth blends to rest."""
    bench = Bench()
    live(bench, 4.0, motion_seconds=1.5, motion=JAW)
    found = jaws(bench)
    assert [jaw for ms, jaw in found.items() if 800 < ms < 1_400] == pytest.approx([0.9] * 59, abs=0.01)
    assert_speaks(found, begin_ms=2_500, end_ms=4_000)
    taken_over = [jaw for ms, jaw in found.items() if 1_400 < ms < 1_950]  # silence: only the blend moves
    assert max(abs(after - before) for before, after in itertools.pairwise(taken_over)) < 0.05
    assert taken_over[0] == pytest.approx(0.9, abs=0.01)
    assert taken_over[-1] == pytest.approx(0.0, abs=0.05)


def test_weights_that_came_are_shown_as_they_are() -> None:
    """The sound has no share in a mouth with payloads present; after their end it moves the mouth alone."""
    rows = [0.5] * 25
    bench = Bench()
    bench.handle(open_("a", motion=JAW, audio=PCM_16K), Media("a", (motion_payload(rows),)), sound(), ConversationEnd("a", 0, 1))
    bench.run(3_500_000)
    found = jaws(bench)
    assert {jaw for ms, jaw in found.items() if 400 <= ms < 990} == {0.5}
    assert_speaks(found, begin_ms=1_500)


def test_audio_only_from_the_middle_on_goes_on_by_the_sound() -> None:
    """The pose is not held, and the mouth does not rest."""
    bench = Bench()
    bench.handle(open_("a", motion=JAW, audio=PCM_16K), Media("a", (motion_payload([0.5] * 10),)), sound())
    bench.run(600_000)
    bench.handle(AudioOnly("a"))
    bench.run(3_000_000)
    assert_speaks(jaws(bench))


@pytest.mark.parametrize("source", [MouthSource.AUTO, MouthSource.BLEND])
def test_motion_that_arrives_late_takes_over_without_a_jump(source: MouthSource) -> None:
    """Mouth and brow: no picture differs from the one before by more than the blend of 120 ms, and 10 ms of speech, allow."""
    bench = Bench(config=PlaybackConfig(mouth_source=source))
    bench.handle(open_("a", motion=BROW, audio=PCM_16K), sound())
    bench.run(800_000)
    late = np.tile(np.array([1.0, 1.0], "<f4"), (75, 1)).tobytes()
    bench.handle(Media("a", (Payload(Kind.MOTION, 1, late, 0, 3_000_000),)))
    bench.run(600_000)
    poses = [view.motion for _, view in bench.views if view.motion is not None]
    steps = [float(np.abs(after - before).max()) for before, after in itertools.pairwise(poses)]
    assert poses[-1][BROW_INDEX] == 1.0
    assert source is MouthSource.BLEND or poses[-1][JAW_INDEX] == 1.0
    assert max(steps) < 0.15


def test_sound_with_motion_is_not_analysed() -> None:
    """It would waste a fiftieth of a core."""
    bench = Bench()
    bench.handle(open_("a", motion=JAW, audio=PCM_16K), Media("a", (motion_payload([0.5] * 75),)), sound(), ConversationEnd("a", 0, 1))
    bench.run(1_000_000)
    mouth = bench.playback._playing["a"].audio_mouth
    assert mouth is not None
    assert mouth.sample(500_000) is None


@pytest.mark.parametrize(
    ("names", "name_set", "said"),
    [
        (("hair", "wind"), None, "'hair', 'wind'"),
        (("a", "e", "i", "o", "u"), None, "POLLY and VRM alike"),
        (("PP", "aa"), NameSet.AZURE, "declared name_set AZURE"),
    ],
)
def test_motion_that_is_not_understood_leaves_the_mouth_to_the_sound(names: tuple[str, ...], name_set: NameSet | None, said: str) -> None:
    """Reported once, by name, with the sets that may be meant; the face speaks nevertheless, to the end."""
    bench = Bench()
    format = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, names, name_set)
    bench.handle(open_("a", motion=format, audio=PCM_16K), sound())
    rows = np.zeros((75, len(names)), "<f4").tobytes()
    bench.handle(Media("a", (Payload(Kind.MOTION, 1, rows, 0, 3_000_000),)), ConversationEnd("a", 0, 1))
    bench.run(4_000_000)
    assert_speaks(jaws(bench))
    assert bench.reasons("a") == [Reason.MOTION_NOT_UNDERSTOOD]
    assert said in fault_text(bench)


def test_names_that_are_left_out_are_told_beside_motion_that_moves_the_face() -> None:
    """Ignored names are reported once, however many payloads follow."""
    bench = Bench()
    format = MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, ("jawOpen", "hairWave"))
    bench.handle(open_("a", motion=format, audio=PCM_16K), sound())
    rows = np.full((25, 2), 0.5, "<f4").tobytes()
    bench.handle(Media("a", tuple([Payload(Kind.MOTION, seq, rows, (seq - 1) * 1_000_000, 1_000_000) for seq in (1, 2, 3)])))
    bench.handle(ConversationEnd("a", 0, 3))
    bench.run(4_000_000)
    assert bench.reasons("a") == [Reason.MOTION_NOT_UNDERSTOOD]
    assert "'hairWave'" in fault_text(bench)
    assert max(jaws(bench).values()) == pytest.approx(0.5)
