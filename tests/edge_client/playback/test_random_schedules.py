"""The engine on random schedules, compared with a model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_relay.media import Kind, OnPlaying, Pacing, Payload
from avatar_relay.messages import ConversationEnd, Dropped, Finished, Interrupt, Media, Pause, Resume, Volume
from edge_client.audio.sink import Pcm
from edge_client.playback.events import ConversationEvent, PlaybackConfig
from edge_client.playback.ledgers import CREDIT_PERIOD_US
from tests.edge_client.playback_bench import (
    RATE_HZ,
    RUN_FRAMES,
    Bench,
    PlainSink,
    audio_payloads,
    find_media,
    noise,
    noise_index,
    open_,
    tone,
)

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
