"""Which of the relay's messages reach the player, and as which calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar_relay import messages as m
from avatar_relay.device_state import Part, Parts, PartState
from avatar_relay.media import AudioFormat, Codec, ConversationOpen, Credit, Cursor
from avatar_relay.reasons import Fault, Reason
from edge_client.link.player_port import PlayerPort
from edge_client.parts import PartsReporter
from edge_client.playback.engine import Message
from edge_client.playback.events import Output, PlayerState
from edge_client.volume import StoredVolume, settings_file
from tests.lab.power_cut import DiskStandIn

LIMITS = m.Limits(1, 1, 1, 1, 1)


class Engine:
    """Records its calls."""

    def __init__(self) -> None:
        self.handled: list[Message] = []

    def handle(self, message: Message, now_us: int) -> None:
        self.handled.append(message)

    def buffer_credit(self) -> Credit:
        return Credit(5, 6)

    def cursors(self) -> tuple[Cursor, ...]:
        return (Cursor("a", 3, 1), Cursor("b", 9, 4))

    state = PlayerState.PLAYING

    def tick(self, now_us: int) -> list[Output]:
        return [Credit(now_us, 0)]


def test_conversations_are_handed_on() -> None:
    """`open`, media and commands are passed to the player unchanged."""
    engine = Engine()
    port = PlayerPort(engine, loudest=1.0)
    said: list[Message] = [
        ConversationOpen("a", AudioFormat(Codec.OPUS)),
        m.ConversationEnd("a"),
        m.Interrupt("a"),
        m.Pause("a"),
        m.AudioOnly("a"),
    ]
    for message in said:
        port.handle(message, 0)
    assert engine.handled == said
    assert port.buffer_credit() == Credit(5, 6)
    assert port.cursors() == engine.cursors()


def test_the_volume_is_relative_to_the_loudest() -> None:
    """The relay's full volume is the owner's maximum; mute is unchanged."""
    engine = Engine()
    port = PlayerPort(engine, loudest=0.5)
    port.handle(m.Volume(0.8, True), 0)
    port.handle(m.Welcome("t", LIMITS, 0, 0, volume=m.Volume(1.0, False, 7)), 0)
    assert engine.handled == [m.Volume(0.4, True), m.Volume(0.5, False)]
    assert port.volume == m.Volume(1.0, False, 7)


def test_a_stored_volume_is_told_when_it_is_on_the_disk() -> None:
    """Once, with the reports of playback; after a restart it is applied at `welcome`."""
    engine = Engine()
    disk = DiskStandIn()
    stored = StoredVolume(settings_file(Path("/state"), "lobby", disk))
    port = PlayerPort(engine, loudest=1.0, volume=stored)
    port.handle(m.Volume(0.25, False, 4), 0)
    assert port.tick(1) == [Credit(1, 0)]
    stored.close()
    assert port.tick(2) == [Credit(2, 0), m.Volume(0.25, False, 4)]
    assert port.tick(3) == [Credit(3, 0)]
    assert port.state is PlayerState.PLAYING
    again = PlayerPort(engine, loudest=1.0, volume=StoredVolume(settings_file(Path("/state"), "lobby", disk)))
    assert again.volume == m.Volume(0.25, False, 4)
    again.handle(m.Welcome("t", LIMITS, 0, 0, volume=again.volume), 0)
    assert engine.handled == [m.Volume(0.25, False)] * 2
    assert again.tick(4) == [Credit(4, 0)]


def test_the_parts_are_told_after_each_welcome() -> None:
    """Before the next effect of playback changes anything."""
    parts = (Part("face", PartState.RUNNING, "the head"),)
    port = PlayerPort(Engine(), loudest=1.0, parts=PartsReporter(lambda: parts))
    for now_us in (1, 2):
        port.handle(m.Welcome("t", LIMITS, 0, 0), now_us)
        assert port.tick(now_us) == [Credit(now_us, 0), Parts(parts)]
        assert port.tick(now_us) == [Credit(now_us, 0)]


def test_lost_conversations_play_out_what_is_held() -> None:
    """A conversation that cannot resume ends at what the device has, so that its finished event is sent; one that resumes is unaffected."""
    engine = Engine()
    PlayerPort(engine, loudest=1.0).handle(m.Welcome("t", LIMITS, 0, 0, ("a",), ("b", "unheard-of")), 0)
    assert engine.handled[1:] == [m.ConversationEnd("b", 9, 4)]


def test_errors_are_for_people_and_heartbeats_for_the_link() -> None:
    """A conversation's error changes nothing by itself; a heartbeat here is a bug."""
    engine = Engine()
    port = PlayerPort(engine, loudest=1.0)
    port.handle(m.ConversationError("a", Fault(Reason.PUBLISHER_LOST, "gone")), 0)
    assert engine.handled == []
    with pytest.raises(ValueError, match="link's own business"):
        port.handle(m.Ping(1, 2), 0)
