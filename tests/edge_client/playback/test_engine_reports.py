"""What the engine reports: credit, cursors, the summary, and its observer's calls."""

from __future__ import annotations

import numpy as np
import pytest

from avatar_relay.fragments import split
from avatar_relay.media import ConversationOpen, Credit, Cursor, Kind, Payload
from avatar_relay.messages import ConversationEnd, Dropped, Finished, Interrupt, Media
from avatar_relay.reasons import Reason
from edge_client.observer import PlaybackObserver
from edge_client.playback.events import PlaybackConfig
from tests.edge_client.playback_bench import RATE_HZ, Bench, audio_payloads, motion_payload, open_, spoken, tone


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
