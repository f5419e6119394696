"""The engine as a whole: random schedules against a model, credit, views, and the real virtual sink."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_relay.errors import ConfigError
from avatar_relay.fragments import split
from avatar_relay.media import (
    AudioFormat,
    Codec,
    ConversationOpen,
    Credit,
    Cursor,
    Kind,
    MotionEncoding,
    MotionFormat,
    NameSet,
    OnPlaying,
    Pacing,
    Payload,
)
from avatar_relay.messages import AudioOnly, ConversationEnd, Dropped, Finished, Interrupt, Media, Pause, Resume, Started, Volume
from avatar_relay.reasons import Reason
from edge_client.audio.decoder import AudioDecoder
from edge_client.audio.sink import Pcm
from edge_client.audio.sinks.virtual import PERIOD_US, VirtualSink
from edge_client.errors import UndecodableError
from edge_client.motion.decoders import make_motion_decoder
from edge_client.motion.mouth_source import MouthSource
from edge_client.observer import PlaybackObserver
from edge_client.playback.engine import MAX_LIVE_CONVERSATIONS, PlaybackEngine
from edge_client.playback.events import ConversationEvent, PlaybackConfig, PlayerState
from edge_client.playback.ledgers import CREDIT_PERIOD_US
from edge_client.playback.playing import DecoderFactories
from tests.edge_client.playback_bench import (
    JAW,
    PCM,
    RATE_HZ,
    REAL_DECODERS,
    RUN_FRAMES,
    Bench,
    PlainSink,
    audio_payloads,
    find_media,
    motion_payload,
    noise,
    noise_index,
    open_,
    spoken,
    tone,
)

# --- random schedules ------------------------------------------------------------------------------------------------

Step = tuple[str, int, int]


@dataclass
class Schedule:
    """Plays a random schedule, and records what the model needs."""

    bench: Bench = field(default_factory=lambda: Bench(PlaybackConfig(decode_ahead_us=200_000), sink=PlainSink(ahead_frames=12_000)))
    sent: dict[str, int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def signal(self, conversation_id: str) -> Pcm:
        """The sound of a conversation; no two are alike."""
        return noise(RATE_HZ * 2, start=int(conversation_id) * 1_000_003)

    def do(self, step: Step) -> None:
        """Perform a step; the numbers choose among the possible ones."""
        what, which, size = step
        ids = list(self.sent)[-4:]
        chosen = ids[which % len(ids)] if ids else "0"
        match what:
            case "replace" | "queue":
                opened = str(len(self.sent))
                self.sent[opened] = 0
                self.bench.handle(open_(opened, on_playing=OnPlaying.REPLACE if what == "replace" else OnPlaying.QUEUE))
            case "speak":
                self.do(("queue", 0, 0))
                opened = str(len(self.sent) - 1)
                self._media(opened, 1 + size % 15, backwards=False)
                self._end(opened)
            case "media" if ids:
                self._media(chosen, 1 + size % 20, backwards=bool(which % 2))
            case "end" if ids and self.sent[chosen] and chosen not in self.ended:
                self._end(chosen)
            case "interrupt" if ids:
                self.bench.handle(Interrupt(chosen))
            case "pause" if ids:
                self.bench.handle(Pause(chosen))
            case "resume" if ids:
                self.bench.handle(Resume(chosen))
            case "volume":
                self.bench.handle(Volume(size / 300, which % 2 == 0))
        self.bench.run(size % 16 * 10_000)

    def finish(self) -> None:
        """Let all live conversations resume, end, and play out."""
        for conversation_id in sorted(self.sent):
            if not self.sent[conversation_id]:
                self._media(conversation_id, 1, backwards=False)
            self.bench.handle(Resume(conversation_id))
            if conversation_id not in self.ended:
                self._end(conversation_id)
        self.bench.run(CREDIT_PERIOD_US + 100_000 + sum(self.sent.values()) * 20_000)

    def _end(self, conversation_id: str) -> None:
        self.ended.add(conversation_id)
        self.bench.handle(ConversationEnd(conversation_id, self.sent[conversation_id], 0))

    def _media(self, conversation_id: str, count: int, *, backwards: bool) -> None:
        if conversation_id in self.ended:
            return
        first = self.sent[conversation_id]
        payloads = audio_payloads(self.signal(conversation_id))[first : first + count]
        self.sent[conversation_id] += len(payloads)
        if payloads:
            motion = Payload(Kind.MOTION, first + 1, b"\0\0\0\0", first * 20_000, 40_000)
            media = (*(payloads[::-1] if backwards else payloads), payloads[0], motion)
            self.bench.handle(Media(conversation_id, media))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["replace", "queue", "speak", "speak", "media", "media", "media", "media", "end", "interrupt", "pause", "resume", "volume"]
        ),
        st.integers(0, 5),
        st.integers(0, 300),
    ),
    min_size=1,
    max_size=30,
)


@given(STEPS)
def test_random_schedules_play_every_sample_and_give_every_byte_back_once(steps: list[Step]) -> None:
    """For any order of open, end, interrupt, pause and queue: credit granted never exceeds the bytes received and finally equals them,
    and everything plays once."""
    schedule = Schedule()
    schedule.do(("replace", 0, 0))
    for step in steps:
        schedule.do(step)
        granted = schedule.bench.granted()
        assert all(granted[kind] <= schedule.bench.sent_bytes[kind] for kind in Kind)
    schedule.finish()
    assert schedule.bench.granted() == schedule.bench.sent_bytes
    assert_played_once(schedule)
    assert_never_back_in_time(schedule.bench)


def assert_played_once(schedule: Schedule) -> None:
    """The beginning of each conversation is heard, as long as its `finished` states, in the order of finishing, no sample lost,
    duplicate or stale; and each finishes exactly once."""
    bench = schedule.bench
    told = [
        (output.conversation_id, output.body)
        for _, output in bench.outputs
        if isinstance(output, ConversationEvent) and isinstance(output.body, Finished)
    ]
    assert sorted(conversation_id for conversation_id, _ in told) == sorted(schedule.sent)
    expected: list[Pcm] = []
    for conversation_id, finished in told:
        length = schedule.sent[conversation_id] * 960
        frames = round(finished.position_us * RATE_HZ / 1e6) + (1 if finished.interrupted and finished.position_us else 0)
        assert finished.interrupted or frames == length
        expected.append(schedule.signal(conversation_id)[:frames])
    at = 0
    for (_, finished), part in zip(told, expected, strict=True):
        sure = part[:-1] if finished.interrupted else part
        found, at = find_media(bench.played, sure, at)
        assert found == len(sure)
    left = bench.played[at:]
    assert not any(find_media(left, schedule.signal(conversation_id)[:960])[0] for conversation_id in schedule.sent)


def assert_never_back_in_time(bench: Bench) -> None:
    """The audible PTS of a conversation only increases, and no conversation is heard again after another one."""
    order: list[str] = []
    last_us = -1
    for _, view in bench.views:
        if view.audible_pts_us is None or view.conversation_id is None:
            continue
        if not order or order[-1] != view.conversation_id:
            order.append(view.conversation_id)
            last_us = -1
        assert view.audible_pts_us >= last_us
        last_us = view.audible_pts_us
    assert len(set(order)) == len(order)


def _arrivals(delays: list[int], *, in_order: bool) -> list[int]:
    """The arrival time of each payload of 20 ms, in steps of 10 ms; `in_order` as over TCP, where a late one holds back the rest."""
    times = [2 * index + max(0, delay - 15) for index, delay in enumerate(delays)]
    return list(itertools.accumulate(times, max)) if in_order else times


def _feed_live(bench: Bench, samples: Pcm, arrivals: list[int], *, lost: int = 0) -> None:
    payloads = audio_payloads(samples)
    bench.handle(open_("a", motion=None, pacing=Pacing.LIVE))
    for step in range(max(arrivals) + 1):
        due = tuple(payload for payload, when in zip(payloads, arrivals, strict=True) if when == step and payload.seq != lost)
        if due:
            bench.handle(Media("a", due))
        bench.run(10_000)
    bench.handle(ConversationEnd("a", len(arrivals), 0))
    bench.run(6_500_000)


def _found_forward(heard: Pcm) -> tuple[int, int]:
    """How many of the samples of `noise` were heard, each after the one before it, and the number of gaps."""
    indexes = noise_index(heard)
    edges = [0, *(np.flatnonzero(np.diff(indexes) != 1) + 1).tolist(), len(indexes)]
    found, gaps, last = 0, 1, -1
    for begin, end in itertools.pairwise(edges):
        ahead = (indexes[begin] - last - 1) % 30_000
        if end - begin >= RUN_FRAMES and ahead < 15_000:
            gaps += begin > 0
            found, last = found + end - begin, indexes[end - 1]
    return found, gaps


DELAYS = st.lists(st.integers(0, 30), min_size=10, max_size=30)


@given(DELAYS)
@settings(max_examples=25, deadline=None)
def test_live_skips_and_never_doubles(delays: list[int]) -> None:
    """However late payloads are: the conversation's samples are heard in order, some left out, none twice."""
    bench = Bench(sink=PlainSink())
    samples = noise(960 * len(delays))
    _feed_live(bench, samples, _arrivals(delays, in_order=True))
    found, gaps = _found_forward(bench.played)
    skipped = sum(body.bytes for body in bench.events("a") if isinstance(body, Dropped)) // 2
    assert abs(len(samples) - found - skipped) <= RUN_FRAMES * gaps
    assert len(bench.played) - found <= (3_120 + RUN_FRAMES) * gaps
    assert len(bench.finished("a")) == 1


@given(DELAYS, st.integers(0, 30))
@settings(max_examples=25, deadline=None)
def test_live_under_reordering_and_loss_goes_on_and_finishes_once(delays: list[int], lost: int) -> None:
    """The PTS only increases, and every byte is returned as credit."""
    bench = Bench(sink=PlainSink())
    _feed_live(bench, tone(960 * len(delays)), _arrivals(delays, in_order=False), lost=lost)
    (finished,) = bench.finished("a")
    assert not finished.interrupted
    pts = [view.audible_pts_us for _, view in bench.views if view.audible_pts_us is not None]
    assert pts == sorted(pts)
    assert bench.granted()[Kind.AUDIO] == bench.sent_bytes[Kind.AUDIO]


# --- cases -----------------------------------------------------------------------------------------------------------


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


def test_bytes_beyond_the_credit_are_told_and_bounded() -> None:
    """A relay that sends more than was granted: reported once, and the excess is dropped."""
    bench = Bench()
    pcm = bytes(1 << 20)
    media = [Media("a", (Payload(Kind.AUDIO, seq, pcm),)) for seq in range(1, 5)]
    bench.handle(open_("a", motion=None), *media)
    bench.run(300_000)
    assert bench.reasons("a") == [Reason.CREDIT_EXCEEDED]
    assert bench.dropped("a")[Kind.AUDIO, "buffer_full"] >= 1


def test_cursors_tell_what_is_held() -> None:
    """Cursors are contiguous, change with received data, and are sent at most every three seconds."""
    bench = Bench()
    payloads = audio_payloads(tone(RATE_HZ))
    bench.handle(open_("a"), Media("a", (*payloads[:5], payloads[6], motion_payload([0.0]))))
    bench.run(400_000)
    assert bench.playback.cursors() == (Cursor("a", 5, 1),)
    assert bench.held()[-1].cursors == (Cursor("a", 5, 1),)
    bench.handle(Media("a", payloads[5:6]))
    bench.run(3_100_000)
    assert bench.held()[-1].cursors == (Cursor("a", 7, 1),)
    assert len(bench.held()) == 2


def test_cursors_are_told_at_once_if_much_came() -> None:
    """The relay keeps what is not held, within a bound."""
    bench = Bench()
    bench.handle(open_("a", motion=None), Media("a", (Payload(Kind.AUDIO, 1, bytes(3_200)),)))
    bench.run(100_000)
    assert bench.held()[-1].cursors == (Cursor("a", 1, 0),)
    bench.handle(*(Media("a", (Payload(Kind.AUDIO, seq, bytes(16 << 10)),)) for seq in range(2, 35)))
    bench.run(100_000)
    assert bench.held()[-1].cursors == (Cursor("a", 34, 0),)


def test_credit_of_a_new_stream_leaves_out_what_is_still_held() -> None:
    """After a reconnect the grant is the buffer size less its content; half a payload does not count."""
    bench = Bench()
    config = PlaybackConfig()
    assert bench.playback.buffer_credit() == Credit(config.audio_buffer_bytes, config.motion_buffer_bytes)
    pieces = split(Payload(Kind.MOTION, 1, bytes(40_000), 0, 2_000_000))
    bench.handle(open_("a"), Media("a", (*audio_payloads(tone(480)), pieces[0])))
    grant = bench.playback.buffer_credit()
    assert grant == Credit(config.audio_buffer_bytes - 960, config.motion_buffer_bytes)


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


class Watcher(PlaybackObserver):
    """An observer that records its calls."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def opened(self, message: ConversationOpen, now_us: int) -> None:
        """Record the call."""
        self.seen.append(f"opened {message.conversation_id}")

    def received(self, conversation_id: str, payload: Payload, now_us: int) -> None:
        """Record the call."""
        self.seen.append(f"received {payload.kind.value} {payload.seq}")

    def decoded(self, conversation_id: str, kind: Kind, seq: int, now_us: int) -> None:
        """Record the call."""
        self.seen.append(f"decoded {kind.value} {seq}")

    def buffered(self, conversation_id: str, now_us: int) -> None:
        """Record the call."""
        self.seen.append("buffered")

    def first_sample_heard(self, conversation_id: str, time_us: int) -> None:
        """Record the call."""
        self.seen.append(f"heard at {time_us}")

    def finished(self, conversation_id: str, body: Finished, now_us: int) -> None:
        """Record the call."""
        self.seen.append(f"finished {body.reason}")

    def dropped(self, conversation_id: str, body: Dropped, now_us: int) -> None:
        """Record the call."""
        self.seen.append(f"dropped {body.payloads} {body.reason}")

    def underrun(self, count: int, cause: str) -> None:
        """Record the call."""
        self.seen.append(f"underrun {count} {cause}")


def test_observer_sees_a_conversation_in_order() -> None:
    """Opened, received, decoded, buffered, heard, finished; drops before the finish."""
    watcher = Watcher()
    bench = Bench(observer=watcher)
    bench.run(50_000)
    audio = audio_payloads(tone(2_880), payload_us=60_000)
    bench.handle(open_("a"), Media("a", (motion_payload([0.0, 0.0]), *audio, *audio)), ConversationEnd("a", 1, 1))
    bench.run(300_000)
    assert watcher.seen == [
        "opened a",
        "received motion 1",
        "decoded motion 1",
        "received audio 1",
        "received audio 1",
        "decoded audio 1",
        "buffered",
        "dropped 1 duplicate",
        "heard at 1060000",
        "finished completed",
    ]


def test_observer_is_told_of_each_underrun_once() -> None:
    """Each underrun is passed to the observer once, with the number of new ones and their cause."""
    watcher = Watcher()
    bench = Bench(observer=watcher)
    bench.handle(open_("a"), Media("a", tuple(audio_payloads(tone(9_600), payload_us=100_000))))
    bench.run(1_000_000)
    assert bench.sink.counters().starved == 1
    assert [seen for seen in watcher.seen if seen.startswith("underrun")] == ["underrun 1 starved"]


def test_summary_adds_up() -> None:
    """Seconds received and heard, over whole and interrupted conversations."""
    bench = Bench()
    bench.handle(open_("a"), *spoken("a", tone(RATE_HZ)))
    bench.run(1_300_000)
    bench.handle(open_("b"), *spoken("b", np.full(RATE_HZ, 9_000, np.int16)))
    bench.run(400_000)
    bench.handle(Interrupt("b"))
    bench.run(500_000)
    summary = bench.playback.summary()
    assert summary.audio_seconds_played == pytest.approx(np.count_nonzero(bench.played) / RATE_HZ, abs=0.001)
    assert summary.audio_seconds_received >= 1.4
    assert [one.conversation_id for one in summary.conversations] == ["a", "b"]
    assert [one.finished is not None for one in summary.conversations] == [True, True]
    assert summary.conversations[0].first_audio_time_us is not None
    assert summary.underruns == 0


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
