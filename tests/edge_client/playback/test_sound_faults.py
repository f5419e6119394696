"""Reports to a conversation's publisher about a sound device that is lost and returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from avatar_relay.media import Kind
from avatar_relay.messages import ConversationError, PlayerEventBody, Stalled
from avatar_relay.reasons import Reason
from edge_client.audio.sink import SinkCounters
from edge_client.playback.engine import PlaybackEngine
from edge_client.playback.events import ConversationEvent, Output
from tests.edge_client.playback_bench import PERIOD_FRAMES, REAL_DECODERS, SteppedSink, open_, spoken, tone

_STEP_US = 10_000


class UnpluggedSink(SteppedSink):
    """A sink whose device may be lost; playout then stops."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = ""
        self.restarts = 0

    def step(self, time_us: int) -> None:
        """Play a block, if there is a device."""
        if not self.lost:
            super().step(time_us)

    def lose(self, reason: str) -> None:
        """Lose the device."""
        self.lost = reason
        self.restarts += 1

    def counters(self) -> SinkCounters:
        """See `AudioSink`."""
        return SinkCounters(restarts=self.restarts, last_fault=self.lost, lost=self.lost)


@dataclass
class Bench:
    """A player on a sink that can be unplugged."""

    sink: UnpluggedSink = field(default_factory=UnpluggedSink)
    now_us: int = 0
    told: list[Output] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.player = PlaybackEngine(sink=self.sink, decoders=REAL_DECODERS)
        self.sink.start(self.player)

    def run(self, seconds: float) -> None:
        """Advance the time."""
        for _ in range(round(seconds * 1e6 / _STEP_US)):
            self.sink.step(self.now_us)
            self.told += self.player.tick(self.now_us)
            self.now_us += _STEP_US

    def speak(self, blocks: int) -> None:
        """A conversation of so many blocks of 10 ms."""
        for message in (open_("c"), *spoken("c", tone(blocks * PERIOD_FRAMES))):
            self.player.handle(message, self.now_us)

    def errors(self) -> list[ConversationError]:
        """Reported faults."""
        return [output for output in self.told if isinstance(output, ConversationError)]

    def stalls(self) -> list[PlayerEventBody]:
        """Reported stalls."""
        return [output.body for output in self.told if isinstance(output, ConversationEvent) and isinstance(output.body, Stalled)]


def test_lost_device_is_told_and_the_conversation_goes_on() -> None:
    """One fault with the reason, a stall with a beginning and an end, and all of the sound is played."""
    bench = Bench()
    bench.speak(100)
    bench.run(0.5)
    bench.sink.lose("the device ended the stream; it may have been unplugged")
    bench.run(0.3)
    bench.sink.lost = ""
    bench.run(1.0)
    (error,) = bench.errors()
    assert error.fault.reason is Reason.AUDIO_DEVICE_FAILED
    assert "it may have been unplugged" in error.fault.text
    assert bench.stalls() == [Stalled(True, Kind.AUDIO), Stalled(False, Kind.AUDIO)]
    assert sum(np.count_nonzero(block) for block in bench.sink.blocks) == 100 * PERIOD_FRAMES
    assert bench.player.summary().conversations[-1].finished is not None


def test_each_loss_is_told() -> None:
    """A plug with a bad contact: three faults."""
    bench = Bench()
    bench.speak(200)
    for _ in range(3):
        bench.run(0.2)
        bench.sink.lose("gone")
        bench.run(0.1)
        bench.sink.lost = ""
    bench.run(0.1)
    assert len(bench.errors()) == 3
    assert len(bench.stalls()) == 6


def test_loss_between_conversations_is_nobodys() -> None:
    """There is no publisher to notify; the fault is not reported to the next conversation."""
    bench = Bench()
    bench.sink.lose("gone")
    bench.run(0.1)
    bench.sink.lost = ""
    bench.speak(20)
    bench.run(0.5)
    assert bench.errors() == []
    assert bench.stalls() == []


def test_a_conversation_without_a_device_is_told() -> None:
    """The conversation is held until there is a device, and then heard whole; the fault is reported once."""
    bench = Bench()
    bench.sink.lose("no such card")
    bench.run(0.1)
    bench.speak(20)
    bench.run(0.3)
    bench.sink.lost = ""
    bench.run(0.5)
    (error,) = bench.errors()
    assert error.fault.reason is Reason.AUDIO_DEVICE_FAILED
    assert "no such card" in error.fault.text
    assert bench.player.summary().conversations[-1].finished is not None
