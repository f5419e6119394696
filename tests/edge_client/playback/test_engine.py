"""The engine as a whole: conversations one by one, views, and the real virtual sink."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from avatar_relay.errors import ConfigError
from avatar_relay.fragments import split
from avatar_relay.media import (
    AudioFormat,
    Codec,
    ConversationOpen,
    Kind,
    MotionEncoding,
    MotionFormat,
    NameSet,
    OnPlaying,
    Payload,
)
from avatar_relay.messages import AudioOnly, ConversationEnd, Finished, Interrupt, Media, Started, Volume
from avatar_relay.reasons import Reason
from edge_client.audio.decoder import AudioDecoder
from edge_client.audio.sink import Pcm
from edge_client.audio.sinks.virtual import PERIOD_US, VirtualSink
from edge_client.errors import UndecodableError
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.mouth_source import MouthSource
from edge_client.playback.engine import MAX_LIVE_CONVERSATIONS, PlaybackEngine
from edge_client.playback.events import ConversationEvent, PlaybackConfig, PlayerState
from edge_client.playback.ledgers import CREDIT_PERIOD_US
from edge_client.playback.playing import DecoderFactories
from tests.edge_client.playback_bench import (
    JAW,
    PCM,
    RATE_HZ,
    REAL_DECODERS,
    Bench,
    PlainSink,
    audio_payloads,
    open_,
    spoken,
    tone,
)


def test_cutting_one_conversation_gives_back_the_samples_of_the_next() -> None:
    """The conversation queued behind it was partly pulled already; it is heard whole, from its first sample."""
    for moment_us in range(300_000, 400_000, 10_000):
        bench = Bench(sink=PlainSink(ahead_frames=12_000))
        first, second = tone(19_200), tone(19_200, start=777)
        bench.handle(open_("a", motion=None), *spoken("a", first, weights=[]))
        bench.handle(open_("b", motion=None, on_playing=OnPlaying.QUEUE), *spoken("b", second, weights=[]))
        bench.run(moment_us)
        bench.handle(Interrupt("a"))
        bench.run(1_000_000)
        (finished,) = bench.finished("a")
        assert finished.interrupted
        heard = bench.played
        assert heard[-19_200:].tolist() == second.tolist()
        assert heard[:-19_200].tolist() == first[: len(heard) - 19_200].tolist()
        assert finished.position_us == pytest.approx((len(heard) - 19_200) * 1e6 / RATE_HZ, abs=30)


def test_first_sample_is_heard_within_two_blocks_of_the_prefill() -> None:
    """`BURST` waits for 20 ms of sound and no longer."""
    bench = Bench()
    bench.run(50_000)
    payloads = audio_payloads(tone(RATE_HZ), payload_us=10_000)
    bench.handle(open_("a", motion=None), Media("a", payloads[:1]))
    bench.run(100_000)
    assert not bench.sound.size
    before = len(bench.played)
    bench.handle(Media("a", payloads[1:]))
    bench.tick()
    bench.run(100_000)
    assert int(np.flatnonzero(bench.played[before:])[0]) <= 960


def test_decoded_sound_is_bounded_however_much_arrives() -> None:
    """Two seconds are decoded ahead; the rest stays encoded, and its credit is withheld."""
    bench = Bench()
    pcm = tone(RATE_HZ * 10)
    bench.handle(open_("a", motion=None), Media("a", audio_payloads(pcm)))
    for _ in range(50):
        bench.tick()
    bench.now_us += 1_000_000
    bench.tick()
    assert bench.granted()[Kind.AUDIO] <= 2 * (2_000_000 + 200_000) * RATE_HZ // 1_000_000


def test_volume_reaches_the_sink() -> None:
    """The sink applies gain and mute."""
    bench = Bench()
    bench.handle(Volume(0.5), open_("a", motion=None), *spoken("a", np.full(4_800, 10_000, np.int16), weights=[]))
    bench.run(400_000)
    assert set(bench.sound.tolist()) == {5_000}


def test_fragments_are_put_together() -> None:
    """A motion window in fragments moves the face like a whole one."""
    bench = Bench()
    names = tuple(f"extra{index}" for index in range(200))
    opened = open_("a", motion=MotionFormat(MotionEncoding.BLENDSHAPE_WEIGHTS, 25.0, ("jawOpen", *names), NameSet.ARKIT))
    rows = np.zeros((50, 201), "<f4")
    rows[:, 0] = 0.5
    window = Payload(Kind.MOTION, 1, rows.tobytes(), 0, 2_000_000)
    bench.handle(opened, *(Media("a", (piece,)) for piece in split(window)), Media("a", audio_payloads(tone(RATE_HZ))))
    bench.run(900_000)
    _, view = bench.views[-1]
    assert view.motion is not None
    assert view.motion.max() == pytest.approx(0.5)
    assert bench.playback.summary().keyframes_received == 50


def test_what_is_interrupted_unheard_of_ends_once_and_can_not_be_opened() -> None:
    """Its `open` was lost with a stream; the relay waits for its finished event."""
    bench = Bench()
    bench.handle(Interrupt("a"), Interrupt("a"), open_("a"), *spoken("a", tone(4_800)))
    bench.run(300_000)
    assert bench.finished("a") == [Finished(0, True, "interrupted")]
    assert not bench.sound.size


@pytest.mark.parametrize(("last_motion_seq", "told"), [(1, [Reason.PAYLOAD_TRUNCATED]), (0, [])])
def test_truncated_payload_is_given_back_and_told_where_the_end_counts_it(last_motion_seq: int, told: list[Reason]) -> None:
    """Half a payload is dropped at the end of its conversation. One beyond the count of `end` was abandoned by the sender."""
    bench = Bench()
    window = Payload(Kind.MOTION, 1, bytes(40_000), 0, 2_000_000)
    sound = audio_payloads(tone(RATE_HZ))
    bench.handle(open_("a"), Media("a", split(window)[:1]), Media("a", sound), ConversationEnd("a", len(sound), last_motion_seq))
    bench.run(1_500_000)
    assert bench.reasons("a") == told
    bench.run(CREDIT_PERIOD_US)
    assert bench.granted() == bench.sent_bytes


def test_misfragmented_payload_is_told_and_dropped() -> None:
    """An inconsistent fragment costs its payload and nothing else."""
    bench = Bench()
    pieces = split(Payload(Kind.MOTION, 1, bytes(40_000), 0, 2_000_000))
    bench.handle(open_("a"), Media("a", (pieces[0], pieces[2])), *spoken("a", tone(RATE_HZ), weights=[]))
    bench.run(1_500_000)
    assert bench.reasons("a") == [Reason.FRAGMENT_INVALID]
    assert bench.finished("a") == [Finished(1_000_000, False, "completed")]
    bench.run(CREDIT_PERIOD_US)
    assert bench.granted() == bench.sent_bytes


def test_undecodable_audio_plays_what_it_can_and_finishes_as_failed() -> None:
    """A stream that does not match its format; the next conversation is not affected."""
    bench = Bench()
    opened = open_("a", motion=None, audio=AudioFormat(Codec.OGG_OPUS))
    bench.handle(opened, Media("a", (Payload(Kind.AUDIO, 1, b"RIFF" * 2_000),)), ConversationEnd("a", 1, 0))
    bench.run(200_000)
    assert Reason.AUDIO_UNDECODABLE in bench.reasons("a")
    (finished,) = bench.finished("a")
    assert (finished.interrupted, finished.reason) == (False, "failed")
    bench.run(CREDIT_PERIOD_US)
    assert bench.granted() == bench.sent_bytes
    bench.handle(open_("b"), *spoken("b", tone(4_800)))
    bench.run(400_000)
    assert bench.sound.tolist() == tone(4_800).tolist()


def test_unknown_audio_format_is_told_and_finished() -> None:
    """An `open` that cannot be played does not hang, and its media is dropped."""

    def no_libopus(format: AudioFormat, rate_hz: int) -> AudioDecoder:
        raise UndecodableError("libopus is missing")

    bench = Bench(decoders=DecoderFactories(no_libopus, make_motion_decoder))
    bench.handle(open_("a", audio=AudioFormat(Codec.OPUS)), Media("a", audio_payloads(tone(960))))
    bench.run(300_000)
    assert bench.reasons("a") == [Reason.AUDIO_FORMAT_UNSUPPORTED]
    assert bench.finished("a") == [Finished(0, False, "failed")]
    assert bench.dropped("a") == {(Kind.AUDIO, "conversation_closed"): 1}


def test_queue_of_conversations_is_bounded() -> None:
    """The one beyond the bound is reported and finished; the others are not affected."""
    bench = Bench()
    for number in range(MAX_LIVE_CONVERSATIONS + 1):
        bench.handle(open_(f"c{number}", on_playing=OnPlaying.QUEUE))
    bench.run(20_000)
    last = f"c{MAX_LIVE_CONVERSATIONS}"
    assert bench.reasons(last) == [Reason.LIMIT_REACHED]
    assert bench.finished(last) == [Finished(0, False, "failed")]
    assert len(bench.playback.cursors()) == MAX_LIVE_CONVERSATIONS


def test_face_goes_to_rest_where_no_more_motion_can_come() -> None:
    """Audio only from the middle on, on a device that does not analyse sound: the pose is not held until the sound is over."""
    bench = Bench(config=PlaybackConfig(mouth_source=MouthSource.PAYLOAD))
    bench.handle(open_("a"), *spoken("a", tone(2 * RATE_HZ), weights=[1.0] * 10, end=False))
    bench.run(600_000)
    assert bench.views[-1][1].motion_weight == 1.0
    bench.handle(AudioOnly("a"))
    bench.run(900_000)
    assert bench.views[-1][1].motion is None
    assert bench.views[-1][1].state is PlayerState.PLAYING


def test_state_and_view_follow_a_conversation() -> None:
    """The player is idle, buffering, playing, idle; the audible PTS drives the face, faded in and out."""
    bench = Bench()
    states = [bench.playback.state]
    bench.handle(open_("a"))
    states.append(bench.playback.state)
    bench.handle(*spoken("a", tone(RATE_HZ), weights=[index / 25 for index in range(26)]))
    bench.run(700_000)
    states.append(bench.playback.state)
    _, view = bench.views[-1]
    assert view.shown_pts_us == view.audible_pts_us
    assert view.motion is not None
    assert view.audible_pts_us is not None
    assert view.motion.max() == pytest.approx(view.audible_pts_us / 1e6, abs=0.002)
    bench.run(2_000_000)
    states.append(bench.playback.state)
    assert states == [PlayerState.IDLE, PlayerState.BUFFERING, PlayerState.PLAYING, PlayerState.IDLE]
    assert bench.views[-1][1].motion is None


def test_a_question_far_ahead_does_not_hold_up_those_after_it() -> None:
    """One picture is expected a quarter of a second late; the next ones show what is audible when they are requested."""
    bench = Bench(sink=PlainSink(ahead_frames=RATE_HZ // 2))
    bench.handle(open_("a"), *spoken("a", tone(2 * RATE_HZ), weights=[index / 50 for index in range(51)]))
    bench.run(500_000)
    far = bench.playback.view(bench.now_us + 250_000).shown_pts_us
    for _ in range(10):
        bench.run(PERIOD_US)
        heard = bench.playback.audible(bench.now_us)
        view = bench.playback.view(bench.now_us)
        assert heard is not None
        assert far is not None
        assert view.shown_pts_us == view.audible_pts_us == heard.pts_us < far


def test_output_offset_moves_face_and_finish() -> None:
    """A television with 200 ms of delay: picture and `finished` are delayed as well."""
    plain, late = Bench(), Bench(config=PlaybackConfig(output_offset_us=200_000))
    for bench in (plain, late):
        bench.handle(open_("a"), *spoken("a", tone(RATE_HZ)))
        bench.run(2_000_000)
    first_plain, first_late = (next(time_us for time_us, view in b.views if view.audible_pts_us) for b in (plain, late))
    assert first_late - first_plain == 200_000


def test_config_says_what_can_not_be() -> None:
    """Bounds are checked at construction."""
    with pytest.raises(ConfigError, match="audio_buffer_bytes"):
        PlaybackConfig(audio_buffer_bytes=1)
    with pytest.raises(ConfigError, match="decode_ahead_us"):
        PlaybackConfig(decode_ahead_us=1)
    with pytest.raises(ConfigError, match="output_offset_us"):
        PlaybackConfig(output_offset_us=9_000_000)


def test_real_virtual_sink_is_sample_exact_over_a_queue_and_an_interrupt() -> None:
    """The sink's thread, on this machine's clock at ten times the speed: every sample once, in order."""
    blocks: list[Pcm] = []
    sink = VirtualSink(tap=blocks.append, speed=10)
    playback = PlaybackEngine(sink=sink, decoders=REAL_DECODERS)
    sink.start(playback)
    first, second = tone(2 * RATE_HZ), tone(RATE_HZ, start=500_000)
    started, finished = threading.Event(), 0

    def feed(*messages: ConversationOpen | Media | ConversationEnd | Interrupt) -> None:
        for message in messages:
            playback.handle(message, time.monotonic_ns() // 1_000)

    feed(ConversationOpen("a", PCM, JAW), Media("a", audio_payloads(first)), ConversationEnd("a", 100, 0))
    feed(ConversationOpen("b", PCM, None, on_playing=OnPlaying.QUEUE), Media("b", audio_payloads(second)), ConversationEnd("b", 50, 0))
    deadline = time.monotonic() + 20
    while finished < 2 and time.monotonic() < deadline:
        for output in playback.tick(time.monotonic_ns() // 1_000):
            if isinstance(output, ConversationEvent):
                finished += isinstance(output.body, Finished)
                if isinstance(output.body, Started):
                    started.set()
        started.wait(0.001)
    sink.close()
    played = np.concatenate(blocks)
    begin = int(np.flatnonzero(played)[0])
    assert finished == 2
    assert played[begin : begin + 3 * RATE_HZ].tolist() == [*first.tolist(), *second.tolist()]
