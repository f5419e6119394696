"""The blocking publisher: from plain threads, against a fake relay on the publisher's own loop."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from avatar_relay.loop_thread import LoopThread
from avatar_relay.media import Credit, Kind
from avatar_relay.messages import ConversationEnd, FromPublisher, Interrupt, PublishOpen, ToPublisher
from avatar_relay.publisher import (
    AvatarEvent,
    ConnectionLostError,
    ConversationFailedError,
    ConversationFinished,
    PublisherClosedError,
)
from avatar_relay.publisher.blocking import BlockingAvatar, BlockingPublisher
from tests.avatar_relay.publisher.fakes import PCM_16K, PLENTY, WEIGHTS_30, FakeRelay, completed, payload_bytes, weights

PCM_100MS = bytes(3_200)


class PlayingRelay(FakeRelay):
    """A relay whose device finishes a conversation as soon as it has ended; `seen` gets all messages to it."""

    def __init__(self, *, credit: Credit = PLENTY, seen: Callable[[FromPublisher], None] = lambda _: None) -> None:
        super().__init__(credit=credit)
        self._seen = seen
        self._events = 0

    def answer(self, message: FromPublisher) -> list[ToPublisher]:
        """See `FakeRelay`."""
        self._seen(message)
        if isinstance(message, ConversationEnd | Interrupt):
            self._events += 1
            return [completed(message.conversation_id, self._events)]
        return super().answer(message)

    def blocking(self, *, buffer_bytes: int = 2 << 20) -> BlockingPublisher:
        """A blocking publisher connected to this relay."""
        return BlockingPublisher(self.publisher(buffer_bytes=buffer_bytes))


def avatar_of(publisher: BlockingPublisher) -> BlockingAvatar:
    """Sound only."""
    return publisher.avatar("lobby", audio_format=PCM_16K)


def publisher_threads() -> list[str]:
    """Names of the publishers' live threads."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("publisher")]


def test_verbs_return_when_they_are_done() -> None:
    """Sound, motion, end and outcome, without any coroutine; the thread ends with the block."""
    relay = PlayingRelay()
    with relay.blocking() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = avatar.yield_audio_data(PCM_100MS)
        assert avatar.opened(conversation_id) == ("lobby",)
        assert avatar.yield_frames_data([weights(3)], conversation_id)
        assert avatar.end() == conversation_id
        outcome = avatar.finished(conversation_id)
        publisher.flush()
        assert publisher.is_connected
        assert publisher_threads() == ["publisher backend"]
    assert outcome.reason == "completed"
    assert payload_bytes(relay.link, Kind.AUDIO) == PCM_100MS
    assert publisher_threads() == []


def test_many_threads_share_one_publisher() -> None:
    """Each has its own avatar, and gets its own outcome."""

    def speak(publisher: BlockingPublisher) -> tuple[str, ConversationFinished]:
        avatar = avatar_of(publisher)
        conversation_id = avatar.yield_audio_data(PCM_100MS, end=True)
        return conversation_id, avatar.finished(conversation_id)

    with PlayingRelay().blocking() as publisher, ThreadPoolExecutor(8) as pool:
        outcomes = [future.result() for future in [pool.submit(speak, publisher) for _ in range(16)]]
    assert len({conversation_id for conversation_id, _ in outcomes}) == 16
    assert {outcome.reason for _, outcome in outcomes} == {"completed"}


def test_verb_that_finds_no_room_times_out() -> None:
    """Accepted data stays accepted; the avatar can be interrupted and speaks again."""
    relay = PlayingRelay(credit=Credit())
    with relay.blocking(buffer_bytes=3_200) as publisher:
        avatar = avatar_of(publisher)
        avatar.yield_audio_data(PCM_100MS)
        with pytest.raises(TimeoutError):
            avatar.yield_audio_data(PCM_100MS, timeout_s=0.0)
        avatar.interrupt()
        relay.credit = Credit(1 << 20)
        assert avatar.finished(avatar.yield_audio_data(PCM_100MS, end=True)).reason == "completed"


@pytest.mark.parametrize("wrong", ["soon", math.nan, True, [1], b"1"])
def test_a_wrong_timeout_raises_at_the_call(wrong: Any) -> None:
    """In every verb with a timeout; the conversation continues."""
    with PlayingRelay().blocking() as publisher:
        avatar = publisher.avatar("lobby", audio_format=PCM_16K, motion_format=WEIGHTS_30)
        conversation_id = avatar.yield_audio_data(PCM_100MS)
        for verb in (
            lambda: publisher.flush(timeout_s=wrong),
            lambda: avatar.yield_audio_data(PCM_100MS, timeout_s=wrong),
            lambda: avatar.yield_frames_data([weights(1)], conversation_id, timeout_s=wrong),
            lambda: avatar.opened(conversation_id, timeout_s=wrong),
            lambda: avatar.finished(conversation_id, timeout_s=wrong),
        ):
            with pytest.raises((TypeError, ValueError), match="timeout_s"):
                verb()
        avatar.end()
        assert avatar.finished(conversation_id, timeout_s=math.inf).reason == "completed"


def test_closing_ends_waits_of_other_threads() -> None:
    """No caller waits for an outcome forever."""
    waits = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        publisher = PlayingRelay().blocking()
        publisher.__enter__()
        avatar = avatar_of(publisher)
        conversation_id = avatar.yield_audio_data(PCM_100MS)

        def wait() -> None:
            waits.set()
            avatar.finished(conversation_id)

        waiting = pool.submit(wait)
        waits.wait()
        publisher.__exit__(ValueError, None, None)  # closes at once
        assert isinstance(waiting.exception(), PublisherClosedError | ConversationFailedError)


@pytest.mark.parametrize(
    "verb",
    [lambda avatar: avatar.yield_audio_data(PCM_100MS), lambda avatar: avatar.interrupt(), lambda avatar: avatar.finished("c-1")],
    ids=["audio", "interrupt", "finished"],
)
def test_verbs_need_an_open_publisher(verb: Callable[[BlockingAvatar], object]) -> None:
    """Before and after `with`."""
    publisher = PlayingRelay().blocking()
    avatar = avatar_of(publisher)
    with pytest.raises(PublisherClosedError, match="within `with`"):
        verb(avatar)
    with publisher:
        pass
    with pytest.raises(PublisherClosedError, match="within `with`"):
        verb(avatar)


def test_listener_must_not_block() -> None:
    """It runs on the publisher's thread, where a blocking verb would deadlock."""
    raised: list[BaseException] = []
    with PlayingRelay().blocking() as publisher:
        avatar = avatar_of(publisher)

        def listener(event: AvatarEvent) -> None:
            try:
                avatar.interrupt()
            except RuntimeError as error:
                raised.append(error)

        unsubscribe = avatar.subscribe(listener)
        avatar.finished(avatar.yield_audio_data(PCM_100MS, end=True))
        unsubscribe()
    assert "from a listener" in str(raised[0])


def test_refused_connection_ends_the_thread() -> None:
    """The error is that of the asyncio publisher."""
    relay = PlayingRelay()
    relay.refusals = [ConnectionLostError("unauthenticated", final=True)]
    with pytest.raises(ConnectionLostError, match="unauthenticated"), relay.blocking():
        pass
    assert publisher_threads() == []


def test_errors_of_verbs_reach_the_caller() -> None:
    """Wrong arguments as well as failed conversations."""
    with PlayingRelay().blocking() as publisher:
        avatar = avatar_of(publisher)
        with pytest.raises(TypeError, match="data must be"):
            avatar.yield_audio_data("text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="between 0 and 1"):
            avatar.set_volume(2.0)


@pytest.mark.usefixtures("python_handles_sigint")
def test_keyboard_interrupt_ends_a_wait() -> None:
    """Ctrl-C in a verb cancels it, and leaving the block closes at once."""

    def interrupt_main(message: FromPublisher) -> None:
        if isinstance(message, PublishOpen):
            ident = threading.main_thread().ident
            assert ident is not None
            signal.pthread_kill(ident, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), PlayingRelay(seen=interrupt_main).blocking() as publisher:
        avatar = avatar_of(publisher)
        avatar.finished(avatar.yield_audio_data(PCM_100MS))
    assert publisher_threads() == []


async def _nothing() -> None:
    """End at once."""


def test_loop_thread_refuses_work_before_and_after() -> None:
    """No caller waits for work that never runs."""
    thread = LoopThread("loop")
    with pytest.raises(RuntimeError, match="does not run"):
        thread.submit(_nothing)
    thread.start()
    thread.submit(_nothing).result()
    thread.close()
    thread.close()
    with pytest.raises(RuntimeError, match="does not run"):
        thread.submit(_nothing)
    LoopThread("never started").close()
