"""The network's thread: ticks, snapshots, and how it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from unittest.mock import Mock

from avatar_relay.device_state import DeviceSettings
from avatar_relay.media import Credit, Cursor
from avatar_relay.messages import Finished, Started, ToDevice, Volume
from edge_client.link.attach_call import Endpoint
from edge_client.link.device_link import DeviceLink, DeviceProfile
from edge_client.link.link_thread import IDLE_TICK_S, LEAVE_S, LinkThread
from edge_client.playback.events import ConversationEvent, Output, PlayerState
from tests.edge_client.link.scripted_relay import CLOCKS

NOBODY = Endpoint("127.0.0.1:1")


class Player:
    """Reports one conversation's beginning and end on its third tick."""

    settings: DeviceSettings | None = None

    def __init__(self) -> None:
        self.ticks = 0
        self.state = PlayerState.IDLE
        self.ticked = threading.Event()

    def tick(self, now_us: int) -> list[Output]:
        self.ticks += 1
        if self.ticks < 3:
            return []
        self.ticked.set()
        if self.ticks > 3:
            return []
        return [ConversationEvent("c", Started()), Credit(1, 1), ConversationEvent("c", Finished(1, False, "completed"))]

    def handle(self, message: ToDevice, now_us: int) -> None:
        pass

    def buffer_credit(self) -> Credit:
        return Credit(1, 1)

    def cursors(self) -> tuple[Cursor, ...]:
        return ()

    volume = Volume()


class Running:
    """A thread without a relay, and its callbacks as received."""

    def __init__(self, player: Player | None = None) -> None:
        self.player = Player() if player is None else player
        self.finished: list[str] = []
        self.ended = threading.Event()
        self.thread = LinkThread(
            make_link=self.make_link,
            playback=self.player,
            clocks=CLOCKS,
            on_finished=lambda: self.finished.append("one"),
            on_end=self.ended.set,
        )

    def make_link(self, on_handled: Callable[[], None]) -> DeviceLink:
        profile = DeviceProfile("kitchen", "test", 48_000)
        return DeviceLink(endpoint=NOBODY, profile=profile, player=self.player, clocks=CLOCKS, uniform=lambda: 0.5, on_handled=on_handled)


def test_the_player_goes_on_without_a_relay() -> None:
    """Ticks run while no relay answers, finished conversations are reported, and stopping is quick."""
    running = Running()
    running.thread.start()
    assert running.player.ticked.wait(5)
    running.thread.stop()
    assert running.ended.is_set()
    assert running.finished == ["one"]
    assert not running.thread.crashed
    assert running.thread.end is not None
    assert running.thread.end.stopped
    assert not running.thread.status.attached
    assert running.thread.relay_time is None


def test_an_idle_player_is_ticked_rarely() -> None:
    """Its third tick is due after two long pauses; a message handled meanwhile ends a pause."""
    running = Running()
    began_s = time.monotonic()
    running.thread.start()
    assert running.player.ticked.wait(5)
    assert time.monotonic() - began_s >= 2 * IDLE_TICK_S * 0.9
    running.thread.stop()


async def test_a_pause_ends_with_what_is_handled() -> None:
    """The first word of a conversation is not delayed by a quarter of a second."""
    thread = LinkThread(make_link=Mock(), playback=Player(), clocks=CLOCKS, on_finished=Mock(), on_end=Mock())
    resting = asyncio.create_task(thread._rest(asyncio.get_running_loop()))
    await asyncio.sleep(0)
    thread._tick_by_timer()
    await asyncio.wait_for(resting, IDLE_TICK_S / 2)


def test_stopping_before_it_began_is_not_lost() -> None:
    """A signal during start-up ends the thread at once."""
    running = Running()
    running.thread.start()
    running.thread.stop()
    assert running.ended.wait(LEAVE_S)
    assert running.thread.end is not None
    assert running.thread.end.stopped


def test_stopping_what_never_began_is_nothing() -> None:
    """If the face cannot be opened, the link is never started, but is stopped nevertheless."""
    running = Running()
    running.thread.stop()
    assert not running.ended.is_set()


def test_a_crash_is_told() -> None:
    """A bug of the player ends the thread, and is reported to the code that waits for its end."""

    class Buggy(Player):
        def tick(self, now_us: int) -> list[Output]:
            raise ZeroDivisionError

    running = Running(Buggy())
    running.thread.start()
    assert running.ended.wait(5)
    running.thread.stop()
    assert running.thread.crashed
    assert running.thread.end is None


def test_tick_that_fails_for_a_message_ends_the_thread() -> None:
    """The tick is run by a timer, in which an exception would end nothing."""

    class Buggy(Player):
        def tick(self, now_us: int) -> list[Output]:
            if asyncio.current_task() is None:
                raise ZeroDivisionError
            running.thread._handled()
            return []

    running = Running(Buggy())
    running.thread.start()
    assert running.ended.wait(5)
    running.thread.stop()
    assert running.thread.crashed
