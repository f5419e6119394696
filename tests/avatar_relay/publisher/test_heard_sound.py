"""The time at which the sound will have been played, from the devices' events."""

from __future__ import annotations

import pytest

from avatar_relay.media import Kind
from avatar_relay.messages import Finished, Paused, PlayerEventBody, Resumed, Stalled, Started
from avatar_relay.publisher.heard_sound import HeardSound

SECOND = 1_000_000
DRY, WET = Stalled(True, Kind.AUDIO), Stalled(False, Kind.AUDIO)


@pytest.mark.parametrize(
    ("told", "length_us", "over_us"),
    [
        ([], 4 * SECOND, None),
        ([(0, Started())], 4 * SECOND, 4 * SECOND),
        ([(0, Started())], None, None),
        ([(0, Started()), (1, Paused(SECOND))], 4 * SECOND, None),
        ([(0, Started()), (1, Paused(SECOND)), (3, Resumed(SECOND))], 4 * SECOND, 6 * SECOND),
        ([(0, Started()), (1, DRY)], 4 * SECOND, None),
        ([(0, Started()), (1, DRY), (2, WET)], 4 * SECOND, 5 * SECOND),
        ([(0, Started()), (4, DRY)], 4 * SECOND, 4 * SECOND),
        ([(0, Started()), (4, DRY)], None, 4 * SECOND),
        ([(0, Started()), (1, Stalled(True, Kind.MOTION))], 4 * SECOND, 4 * SECOND),
        ([(0, Started()), (1, Resumed(SECOND))], 4 * SECOND, 4 * SECOND),
        ([(0, Started()), (1, Finished(SECOND, True, "interrupted"))], 4 * SECOND, 4 * SECOND),
    ],
)
def test_end_of_the_sound(told: list[tuple[int, PlayerEventBody]], length_us: int | None, over_us: int | None) -> None:
    """It moves with pauses and stalls; if the sound's length is unknown, it is derived from the sound running dry."""
    heard = HeardSound()
    for second, body in told:
        heard.on_event("lobby", body, second * SECOND)
    assert heard.over_us(length_us) == over_us


def test_first_device_of_a_group_counts() -> None:
    heard = HeardSound()
    heard.on_event("lobby", Started(), 0)
    heard.on_event("hall", Started(), SECOND)
    heard.on_event("hall", Paused(SECOND), 2 * SECOND)
    assert heard.over_us(4 * SECOND) == 4 * SECOND
