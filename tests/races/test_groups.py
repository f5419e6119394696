"""Conversations whose devices are at several relays: complete relays in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from avatar_relay.media import OnPlaying
from avatar_relay.reasons import FinishReason
from tests.edge_client.playback_bench import RATE_HZ
from tests.races.cluster_schedule import NAMES, ClusterSchedule
from tests.races.virtual_loop import run_virtual

MEMBERS = ("left", "middle", "right")
Scene = Callable[[ClusterSchedule], Awaitable[None]]


async def play(members: str, scene: Scene, seed: int) -> None:
    """Publishers are at `x`, members at the relays in `members`; every member must play every conversation completely, with one end."""
    schedule = ClusterSchedule(seed, MEMBERS)
    at = dict(zip(schedule.edges, members, strict=True)) | dict.fromkeys(schedule.backends, "x")
    await schedule.begin(NAMES, at)
    await scene(schedule)
    await schedule.settle()
    (backend, _), count = schedule.backends, len(schedule.sounds.signals)
    assert count > 0
    for edge in schedule.edges:
        told = {cid: (body.reason, body.position_us * RATE_HZ // 1_000_000) for cid, body in edge.finished}
        assert told == {cid: (FinishReason.COMPLETED.value, frames) for cid, frames in schedule.sounds.said_frames.items()}
        assert len(edge.finished) == count
    for cid in backend.said:
        assert [body.reason for body in backend.finished[cid]] == [FinishReason.COMPLETED.value] * len(MEMBERS)
    for node in schedule.nodes.values():
        assert not [delivery for session in node.relay.sessions() for delivery in session.deliveries]


async def speak(schedule: ClusterSchedule) -> None:
    """Publish three conversations, one after another."""
    for _ in range(3):
        for _ in range(4):
            schedule.backends[0].speak(OnPlaying.QUEUE, 4, end=False)
            await schedule.wait(0.05)
        schedule.backends[0].end(OnPlaying.QUEUE)


async def speak_while_the_publisher_moves(schedule: ClusterSchedule) -> None:
    """Each member's part continues at its relay."""
    for _ in range(6):
        schedule.backends[0].speak(OnPlaying.QUEUE, 4, end=False)
        await schedule.wait(0.1)
    schedule.move(schedule.backends[0], "y")
    await speak(schedule)


async def speak_while_a_member_moves(schedule: ClusterSchedule) -> None:
    """The member moves to a relay that has no part of the conversation."""
    for _ in range(6):
        schedule.backends[0].speak(OnPlaying.QUEUE, 4, end=False)
        await schedule.wait(0.1)
    schedule.move(schedule.edges[-1], "x")
    await speak(schedule)


async def speak_while_a_member_is_between_relays(schedule: ClusterSchedule) -> None:
    """The member's relay was killed, and it has not attached to another one yet: the others wait for it."""
    await schedule.nodes["z"].kill()
    await speak(schedule)


async def speak_while_a_member_comes_late(schedule: ClusterSchedule) -> None:
    """The hellos of some streams arrive when their clients have given them up."""
    schedule.late_share = 0.5
    schedule.move(schedule.edges[-1], "x")
    await speak_while_a_member_moves(schedule)


@pytest.mark.parametrize("seed", [23, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("members", "scene"),
    [
        ("xyz", speak),
        pytest.param("xyy", speak, marks=pytest.mark.slow),
        pytest.param("yyz", speak, marks=pytest.mark.slow),
        pytest.param("xyz", speak_while_the_publisher_moves, marks=pytest.mark.slow),
        ("yyz", speak_while_the_publisher_moves),
        ("yyz", speak_while_a_member_moves),
        ("xyz", speak_while_a_member_is_between_relays),
        pytest.param("yyz", speak_while_a_member_comes_late, marks=pytest.mark.slow),
    ],
)
def test_all_members_hear_all_of_it(members: str, scene: Scene, seed: int) -> None:
    """All members play all of it, at any relay."""
    run_virtual(play(members, scene, seed))
