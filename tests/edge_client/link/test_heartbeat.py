"""When the device pings, and when a silent relay counts as dead."""

from __future__ import annotations

from avatar_relay.limits import HEARTBEAT_US, IDLE_BEATS, PEER_TIMEOUT_US
from avatar_relay.messages import Limits, Welcome
from edge_client.link.heartbeat import Heartbeat

IDLE_US = 4_000_000


def welcomed(*, takes_joined: bool = False, idle_heartbeat_ms: int = IDLE_US // 1_000) -> Heartbeat:
    """A heartbeat at the beginning of a stream."""
    heartbeat = Heartbeat()
    limits = Limits(1 << 21, 1 << 22, 1 << 14, 30_000, 1_000, idle_heartbeat_ms=idle_heartbeat_ms)
    heartbeat.welcome(Welcome("token", limits, 0, 0, takes_joined=takes_joined))
    return heartbeat


def test_each_stream_begins_with_a_ping() -> None:
    heartbeat = welcomed()
    assert heartbeat.wait_us(5) == 0
    assert heartbeat.ping(5).ping_id == 1
    assert heartbeat.wait_us(5) == HEARTBEAT_US
    heartbeat.welcome(Welcome("token", Limits(1, 1, 1, 1, 1), 0, 0))
    assert heartbeat.wait_us(6) == 0
    assert heartbeat.ping(6).ping_id == 2


def test_any_other_relay_gets_its_pings_beside_the_answers() -> None:
    heartbeat = welcomed()
    heartbeat.ping(0)
    assert not heartbeat.answered(HEARTBEAT_US // 2)
    assert heartbeat.wait_us(HEARTBEAT_US) == 0


def test_heartbeats_and_patience_are_longer_without_a_conversation() -> None:
    heartbeat = welcomed()
    heartbeat.ping(0)
    assert (heartbeat.wait_us(0), heartbeat.silence_us) == (HEARTBEAT_US, PEER_TIMEOUT_US)
    heartbeat.busy = False
    assert (heartbeat.wait_us(0), heartbeat.silence_us) == (IDLE_US, IDLE_BEATS * IDLE_US)


def test_a_relay_that_does_not_know_of_rare_heartbeats_gets_the_usual_ones() -> None:
    heartbeat = welcomed(idle_heartbeat_ms=0)
    heartbeat.busy = False
    heartbeat.ping(0)
    assert (heartbeat.wait_us(0), heartbeat.silence_us) == (HEARTBEAT_US, PEER_TIMEOUT_US)


def test_a_relay_that_takes_joined_messages_is_pinged_if_its_own_pings_are_late() -> None:
    """Half a heartbeat late; every third answer to the relay's pings carries one of ours."""
    heartbeat = welcomed(takes_joined=True)
    heartbeat.ping(0)
    asked = []
    for now_us in range(HEARTBEAT_US, 10 * HEARTBEAT_US, HEARTBEAT_US):
        assert heartbeat.wait_us(now_us) > 0
        asked.append(heartbeat.answered(now_us))
        if asked[-1]:
            heartbeat.ping(now_us)
    assert asked == 3 * [True, False, False]
    assert heartbeat.wait_us(now_us + HEARTBEAT_US) > 0
    assert heartbeat.wait_us(now_us + HEARTBEAT_US * 3 // 2) == 0
