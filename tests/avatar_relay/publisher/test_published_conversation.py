"""One conversation and the outbox: for any order of calls, the output follows the rules."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from avatar_relay.backoff import PUBLISHER_BACKOFF, full_jitter
from avatar_relay.limits import MAX_JOINED_BYTES
from avatar_relay.media import ConversationOpen, Credit, Kind, Payload
from avatar_relay.messages import AudioOnly, ConversationEnd, EventAck, Interrupt, Media, Ping, Started
from avatar_relay.publisher.errors import BufferFullError
from avatar_relay.publisher.published_conversation import (
    END_AHEAD_US,
    MOTION_GRACE_US,
    MOTION_LEAST_US,
    Outgoing,
    Phase,
    PublishedConversation,
)
from avatar_relay.publisher.send_queue import MAX_CONTROL, SendQueue
from avatar_relay.reasons import DropReason
from tests.avatar_relay.publisher.fakes import PCM_16K, WEIGHTS_30, weights


def conversation(name: str = "c", buffer_bytes: int = 1 << 20) -> PublishedConversation:
    """A conversation with sound and motion."""
    return PublishedConversation(ConversationOpen(name, PCM_16K, WEIGHTS_30), buffer_bytes=buffer_bytes)


class Publishing(RuleBasedStateMachine):
    """Makes any valid call, grants any credit, sends at any time; then compares with the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.core = conversation()
        self.now_us = 0
        self.said = {kind: b"" for kind in Kind}
        self.granted = Counter[Kind]()
        self.sent: list[Payload] = []
        self.others: list[AudioOnly | ConversationEnd] = []
        self.closed = False

    @precondition(lambda self: self.core.takes_audio)
    @rule(size=st.integers(1, 5_000))
    def audio(self, size: int) -> None:
        data = np.random.default_rng(size).bytes(size)
        for step in self.core.audio_steps(data):
            self.core.push_audio(step)
        self.said[Kind.AUDIO] += data

    @precondition(lambda self: self.core.motion_refusal is None)
    @rule(rows=st.integers(1, 120))
    def motion(self, rows: int) -> None:
        data = weights(rows, rows / 120)
        self.core.push_motion(self.core.inspect_motion(data), self.now_us)
        self.said[Kind.MOTION] += data

    @rule(audio=st.integers(0, 40_000), motion=st.integers(0, 40_000))
    def grant(self, audio: int, motion: int) -> None:
        self.core.grant(Credit(audio, motion))
        self.granted.update({Kind.AUDIO: audio, Kind.MOTION: motion})

    @rule()
    def audio_only(self) -> None:
        self.core.set_audio_only(self.now_us)

    @precondition(lambda self: self.core.takes_audio)
    @rule()
    def end_audio(self) -> None:
        self.core.end_audio(self.now_us)

    @rule()
    def grace_passes(self) -> None:
        self.now_us += MOTION_GRACE_US
        self.core.tick(self.now_us)

    @rule()
    def send(self) -> None:
        while (message := self.core.next_message()) is not None:
            assert not any(isinstance(other, ConversationEnd) for other in self.others)
            if isinstance(message, Media):
                assert 0 < sum(len(payload.data) for payload in message.payloads) <= MAX_JOINED_BYTES
                self.sent += message.payloads
            else:
                self.others.append(message)

    @invariant()
    def credit_is_never_exceeded(self) -> None:
        for kind in Kind:
            assert len(self.bytes_of(kind)) <= self.granted[kind]

    @invariant()
    def what_went_out_is_a_beginning_of_what_was_said(self) -> None:
        for kind in Kind:
            assert self.said[kind].startswith(self.bytes_of(kind))

    @invariant()
    def sequences_count_from_one_without_gaps(self) -> None:
        for kind in Kind:
            sequence = [seq for seq, _ in itertools.groupby(payload.seq for payload in self.sent if payload.kind is kind)]
            assert sequence == list(range(1, len(sequence) + 1))

    def bytes_of(self, kind: Kind) -> bytes:
        return b"".join(payload.data for payload in self.sent if payload.kind is kind)

    def teardown(self) -> None:
        """With enough credit and the end set, everything is sent, followed by one `end` with the last sequences."""
        self.core.grant(Credit(1 << 40, 1 << 40))
        self.granted.update({Kind.AUDIO: 1 << 40, Kind.MOTION: 1 << 40})
        self.core.end_all(self.now_us)
        self.send()
        assert self.core.phase is Phase.ENDED
        assert self.bytes_of(Kind.AUDIO) == self.said[Kind.AUDIO][: len(self.said[Kind.AUDIO]) // 2 * 2]
        assert self.bytes_of(Kind.MOTION) == self.said[Kind.MOTION]
        last = {kind: max((payload.seq for payload in self.sent if payload.kind is kind), default=0) for kind in Kind}
        assert [message for message in self.others if isinstance(message, ConversationEnd)] == [
            ConversationEnd("c", last[Kind.AUDIO], last[Kind.MOTION])
        ]
        assert sum(isinstance(message, AudioOnly) for message in self.others) <= 1


TestPublishing = Publishing.TestCase
TestPublishing.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize(
    ("say", "refusal"),
    [
        (lambda core: None, None),
        (lambda core: core.end_audio(0), None),
        (lambda core: core.set_audio_only(0), DropReason.AUDIO_ONLY),
        (lambda core: core.end_all(0), DropReason.AFTER_END),
        (
            lambda core: (core.end_all(0), core.grant(Credit(9_999, 0)), core.next_message(), core.next_message()),
            DropReason.CONVERSATION_CLOSED,
        ),
        (lambda core: core.close(), DropReason.CONVERSATION_CLOSED),
    ],
)
def test_when_motion_is_taken(say: object, refusal: DropReason | None) -> None:
    """Until it is complete, audio-only, or the conversation has ended."""
    core = conversation()
    core.push_audio(bytes(3_200))
    say(core)  # type: ignore[operator]
    assert core.motion_refusal is refusal


@pytest.mark.parametrize(("rows", "complete"), [(28, False), (29, True), (30, True), (31, True)])
def test_motion_within_a_keyframe_of_the_sound_completes_it(rows: int, complete: bool) -> None:
    """30 keyframes are a second; generators round down."""
    core = conversation()
    core.push_audio(bytes(32_000))
    core.push_motion(core.inspect_motion(weights(rows)), 0)
    core.end_audio(0)
    assert (core.phase is Phase.COMPLETE) == complete
    assert (core.deadline_us is None) == complete


def test_each_motion_payload_restarts_the_grace() -> None:
    """A slow generator is not cut off while it delivers."""
    core = conversation()
    core.push_audio(bytes(64_000))
    core.end_audio(0)
    core.push_motion(core.inspect_motion(weights(1)), 4_000_000)
    phases = []
    for now_us in (MOTION_GRACE_US, 4_000_000 + MOTION_GRACE_US):
        core.tick(now_us)
        phases.append(core.phase)
    assert phases == [Phase.AUDIO_ENDED, Phase.COMPLETE]


def test_end_of_the_sound_does_not_wait_longer_than_it_is_heard() -> None:
    """If motion never arrives, the end is sent before the last sample is audible."""
    core = conversation()
    core.push_audio(bytes(64_000))
    core.end_audio(10_000)
    core.heard("lobby", Started(), 100_000)
    assert core.deadline_us == 2_100_000 - END_AHEAD_US
    core.push_motion(core.inspect_motion(weights(1)), 1_000_000)
    assert core.deadline_us == 2_100_000 - END_AHEAD_US
    core.tick(2_100_000 - END_AHEAD_US)
    assert (core.phase, core.lacks_motion) == (Phase.COMPLETE, True)


def test_motion_right_behind_the_end_of_the_sound_is_taken() -> None:
    """However late the end was set; complete motion is not missing."""
    core = conversation()
    core.push_audio(bytes(64_000))
    core.heard("lobby", Started(), 100_000)
    core.end_audio(2_000_000)
    assert core.deadline_us == 2_000_000 + MOTION_LEAST_US
    core.push_motion(core.inspect_motion(weights(60)), 2_100_000)
    assert (core.phase, core.lacks_motion) == (Phase.COMPLETE, False)


def test_sound_shorter_than_what_a_device_waits_for_is_ended_at_once() -> None:
    """Its device may not start before the end arrives."""
    core = conversation()
    core.push_audio(bytes(6_400))
    core.end_audio(0)
    assert core.deadline_us == MOTION_LEAST_US


def test_closing_tells_what_was_thrown_away() -> None:
    """Payloads and bytes by kind; a partly sent payload counts."""
    core = conversation()
    core.push_audio(bytes(6_400))
    core.push_motion(core.inspect_motion(weights(100)), 0)
    core.grant(Credit(3_200, 16 << 10))
    core.next_message()
    assert [(dropped.kind, dropped.payloads, dropped.bytes) for dropped in core.close()] == [
        (Kind.AUDIO, 1, 3_200),
        (Kind.MOTION, 1, 20_800 - (16 << 10)),
    ]
    assert core.close() == []


# --- the outbox ----------------------------------------------------------------------------------------------------


def test_control_goes_first_then_acknowledgements_then_media_in_turns() -> None:
    """An interrupt never waits behind media; a long conversation does not delay a short one."""
    outbox = SendQueue()
    for name in ("a", "b"):
        core = conversation(name)
        for _ in range(50):
            core.push_audio(bytes(3_200))
        core.grant(Credit(1 << 20, 0))
        outbox.add(core)
    outbox.acknowledge("lobby", 1)
    outbox.acknowledge("lobby", 2)
    outbox.ping(Ping(1, 0))
    outbox.ping(Ping(2, 0))
    outbox.say(Interrupt("z"))
    messages = []
    while (message := outbox.next_message(0)) is not None:
        messages.append(message)
    assert messages[:3] == [Interrupt("z"), EventAck(2, "lobby"), Ping(2, 0)]
    turns = [message.conversation_id for message in messages[3:] if isinstance(message, Media)]
    assert turns == ["a", "b"] * (len(turns) // 2)


class Asked(PublishedConversation):
    """Counts how often it was asked for messages."""

    asked = 0

    def next_message(self) -> Outgoing | None:
        self.asked += 1
        return super().next_message()


def test_only_conversations_that_something_happened_to_are_asked() -> None:
    """The cost of a message does not grow with the number of open conversations."""
    outbox = SendQueue()
    crowd = [Asked(ConversationOpen(f"c{number}", PCM_16K), buffer_bytes=1 << 20) for number in range(20)]
    for core in crowd:
        core.grant(Credit(1 << 20, 0))
        outbox.add(core)
    assert outbox.next_message(0) is None
    before = sum(core.asked for core in crowd)
    for core in crowd[3:5]:
        core.push_audio(bytes(640))
        outbox.add(core)
    assert [outbox.next_message(0) for _ in range(3)] == [
        Media("c3", (Payload(Kind.AUDIO, 1, bytes(640), 0, 20_000),)),
        Media("c4", (Payload(Kind.AUDIO, 1, bytes(640), 0, 20_000),)),
        None,
    ]
    assert sum(core.asked for core in crowd) - before == 2
    assert outbox.is_empty


def test_a_conversation_that_waits_for_motion_is_ended_when_its_time_is_over() -> None:
    """Also one that has long been idle; late motion moves its end, and no other end."""
    outbox, ends = SendQueue(), {}
    crowd = [conversation(name) for name in "ab"]
    for core in crowd:
        core.grant(Credit(1 << 20, 1 << 20))
        core.push_audio(bytes(64_000))
        core.end_audio(0)
        outbox.add(core)
    for now_us in range(0, 3 * MOTION_GRACE_US, 1_000_000):
        if now_us == 2_000_000:
            crowd[0].push_motion(crowd[0].inspect_motion(weights(1)), now_us)
            outbox.add(crowd[0])
        outbox.tick(now_us)
        while (message := outbox.next_message(0)) is not None:
            if isinstance(message, ConversationEnd):
                ends[message.conversation_id] = now_us
        assert outbox.deadline_us is None or outbox.deadline_us > now_us
    assert ends == {"a": 2_000_000 + MOTION_GRACE_US, "b": MOTION_GRACE_US}
    assert outbox.is_empty
    assert outbox.deadline_us is None


def test_control_is_bounded() -> None:
    """A connection that accepts nothing is detected."""
    outbox = SendQueue()
    for _ in range(MAX_CONTROL):
        outbox.say(Interrupt("c"))
    with pytest.raises(BufferFullError, match=str(MAX_CONTROL)):
        outbox.say(Interrupt("c"))


def test_backoff_doubles_up_to_its_bound_and_spreads_over_all_of_it() -> None:
    """Full jitter: from zero to the whole wait."""
    assert list(itertools.islice(full_jitter(PUBLISHER_BACKOFF, lambda: 1.0), 5)) == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])
    assert list(itertools.islice(full_jitter(PUBLISHER_BACKOFF, lambda: 1.0), 119, 124)) == pytest.approx([0.5, 1.0, 2.0, 4.0, 5.0])
    assert list(itertools.islice(full_jitter(PUBLISHER_BACKOFF, lambda: 0.0), 3)) == [0.0, 0.0, 0.0]
