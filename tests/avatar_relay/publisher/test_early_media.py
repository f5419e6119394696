"""Media that no device can play soon waits for more of its conversation; nothing else does."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_relay.limits import MAX_JOINED_BYTES
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Credit, Cursor, Kind, Pacing
from avatar_relay.messages import FromPublisher, Interrupt, Media, Taken
from avatar_relay.publisher.early_media import EARLY_US, HOLD_US
from avatar_relay.publisher.published_conversation import PublishedConversation
from avatar_relay.publisher.send_queue import SendQueue
from tests.avatar_relay.publisher.fakes import PCM_16K, WEIGHTS_30, weights

STEP = bytes(3_200)
STEP_US = 100_000
"""The length of a `STEP` of `PCM_16K`."""


class Sending:
    """A queue, and what was sent from it. Time advances to each deadline on the way."""

    def __init__(
        self, *, audio: AudioFormat = PCM_16K, pacing: Pacing = Pacing.BURST, buffer_bytes: int = 1 << 20, hold_us: int = HOLD_US
    ) -> None:
        self.now_us = 1_000_000
        self.core = PublishedConversation(ConversationOpen("c", audio, WEIGHTS_30, pacing=pacing), buffer_bytes=buffer_bytes)
        self.core.grant(Credit(1 << 30, 1 << 30))
        self.queue = SendQueue(hold_us=hold_us)
        self.messages: list[FromPublisher] = []
        self.sent_us: dict[tuple[Kind, int], int] = {}
        """When each payload was sent."""
        self.said_us: dict[Kind, list[int]] = {kind: [] for kind in Kind}
        """When each payload was published."""
        self.stir()

    def stir(self) -> None:
        """Something happened to the conversation: send what may be sent."""
        self.queue.add(self.core)
        self.send()

    def send(self) -> None:
        """Send what may be sent."""
        self.queue.tick(self.now_us)
        while (message := self.queue.next_message(self.now_us)) is not None:
            self.messages.append(message)
            if isinstance(message, Media):
                self.sent_us |= {(payload.kind, payload.seq): self.now_us for payload in message.payloads}

    def say(self, steps: int = 1) -> None:
        """Publish audio."""
        for _ in range(steps):
            self.core.push_audio(STEP)
            self.said_us[Kind.AUDIO].append(self.now_us)
        self.stir()

    def show(self, rows: int) -> None:
        """Publish motion."""
        self.core.push_motion(self.core.inspect_motion(weights(rows)), self.now_us)
        self.said_us[Kind.MOTION].append(self.now_us)
        self.stir()

    def wait(self, for_us: int) -> None:
        """Let time pass."""
        until_us = self.now_us + for_us
        while (due_us := self.queue.deadline_us) is not None and due_us <= until_us:
            assert due_us > self.now_us, "a deadline that has passed keeps a writer busy"
            self.now_us = due_us
            self.send()
        self.now_us = until_us

    @property
    def sizes(self) -> list[int]:
        """How many payloads each message of media carried."""
        return [len(message.payloads) for message in self.messages if isinstance(message, Media)]


def ahead(**how: object) -> Sending:
    """A conversation that is `EARLY_US` ahead of its device."""
    sending = Sending(**how)  # type: ignore[arg-type]
    sending.say(EARLY_US // STEP_US)
    sending.messages.clear()
    return sending


def test_early_media_is_joined() -> None:
    """At three times real time; the first payload is not early any more when the second one comes."""
    sending = ahead()
    for _ in range(12):
        sending.say()
        sending.wait(STEP_US // 3)
    sending.wait(HOLD_US)
    assert sending.sizes == [2, 6, 4]


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"hold_us": 0}, id="without a tick"),
        pytest.param({"pacing": Pacing.LIVE}, id="a device may skip what is live"),
        pytest.param({"audio": AudioFormat(Codec.OGG_OPUS)}, id="no PTS"),
        pytest.param({"buffer_bytes": 6_000}, id="a caller may wait for room"),
    ],
)
def test_what_is_sent_at_once(how: dict[str, object]) -> None:
    """Although no device can play it soon."""
    sending = ahead(**how)
    sending.say()
    assert sending.sizes == [1]


def test_a_full_message_does_not_wait() -> None:
    """What it leaves may."""
    sending = ahead()
    sending.say(MAX_JOINED_BYTES // len(STEP) + 1)
    assert sending.sizes == [20]
    sending.wait(HOLD_US)
    assert sending.sizes == [20, 1]


def test_media_that_is_due_takes_along_what_waits() -> None:
    """Payloads keep their order: motion that falls behind does not wait for the audio, nor the audio for it."""
    sending = ahead()
    sending.say()
    assert sending.sizes == []
    sending.show(10)
    assert sending.sizes == [2]


def test_media_is_late_rather_than_early_after_a_pause() -> None:
    """A device may have played all of it meanwhile."""
    sending = ahead()
    sending.wait(STEP_US)
    sending.say()
    assert sending.sizes == [1]


@pytest.mark.parametrize("end", [PublishedConversation.end_all, PublishedConversation.set_audio_only])
def test_an_end_does_not_wait(end: object) -> None:
    """What is before it does not, either."""
    sending = ahead()
    sending.say()
    end(sending.core, sending.now_us)  # type: ignore[operator]
    sending.stir()
    assert sending.sizes == [1]
    assert len(sending.messages) == 2


def test_what_waits_is_dropped_by_an_interrupt() -> None:
    """It is never sent."""
    sending = ahead()
    sending.say()
    sending.queue.say(Interrupt("c"))
    assert [dropped.payloads for dropped in sending.core.close()] == [1]
    sending.stir()
    sending.wait(2 * HOLD_US)
    assert sending.messages == [Interrupt("c")]
    assert sending.queue.is_empty
    assert sending.queue.deadline_us is None


def test_hurry_ends_the_wait() -> None:
    """As `flush` does; what follows may wait again."""
    sending = ahead()
    sending.say()
    sending.queue.hurry()
    sending.send()
    assert sending.sizes == [1]
    sending.say()
    assert sending.sizes == [1]


def test_what_is_sent_again_does_not_wait() -> None:
    """After a cut it is what a device needs first."""
    sending = ahead()
    sending.core.rewind(Taken(Cursor("c", 1, 0)))
    sending.core.grant(Credit(1 << 30, 1 << 30))
    sending.core.suspended = False
    sending.say()
    assert sending.sizes == [EARLY_US // STEP_US]


actions = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 30)),
        st.tuples(st.just("show"), st.integers(1, 90)),
        st.tuples(st.just("wait"), st.integers(1, 3_000_000)),
        st.tuples(st.just("wait"), st.integers(1, 150_000)),
    ),
    max_size=60,
)


@given(actions)
def test_nothing_that_a_device_could_play_soon_waits(actions: list[tuple[str, int]]) -> None:
    """Whatever happens when: all is sent in its order, within 0.2 s, and long before a device that plays without a pause needs it."""
    sending, begun_us = Sending(), 1_000_000
    for name, count in actions:
        getattr(sending, name)(count)
    sending.wait(HOLD_US)
    payloads = [payload for message in sending.messages if isinstance(message, Media) for payload in message.payloads]
    for kind in Kind:
        in_order = [seq for seq, _ in groupby(payload.seq for payload in payloads if payload.kind is kind)]
        assert in_order == list(range(1, 1 + len(sending.said_us[kind])))
    for payload in payloads:
        said_us, sent_us = sending.said_us[payload.kind][payload.seq - 1], sending.sent_us[payload.kind, payload.seq]
        assert payload.pts_us is not None
        if sent_us > said_us:
            assert sent_us <= said_us + HOLD_US
            assert payload.pts_us >= said_us - begun_us + EARLY_US
    assert sending.queue.deadline_us is None
